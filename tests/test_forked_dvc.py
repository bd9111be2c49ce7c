"""A fork of DVC answers as `python -m dvc` does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Repo, start_repositories
from tests.forked_dvc import call_dvc


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return a repository with a tracked file that has changed since, and a stage."""
    repo = start_repositories(tmp_path_factory.mktemp("dvc") / "project")
    (repo.root / "a.txt").write_text("old", encoding="ascii")
    repo.dvc("add", "--quiet", "a.txt")
    (repo.root / "a.txt").write_text("new", encoding="ascii")
    stages = "stages:\n  killed:\n    cmd: kill -9 $PPID\n"
    (repo.root / "dvc.yaml").write_text(stages, encoding="ascii")
    return repo


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status", "--json"], 0),
        (["diff", "--json"], 0),
        (["add", "nothing.txt"], 1),
        (["nonsense"], 254),
    ],
)
def test_a_fork_answers_as_a_process_of_its_own(tracked: Repo, words: list[str], code: int) -> None:
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, cwd=tracked.root, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == call_dvc(words, tracked.root, os.environ)
    assert done.returncode == code


def test_stages_run_in_the_given_folder_and_environment(tracked: Repo, tmp_path: Path) -> None:
    marked = {**os.environ, "WHERE": str(tmp_path / "out")}
    pipeline = tracked.copy(tmp_path / "copy")
    stage = "stages:\n  own:\n    cmd: pwd > $WHERE\n"
    (pipeline.root / "dvc.yaml").write_text(stage, encoding="ascii")

    code, _, err = call_dvc(["repro"], pipeline.root, marked)

    assert (code, err) == (0, "")
    assert (tmp_path / "out").read_text(encoding="utf-8").strip() == str(pipeline.root)


def test_a_fork_that_was_killed_is_an_error(tracked: Repo) -> None:
    for _ in range(2):  # what is forked lives on
        # The stage's parent is DVC.
        assert call_dvc(["repro", "killed"], tracked.root, os.environ)[0] == -signal.SIGKILL
