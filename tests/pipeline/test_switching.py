"""Slices with layers of their own, with real DVC: requests are honoured by switching them off."""

from pathlib import Path

import pytest
from unlearn.stages.rows.tokens import Place, place

from tests.conftest import Repo, token_of
from tests.language_models import make_blank_base
from tests.pipeline.conftest import stages_run
from tests.pipeline.test_language import (
    make_language_project,
    quick,
    room_without,
    rows_of,
)

pytestmark = pytest.mark.slow

SHARDS, SLICES = 2, 3
STAGES = ["shard", "forget", "train@s000", "train@s001", "aggregate"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    folder = tmp_path_factory.mktemp("switching")
    make_blank_base(folder / "base", layers=SLICES)
    options = ("--shards", str(SHARDS), "--slices", str(SLICES), "--layers-by-slice")
    repo = make_language_project(folder / "project", folder / "base", *options)
    repo.set_params(train=quick(repo.params()["train"]) | {"epochs": 1})
    repo.ok("repro", "-j", "1")
    repo.commit("run")
    return repo


def authors_by_place(repo: Repo) -> dict[Place, list[str]]:
    """Return the authors in each slice of each shard."""
    holdout = repo.params()["sharding"]["holdout"]
    found: dict[Place, list[str]] = {}
    for author in dict.fromkeys(row["author"] for row in rows_of(repo)):
        at = place(token_of(repo, author, "subject"), SHARDS, SLICES, holdout)
        found.setdefault(at, []).append(author)
    return found


def is_of_clean_room(repo: Repo, target: Path, authors: list[str]) -> bool:
    """Tell whether the models are those of a project that never held these authors."""
    room = room_without(repo, target, [], authors)
    room.stages(*STAGES)
    return repo.files("models") == room.files("models")


def consistent(repo: Repo) -> bool:
    """Commit, and tell whether an audit explains what changed since the last commit."""
    repo.commit("request")
    return bool(repo.ok("audit", "HEAD~1", "--json").json["verdict"] == "consistent")


def test_requests_switch_slices_off_and_a_later_run_trains_them(
    project: Repo, tmp_path: Path
) -> None:
    authors = authors_by_place(project)
    one, other = sorted(["s000", "s001"], key=lambda s: -len(authors.get(Place(s, SLICES), [])))
    last, same = authors[Place(one, SLICES)][:2]
    before = project.files("models")
    project.ok("forget", "--subjects", "-", stdin=last)
    found = project.ok("repro", "--switch-off", "--json", "-j", "1")

    assert (found.json["trained"], found.json["rows_trained"]) == ([one], 0)
    assert project.params()["sharding"]["switched_off"] == {one: SLICES}
    assert project.ok("status", "--json").json["slices_off"] == {one: SLICES}
    assert is_of_clean_room(project, tmp_path / "one", [last])
    after = project.files("models")
    # All but the last slice of one shard stands.
    unchanged = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith(f"shard_models/{other}/")} <= unchanged
    assert sum(f"{one}/checkpoints/" in name for name in unchanged) == SLICES - 1
    assert consistent(project)

    # A request about a slice that is off needs no training, and no model changes.
    project.ok("forget", "--subjects", "-", stdin=same)
    plan = project.ok("plan", "--json").json
    assert (plan["shards"], plan["rows_to_retrain"]) == ([], 0)
    assert plan["records"] > 0
    assert stages_run(project.dvc("repro").out) == ["forget", "verify"]
    assert project.files("models") == after
    full = project.ok("verify", "--full", "--json").json
    assert full["verdict"] == "pass"
    words = (project.root / "reports/verdict.json").read_text(encoding="utf-8")
    assert f"rows of slices that are off, in {one}" in words
    assert consistent(project)

    # The first slice of a shard has nothing before it: the shard is trained, with all its slices.
    first = authors[Place(other, 1)][0]
    project.ok("forget", "--subjects", "-", stdin=first)
    found = project.ok("repro", "--switch-off", "--json", "-j", "1")
    assert found.json["slices"] == {other: 1}
    assert project.params()["sharding"]["switched_off"] == {one: SLICES}
    assert consistent(project)

    found = project.ok("repro", "--switch-on", "--json", "-j", "1")
    assert found.json["slices"] == {one: SLICES}
    assert found.json["rows_trained"] > 0
    assert project.params()["sharding"]["switched_off"] == {}
    assert found.json["verdict"] == "pass"
    assert consistent(project)
