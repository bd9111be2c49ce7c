"""Where DVC's cache and remotes are: what a scan searches is what an erasure deletes from."""

from pathlib import Path

import pytest
from unlearn.stages.audit.stores import CACHE, find_stores
from unlearn.stages.erasure.objects.stores import FolderStore, open_stores
from unlearn.stages.project.paths import Project

from tests.conftest import Repo


@pytest.mark.slow
def test_urls_of_a_project_below_the_root_of_dvc_are_those_of_dvc(tmp_path: Path) -> None:
    top = Repo(tmp_path / "top")
    project = Project(top.root / "projects/one")
    project.root.mkdir(parents=True)
    top.git("init", "--quiet")
    top.dvc("init", "--quiet")
    top.dvc("remote", "add", "beside", "../beside")
    top.dvc("remote", "add", "written", f"file://{tmp_path}/written")
    top.dvc("remote", "add", "--local", "below", "kept")
    top.dvc("remote", "add", "lost", "../lost")
    top.dvc("remote", "add", "cloud", "s3://bucket/path")
    top.dvc("remote", "add", "web", "https://localhost:1/data")
    folders = [tmp_path / "beside", tmp_path / "written", top.root / "kept"]
    for folder in (*folders, top.root / ".dvc/cache"):
        folder.mkdir(exist_ok=True)
    found = find_stores(project)
    assert {name: folder.resolve() for name, folder in found.folders.items()} == {
        CACHE: top.root / ".dvc/cache",
        "the remote beside": folders[0],
        "the remote below": folders[2],
    }
    assert {place.name: place.why_not for place in found.others} == {
        "the remote lost": "its folder is not there",
        # DVC makes a folder `file:` where it runs.
        "the remote written": "remotes of the kind file are not searched",
        "the remote cloud": "remotes of the kind s3 are not searched",
        "the remote web": "remotes of the kind https are not searched",
    }
    with open_stores(project) as stores:
        known = {one.place: one.folder for one in stores.usable if isinstance(one, FolderStore)}
    assert found.folders.items() <= known.items()
    assert known.keys() - found.folders.keys() == {"the remote lost"}
