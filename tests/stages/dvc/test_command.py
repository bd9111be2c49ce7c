"""What is read of DVC's own files, whole and cut short."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from unlearn.stages.dvc.command import mend_rwlock, running_reader
from unlearn.stages.dvc.lockfile import read_lock
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

LOCK = """\
schema: '2.0'
stages:
  forget:
    cmd: unlearn stage forget
    deps:
    - path: data/forget_list.txt
      hash: md5
      md5: d41d8cd98f00b204e9800998ecf8427e
      size: 0
    - path: data/shards
      hash: md5
      md5: e02e24415280ec849413ab73680246ca.dir
      size: 19252
      nfiles: 4
    params:
      params.yaml:
        algorithm: 1
        key_check: 56b1d60c2841958d
    outs:
    - path: data/forget_set
      hash: md5
      md5: 7215ee9c7d9dc229d2921a40e899ec5f.dir
      size: 704
      nfiles: 1
    - path: data/retain_set
      hash: md5
      md5: a792eb7536e6bd0d3ebb6920e43f5a04.dir
      size: 19202
      nfiles: 4
  verify:
    cmd: unlearn stage verify
    deps:
    - path: models/final_model
      hash: md5
      md5: 84ce31678d86d7cfe64ebad00dd058a4.dir
      size: 18009
      nfiles: 7
    outs:
    - path: reports/verify.json
      hash: md5
      md5: 8c05d9ded6d99e7cab9e13171be26b81
      size: 815
"""


def test_a_whole_lock_is_read() -> None:
    assert read_lock(LOCK) == yaml.safe_load(LOCK)["stages"]
    assert read_lock("schema: '2.0'\n") == {}


def test_a_lock_that_was_cut_short_never_passes_for_another() -> None:
    """DVC rewrites the file in place: a kill can end it at any character."""
    whole = read_lock(LOCK)
    for length in range(len(LOCK)):
        try:
            found = read_lock(LOCK[:length])
        except InputError:
            continue
        for name, entry in found.items():
            for section in ("deps", "outs"):
                there = entry.get(section, [])
                assert there == whole[name].get(section, [])[: len(there)], LOCK[:length][-50:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages: {}\n",
        "schema: '1.0'\nstages: {}\n",
        "schema: '2.0'\nstages: []\n",
        "schema: '2.0'\nstages:\n  forget:\n",
        "schema: '2.0'\nstages:\n  forget: {cmd: x}\n",
        "schema: '2.0'\nstages:\n  forget: {cmd: x, outs: [{path: a}]}\n",
        "schema: '2.0'\nstages:\n  forget: {cmd: x, outs: [3]}\n",
        "schema: '2.0'\nstages:\n  f: {cmd: x, deps: [{path: a}], outs: [{path: a, md5: b}]}\n",
        "[",
        "- 1\n",
        "a\tb: [",
    ],
)
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"dvc\.lock"):
        read_lock(text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return Project(tmp_path)


def hold(project: Project, kind: str, pid: int, path: Path | None = None) -> None:
    """Write what DVC notes while a stage runs that reads or writes a file."""
    owner = {"pid": pid, "cmd": "dvc repro"}
    held = {str(path or project.forget_list): [owner] if kind == "read" else owner}
    empty: dict[str, object] = {"read": {}, "write": {}}
    rwlock = empty | {kind: held}
    text = json.dumps(rwlock)
    (project.root / ".dvc/tmp/rwlock").write_text(text, encoding="utf-8")


def dead() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@contextmanager
def zombie() -> Iterator[int]:
    """Yield the id of a process that has ended and that nobody has waited for."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_stage_that_uses_the_list_is_seen_while_it_lives(project: Project, kind: str) -> None:
    hold(project, kind, os.getpid())
    assert running_reader(project, project.forget_list) == os.getpid()
    assert running_reader(project, project.requests) is None
    hold(project, kind, dead())
    assert running_reader(project, project.forget_list) is None
    hold(project, kind, os.getpid(), project.requests)
    assert running_reader(project, project.forget_list) is None


def test_in_a_subfolder_the_repositorys_notes_count(project: Project) -> None:
    inner = Project(project.root / "sub")
    inner.root.mkdir()
    hold(project, "read", os.getpid(), inner.forget_list)

    assert running_reader(inner, inner.forget_list) == os.getpid()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"read": 3}', b"\xff"])
def test_notes_that_cannot_be_read_name_nobody(project: Project, content: bytes | None) -> None:
    if content is not None:
        (project.root / ".dvc/tmp/rwlock").write_bytes(content)

    assert running_reader(project, project.forget_list) is None


def test_notes_that_a_kill_cut_short_are_removed_and_whole_ones_kept(project: Project) -> None:
    rwlock = project.root / ".dvc/tmp/rwlock"
    mend_rwlock(project)
    hold(project, "read", os.getpid())
    mend_rwlock(project)
    assert rwlock.exists()
    for content in (b"", b'{"read": {', b"\xff"):
        rwlock.write_bytes(content)
        mend_rwlock(project)
        assert not rwlock.exists()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_who_died_without_being_waited_for_holds_nothing(project: Project, kind: str) -> None:
    rwlock = project.root / ".dvc/tmp/rwlock"
    with zombie() as pid:
        hold(project, kind, pid)
        assert running_reader(project, project.forget_list) is None
        mend_rwlock(project)
        assert json.loads(rwlock.read_bytes()) == {"read": {}, "write": {}}


def test_who_lives_keeps_hold_beside_the_dead(project: Project) -> None:
    rwlock = project.root / ".dvc/tmp/rwlock"
    mine = {"pid": os.getpid(), "cmd": "dvc repro"}
    with zombie() as pid:
        gone = {"pid": pid, "cmd": "dvc repro"}
        held = {"read": {"/a": [gone, mine], "/b": [gone]}, "write": {"/c": mine, "/d": gone}}
        rwlock.write_text(json.dumps(held), encoding="utf-8")
        mend_rwlock(project)

    assert json.loads(rwlock.read_bytes()) == {"read": {"/a": [mine]}, "write": {"/c": mine}}
