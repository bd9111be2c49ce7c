"""A project whose files DVC links to its cache, which is outside of it."""

from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.pipeline.conftest import BAYES


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_linked_cache_works_and_no_object_of_it_changes(
    small: Repo, workspace: Path, kind: str
) -> None:
    repo = small.copy(workspace / "linked")
    repo.set_params(train=BAYES)
    repo.dvc("config", "--local", "cache.type", kind)
    repo.dvc("config", "--local", "cache.dir", str(workspace / "cache"))
    repo.dvc("add", repo.params()["dataset"]["path"])
    repo.ok("repro", "-j", "1")
    repo.dvc("checkout", "--relink")
    links = [path for path in (repo.root / "models").rglob("*") if path.is_symlink()]
    assert bool(links) == (kind == "symlink")
    cache = Repo(workspace / "cache")
    before = cache.files(".")

    repo.forget(["r0003"])
    repo.ok("repro", "-j", "1")

    assert repo.inline("verify").code == 0
    after = cache.files(".")
    assert {name: after[name] for name in before} == before
