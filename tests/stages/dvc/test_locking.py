"""Keeping other DVC commands from starting."""

import json
import os
from pathlib import Path

import pytest
from dvc.lock import make_lock
from unlearn.stages.dvc.locking import without_dvc
from unlearn.stages.erasure.local import purge_local
from unlearn.stages.errors import BusyError
from unlearn.stages.project.paths import Project

from tests.forked_dvc import call_dvc


@pytest.fixture(params=[False, True], ids=["lock", "hardlink lock"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    dvc(tmp_path, "init", "--no-scm")
    hardlink = str(request.param).lower()
    config = f"[core]\n    analytics = false\n    no_scm = true\n    hardlink_lock = {hardlink}\n"
    (tmp_path / ".dvc/config").write_text(config)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    return Project(tmp_path)


def dvc(folder: Path, *words: str) -> int:
    code, _, err = call_dvc(words, folder, os.environ)
    assert code == 0 or "Unable to acquire lock" in err
    return code


@pytest.mark.slow
def test_no_command_of_dvc_runs_though_temporary_files_are_deleted(
    project: Project,
) -> None:
    left = project.root / ".dvc/tmp/rows.csv"
    with without_dvc(project):
        left.write_text("1")
        purge_local(project, experiments=False)
        assert not left.exists()
        assert dvc(project.root, "add", "rows.csv") != 0

    assert dvc(project.root, "add", "rows.csv") == 0


@pytest.mark.slow
def test_a_command_of_dvc_that_runs_is_an_error(project: Project) -> None:
    folder = project.root / ".dvc/tmp"
    hardlink = "hardlink_lock = true" in (project.root / ".dvc/config").read_text()
    with (
        make_lock(str(folder / "lock"), tmp_dir=str(folder), hardlink_lock=hardlink),
        pytest.raises(BusyError, match="dvc is still running"),
        without_dvc(project, patience=0.1),
    ):
        pass


def test_a_stage_of_dvc_that_runs_is_an_error_and_the_lock_is_free_again(project: Project) -> None:
    note = {"read": {"data": [{"pid": os.getpid(), "cmd": "dvc repro"}]}, "write": {}}
    (project.root / ".dvc/tmp/rwlock").write_text(json.dumps(note))
    with pytest.raises(BusyError, match="dvc is still running"), without_dvc(project, patience=0.1):
        pass

    (project.root / ".dvc/tmp/rwlock").unlink()
    with without_dvc(project, patience=0.1):
        pass
