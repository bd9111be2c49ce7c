"""`unlearn erase` that is killed, or finds the disk full: run again, it comes to the same."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project

from tests.conftest import Repo, without_log
from tests.file_faults import Fault, Killed, fault_at
from tests.pipeline.conftest import Bases
from tests.pipeline.planted import EVERYWHERE, copy_planted, plant, stores

#: More file operations than an erasure of this project has.
_MOST = 4_000
#: Two in a row in each half of the part that changes files.
_KILLS = 4


@pytest.fixture
def start(bases: Bases, workspace: Path) -> Callable[[str], Repo]:
    """Return a function that gives a fresh copy of the planted project, by name."""
    source = bases.get("planted", plant)

    return lambda name: copy_planted(source, workspace / name)


def outcome(repo: Repo) -> tuple[dict[str, bytes], list[set[str]]]:
    """Return the project's files without the log, whose entries have times, and all objects."""
    snapshot = repo.snapshot()
    files = {name: snapshot[name] for name in without_log(snapshot)}
    objects = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in stores(repo)
    ]
    return files, objects


def _journal(repo: Repo) -> Path:
    return Project(repo.root).erasure_journal


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "disk full"])
def test_an_erasure_goes_on_after_a_fault_at_any_file_operation(
    start: Callable[[str], Repo], fault: Fault
) -> None:
    """Six operations spread over the whole command; each step's own tests try every one."""
    unhurt = start("unhurt")
    with fault_at(_MOST, unhurt.root.parent, fault) as seen:
        assert unhurt.inline("erase", "--yes", *EVERYWHERE).code == 0
    expected = outcome(unhurt)
    draw = random.Random(f"faults of erase: {fault}")  # noqa: S311 - moments, not secrets
    for part in range(6):
        number = 1 + int((seen.count - 1) * (part + draw.random()) / 6)
        repo = start("hurt")
        try:
            with fault_at(number, repo.root.parent, fault):
                code = repo.inline("erase", "--yes", *EVERYWHERE).code
        except Killed:
            code = -9
        if not read_log(Project(repo.root)).erasures() or _journal(repo).exists():
            again = repo.inline("erase", "--yes", *EVERYWHERE)
            assert again.code == 0, f"operation {number}, {code}: {again.out}{again.err}"
        assert outcome(repo) == expected, f"operation {number}"


@pytest.mark.slow
def test_an_erasure_goes_on_after_real_kills(start: Callable[[str], Repo]) -> None:
    unhurt = start("unhurt")
    began = time.monotonic()
    assert unhurt.start("erase", "--yes", *EVERYWHERE).wait() == 0
    length = time.monotonic() - began
    expected = outcome(unhurt)
    draw = random.Random("kills of erase")  # noqa: S311 - moments, not secrets
    repo = start("hurt")
    for number in range(_KILLS):
        run = repo.start("erase", "--yes", *EVERYWHERE)
        time.sleep(length * (0.3 + 0.7 * (number + draw.random()) / _KILLS))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        if number % 2 == 1:
            # Of two kills in a row. The last one may have come when all was done.
            if not read_log(Project(repo.root)).erasures() or _journal(repo).exists():
                again = repo.unlearn("erase", "--yes", *EVERYWHERE)
                assert again.code == 0, again.out + again.err
            assert outcome(repo) == expected, f"kill {number}"
            repo = start("hurt")
