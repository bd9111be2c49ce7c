"""`unlearn export` that is killed: what it leaves is no folder or a whole one, and is listed."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from unlearn.stages.audit.exports import read_exports
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project

from tests.conftest import Repo
from tests.file_faults import Fault, Killed, fault_at

#: Their project takes longer to make than all of them.
pytestmark = pytest.mark.slow

#: More file operations than an export has.
_MOST = 4_000
_KILLS = 8


def export(repo: Repo, output: Path) -> int:
    return repo.inline("export", str(output), "--as", "merged", "--public").code


def check_left(repo: Repo, output: Path) -> None:
    """Check that all that an export left is on the list, and its folder is whole."""
    notes = {note.name: note for note in read_exports(Project(repo.root))}
    listed = {Path(path) for note in notes.values() for path in (note.where, note.half)}
    there = set(output.parent.glob(f"{output.name}*")) | set(output.parent.glob(".*"))
    assert there <= listed
    if output.exists():
        record = json.loads((output / "export.json").read_text(encoding="utf-8"))
        files = {path.name: digest_file(path) for path in output.iterdir()}
        own = {name: files[name] for name in ("export.json", "README.md")}
        assert record["files"] | own == files
        assert [note.files for note in notes.values() if note.where == str(output)][-1] == files


@pytest.mark.parametrize("fault", ["kill", "disk full"])
def test_what_a_fault_leaves_is_listed(chats: Repo, workspace: Path, fault: Fault) -> None:
    (workspace / "out").mkdir()
    with fault_at(_MOST, workspace, fault) as seen:
        assert export(chats, workspace / "out/whole") == 0
    codes = set()
    for number in range(1, seen.count + 1):
        output = workspace / "out" / f"at-{number}"
        try:
            with fault_at(number, workspace, fault):
                codes.add(export(chats, output))
        except Killed:
            codes.add(-9)
        check_left(chats, output)
        for path in (workspace / "out").glob(".*"):
            shutil.rmtree(path)  # as `doctor` says
    assert 0 not in codes
    assert export(chats, workspace / "out/again") == 0
    check_left(chats, workspace / "out/again")


def test_what_real_kills_leave_is_listed(chats: Repo, workspace: Path) -> None:
    (workspace / "out").mkdir()
    assert export(chats, workspace / "out/first") == 0  # what is imported, is imported now
    began = time.monotonic()
    assert export(chats, workspace / "out/second") == 0
    length = time.monotonic() - began
    draw = random.Random("kills of export")  # noqa: S311 - moments, not secrets
    whole = 0
    for number in range(_KILLS):
        output = workspace / "out" / f"killed-{number}"
        child = os.fork()
        if child == 0:
            os._exit(export(chats, output))
        time.sleep(length * (0.2 + 0.9 * (number + draw.random()) / _KILLS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        check_left(chats, output)
        whole += output.exists()
    assert whole < _KILLS
    assert export(chats, workspace / "out/again") == 0
