"""A kill at any moment: the next run ends with the same bytes, and dvc.lock is whole."""

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from unlearn.stages.dvc.lockfile import load_lock
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

from tests.conftest import Repo, take_log
from tests.pipeline.conftest import FORGOTTEN, kill_group

COMMANDS = {"unlearn": ("unlearn.cli", ("repro", "-j", "2")), "dvc": ("dvc", ("repro",))}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_after_kills_at_random_moments_the_next_run_ends_with_the_same_bytes(
    mlp: Repo, forgotten: Repo, workspace: Path, command: str
) -> None:
    module, arguments = COMMANDS[command]
    mlp.forget(FORGOTTEN)
    take_log(mlp, forgotten)
    expected = forgotten.snapshot()

    unhurt = mlp.copy(workspace / "unhurt")
    began = time.monotonic()
    run = unhurt.start(*arguments, module=module)
    run.communicate()
    length = time.monotonic() - began
    assert unhurt.snapshot() == expected

    draw = random.Random(command)  # noqa: S311 - moments, not secrets
    # What is killed alternates, and not in the same third for both commands.
    targets = ("group", "main", "group") if command == "unlearn" else ("main", "group", "main")
    for number, target in enumerate(targets):
        # One moment in each third of the run.
        moment = length * (number + draw.random()) / 3
        repo = mlp.copy(workspace / f"hurt-{number}")
        run = repo.start(*arguments, module=module)
        time.sleep(moment)
        if target == "group":
            kill_group(run)
        else:
            # What it started lives on for a while, as after `kill -9` in a terminal.
            run.send_signal(signal.SIGKILL)
            run.wait()
        again = repo.unlearn("repro", "-j", "1")

        assert again.code == 0, f"killed after {moment:.2f} s of {length:.2f}: {again.err}"
        assert repo.snapshot() == expected, f"killed after {moment:.2f} s of {length:.2f}"
        assert repo.inline("verify").code == 0
        shutil.rmtree(repo.root)


def _cut(repo: Repo, offset: int) -> bytes:
    whole = (repo.root / "dvc.lock").read_bytes()
    (repo.root / "dvc.lock").write_bytes(whole[:offset])
    return whole


def _offsets(lock: str) -> dict[str, int]:
    """Return where a kill may have cut dvc.lock short, one of each kind."""
    train = lock.index("  train@s002:")
    last = lock.index("  verify:")
    return {
        "empty": 0,
        "in a path": lock.index("retain_set/s002", train) + 5,
        "in an md5": lock.rindex("md5: ", 0, last) + len("md5: ") + 7,
        "between two outs": lock.index("    - path: data/forget_set", lock.index("  forget:")),
        "between two stages": last,
    }


@pytest.mark.parametrize("kind", ["empty", "in an md5", "between two outs", "between two stages"])
def test_doctor_says_that_dvc_lock_was_cut_short(forgotten: Repo, kind: str) -> None:
    lock = (forgotten.root / "dvc.lock").read_text(encoding="utf-8")
    _cut(forgotten, _offsets(lock)[kind])

    done = forgotten.inline("doctor", "--json")

    assert done.code == 1
    said = [finding for finding in done.json["findings"] if "dvc.lock" in finding]
    assert len(said) == 1
    assert "`unlearn repro`" in said[0]


@pytest.mark.slow
def test_what_is_left_of_a_cut_dvc_lock_is_true_or_refused(forgotten: Repo) -> None:
    whole = load_lock(Project(forgotten.root))
    lock = (forgotten.root / "dvc.lock").read_bytes()
    draw = random.Random("cuts")  # noqa: S311 - offsets, not secrets
    ends = [match.end() for match in re.finditer(rb"\n", lock)]
    for offset in sorted({*ends, *draw.sample(range(len(lock)), 100)}):
        (forgotten.root / "dvc.lock").write_bytes(lock[:offset])
        try:
            read = load_lock(Project(forgotten.root))
        except InputError:
            continue
        # As after a run that stopped there: fewer stages, or a stage with fewer outs.
        for name, entry in read.items():
            known = {**whole[name], "outs": whole[name]["outs"][: len(entry["outs"])]}
            assert entry == known, f"cut at {offset}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["in a path", "in an md5"])
def test_repro_mends_a_dvc_lock_that_was_cut_short(forgotten: Repo, kind: str) -> None:
    if kind == "in an md5":
        # No whole lock in git to go back to.
        forgotten.git("rm", "--quiet", "--cached", "dvc.lock")
        forgotten.git("commit", "--quiet", "-m", "no lock")
    before = forgotten.snapshot()
    lock = (forgotten.root / "dvc.lock").read_text(encoding="utf-8")
    _cut(forgotten, _offsets(lock)[kind])

    done = forgotten.ok("repro", "-j", "1")

    assert "dvc.lock" in done.err
    assert forgotten.snapshot() == before
    assert forgotten.inline("verify").code == 0
