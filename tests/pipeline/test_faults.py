"""A stage that is killed, or finds the disk full, at any of its file operations."""

import random
import signal
import time
from pathlib import Path

import pytest
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project

from tests.conftest import Repo
from tests.file_faults import Fault, Killed, fault_at
from tests.pipeline.conftest import BAYES, FORGOTTEN, Shape, without_dvc

#: More operations than any stage needs.
_MOST = 200


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ("train@s001", "kill"),
        ("aggregate", "disk full"),
        *(
            pytest.param(stage, fault, marks=pytest.mark.slow)
            for stage, fault in (
                ("train@s001", "disk full"),
                ("aggregate", "kill"),
                ("shard", "kill"),
                ("shard", "disk full"),
                ("verify", "kill"),
                ("verify", "disk full"),
            )
        ),
    ],
)
def test_a_stage_ends_with_the_same_bytes_after_a_fault_at_any_file_operation(
    small: Repo, workspace: Path, stage: str, fault: Fault
) -> None:
    before = without_dvc(small, workspace / "before", Shape(BAYES, 2, 1))
    names = ["recipe", "shard", "forget", "train@s000", "train@s001", "aggregate", "verify"]
    before.stages(*names)
    ids = ("r0003", "r0004", "r0005", "r0006", "r0007")
    before.forget(ids)
    before.stages(*names[: names.index(stage)])
    unhurt = before.copy_files(workspace / "unhurt")
    unhurt.stages(stage)
    expected = unhurt.snapshot()
    number = 0
    for number in range(1, _MOST):
        repo = before.copy_files(workspace / "hurt")
        try:
            with fault_at(number, repo.root, fault):
                code = repo.inline("stage", stage).code
        except Killed:
            code = -9
        repo.stages(stage)
        assert repo.snapshot() == expected, f"operation {number}"
        if code == 0:
            break
    else:
        pytest.fail(f"{_MOST} file operations were not enough")
    assert number > 1


@pytest.mark.slow
def test_a_request_that_was_acknowledged_survives_real_kills(
    forgotten: Repo, workspace: Path
) -> None:
    """Six kills of `unlearn forget`, at moments spread over its whole run."""
    raw = next(raw for raw in ("r0001", "r0002", "r0003") if raw not in FORGOTTEN)
    unhurt = forgotten.copy(workspace / "unhurt")
    began = time.monotonic()
    assert unhurt.start("forget", "--id", raw, "--ticket", "T-9").wait() == 0
    length = time.monotonic() - began
    expected = (unhurt.root / "data/forget_list.txt").read_bytes()
    before = (forgotten.root / "data/forget_list.txt").read_bytes()
    log = len(read_log(Project(forgotten.root)).entries)
    draw = random.Random("kills of forget")  # noqa: S311 - moments, not secrets
    repo = forgotten.copy(workspace / "hurt")
    for number in range(6):
        # Most writes are in the last third.
        moment = length * (0.4 + 0.7 * (number + draw.random()) / 6)
        run = repo.start("forget", "--id", raw, "--ticket", "T-9")
        time.sleep(moment)
        run.send_signal(signal.SIGKILL)
        out, _ = run.communicate()
        listed = (repo.root / "data/forget_list.txt").read_bytes()
        assert listed in (before, expected)
        if "1 line added" in out:
            assert listed == expected
        repo.inline("forget", "--id", raw, "--ticket", "T-9")
        assert (repo.root / "data/forget_list.txt").read_bytes() == expected
        entries = read_log(Project(repo.root)).entries
        assert len(entries) == log + 1
        assert entries[-1].ticket == "T-9"
        # Back to the state before the request.
        repo.git("checkout", "--quiet", "--", "data/forget_list.txt")
        repo.git("clean", "--quiet", "-fd", "data/requests")
