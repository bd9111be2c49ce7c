"""The example of made-up pictures from beginning to end, as a user would run it."""

from pathlib import Path

import pytest
from unlearn.stages.rows.tokens import DEMO_KEY, Key, Place, Tokenizer, place

from tests.conftest import Repo

pytestmark = pytest.mark.slow


def start(folder: Path, *options: str) -> Repo:
    """Return the example, never run."""
    Repo(folder).ok("init", "shapes", "--example", "shapes", *options)
    repo = Repo(folder / "shapes")
    repo.git("config", "user.email", "tests@example.org")
    repo.git("config", "user.name", "Tests")
    repo.dvc("config", "--local", "core.site_cache_dir", str(repo.root / ".dvc/tmp/site"))
    repo.commit("start")
    return repo


def home(repo: Repo, person: str) -> Place:
    """Return where a person's pictures go: the example's key is published."""
    sharding = repo.params()["sharding"]
    token = Tokenizer(Key(DEMO_KEY)).token("subject", person)
    shards = len(sharding["shards"])
    return place(token, shards, sharding["slices"], sharding["holdout"])


@pytest.mark.trained
def test_a_person_who_drew_shapes_is_forgotten_exactly(workspace: Path) -> None:
    repo = start(workspace)
    repo.ok("repro", "-j", "2")
    repo.commit("run")
    before = repo.ok("verify", "--json").json
    person = next(
        name
        for name in (f"P{number:03d}" for number in range(80))
        if not home(repo, name).is_holdout
    )
    repo.ok("forget", "--subjects", "-", stdin=person)
    said = repo.ok("repro", "-j", "1")
    after = repo.ok("verify", "--json").json

    assert before["utility"]["accuracy"] > 0.85
    assert f"trained {home(repo, person).shard} " in said.out
    assert (after["verdict"], after["label"]) == ("pass", "exact")
    assert after["exactness"]["touched"] == 1
    assert after["utility"]["accuracy"] > 0.85
    assert after["canaries"]["count"] == 40


def test_the_example_without_shards_has_no_canaries_and_all_methods(workspace: Path) -> None:
    repo = start(workspace, "--template", "posthoc")
    params = repo.params()

    assert params["train"]["model"] == "resnet"
    assert params["sharding"]["slices"] == 1
    assert "scrub" in params["unlearn"]["methods"]
    assert not (repo.root / "data/canaries.csv").exists()
    assert (repo.root / "data/shapes/labels.csv").is_file()
    assert "shapes.dvc" in repo.git("ls-files", "data")
