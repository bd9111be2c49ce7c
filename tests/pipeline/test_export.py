"""`unlearn export` by real runs: its bytes are a clean room's, and old ones are named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.context import open_project
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.export.export import Wanted, compressed, export, read_members
from unlearn.stages.export.whole_model import merge_into_base, write_whole_model
from unlearn.stages.final_model.one_adapter import merge_members
from unlearn.stages.project.paths import Project

from tests.conftest import Repo
from tests.pipeline.conftest import Bases
from tests.pipeline.test_language import SHARD_NAMES, language, room_without, someone
from tests.stages.conftest import run_stages

__all__ = ["language"]

#: Each run of it loads torch and transformers several times over.
pytestmark = pytest.mark.slow

RANK = 5
WEIGHTS = "adapter_model.safetensors"


def exported(repo: Repo, folder: Path, *options: str) -> dict[str, Any]:
    """Return what an export says, and check that no person and no path is in it."""
    answer = json.loads(repo.ok("export", str(folder), *options, "--json").out)
    assert answer["export"] == json.loads((folder / "export.json").read_text(encoding="utf-8"))
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(repo.root).encode() not in content
            assert b"a0" not in content or path.suffix in (".json", ".safetensors", ".md")
    found: dict[str, Any] = answer
    return found


def test_exports_are_those_of_a_clean_room_and_old_ones_are_named(
    language: Repo, workspace: Path, bases: Bases
) -> None:
    del bases
    old = exported(language, workspace / "old", "--as", "shards")
    assert sorted(old["export"]["files"]) == sorted(
        f"{shard}/{name}" for shard in SHARD_NAMES for name in ("adapter_config.json", WEIGHTS)
    )
    authors = [someone(language, shard=shard) for shard in ("s000", "s001")]
    language.ok("forget", "--subjects", "-", stdin=authors[0])

    refused = language.unlearn("export", str(workspace / "new"), "--as", "adapter")

    assert refused.code == 2
    assert "requests are pending" in refused.err
    assert not (workspace / "new").exists()
    language.ok("forget", "--subjects", "-", stdin=authors[1])
    language.ok("repro", "-j", "1")
    language.commit("two requests")
    one = exported(language, workspace / "one", "--as", "adapter")
    context = open_project(Project(language.root))
    for name, wanted in (("low", Wanted("adapter", rank=RANK)), ("whole", Wanted("merged"))):
        export(context, workspace / name, replace(wanted, public=True), lambda _said: None)

    of = one["export"]
    assert (of["label"], of["verdict"], of["generation"]["requests"]) == ("exact", "pass", 2)
    assert of["measurement"]["membership"]["verdict"] in ("pass", "inconclusive")
    assert of["measurement"]["exported"]["perplexity"] > 1
    card = (workspace / "one/README.md").read_text(encoding="utf-8")
    assert "| requests honoured | 2 |" in card
    assert "own pre-training" in card

    room = room_without(language, workspace / "room", [], authors)
    context = open_project(Project(room.root))
    run_stages(context)
    merged = merge_members(read_members(context))
    low, _ = compressed(merged, RANK)
    assert (workspace / "one" / WEIGHTS).read_bytes() == merged.weights
    assert (workspace / "low" / WEIGHTS).read_bytes() == low.weights
    (workspace / "clean").mkdir()
    options = text_options(context.params.train)
    write_whole_model(merge_into_base(merged, options, room.root, None), workspace / "clean")
    for path in (workspace / "clean").iterdir():
        assert (workspace / "whole" / path.name).read_bytes() == path.read_bytes(), path.name

    _old_exports_are_pending(language, workspace, old["name"], one["name"])


def _old_exports_are_pending(repo: Repo, workspace: Path, old: str, new: str) -> None:
    """Check what `doctor` and `erase` say of an export from before the requests."""
    found = json.loads(repo.unlearn("doctor", "--json").out)
    said = [finding for finding in found["findings"] if finding.startswith("the export")]
    assert len(said) == 1
    assert f"the export {old} (shards)" in said[0]
    assert "older than the last request" in said[0]
    preview = json.loads(repo.ok("erase", "--dry-run", "--json").out)
    places = {place["name"]: place for place in preview["places"]}
    assert places[f"the export {old} (shards)"]["state"] == "pending"
    assert str(workspace) not in json.dumps(places[f"the export {old} (shards)"])
    assert not any(new in name for name in places)
    refused = repo.unlearn("erase", "--yes", "--gone", old)
    assert refused.code == 2
    assert "is not gone" in refused.err
    shutil.rmtree(workspace / "old")

    erased = json.loads(repo.unlearn("erase", "--yes", "--gone", old, "--json").out)

    places = {place["name"]: place for place in erased["places"]}
    assert [name for name in places if "the export" in name] == [f"the export {old} (shards)"]
    assert places[f"the export {old} (shards)"]["state"] == "purged"
    assert "as the person who erased said" in places[f"the export {old} (shards)"]["method"]
    found = json.loads(repo.unlearn("doctor", "--json").out)
    assert not any(finding.startswith("the export") for finding in found["findings"])
