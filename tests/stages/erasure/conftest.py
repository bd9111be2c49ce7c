"""A project that was never run, whose history the tests write."""

from pathlib import Path

import pytest

from tests.conftest import Repo, make_frame, make_project
from tests.stages.erasure.world import World


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return a project that was never run."""
    root = tmp_path_factory.mktemp("erasure") / "blank"
    repo = make_project(root, make_frame(30), "--shards", "2", "--slices", "1")
    # The states that the tests write take the place of its dataset.
    for path in (root / ".dvc/cache/files/md5").glob("*/*"):
        path.unlink()
    (root / "data/dataset.csv.dvc").unlink()
    repo.git("branch", "-M", "main")
    repo.set_params(ledger={"branch": "main"})
    repo.git("add", "-A")
    repo.git("commit", "--quiet", "--amend", "-m", "start")
    repo.git("reflog", "expire", "--expire=now", "--all")
    return repo


@pytest.fixture
def world(blank: Repo, workspace: Path) -> World:
    """Return a project whose history has no objects yet."""
    return World(blank.copy(workspace / "project"))
