"""What `verify` is for: each way to keep a forgotten row, or to fake that it went, is a fail."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.project.files import json_bytes
from unlearn.stages.training.shard_model import read_shard_model

from tests.conftest import Repo
from tests.pipeline.conftest import Bases, change_a_weight, ids_at, stages_run

MODELS = "models/shard_models"


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_bytes(json_bytes(value))


def _rows_left(repo: Repo, before: Repo) -> None:
    shutil.copy2(before.root / "data/retain_set/s001.parquet", repo.root / "data/retain_set")


def _held_out_row_left(repo: Repo, before: Repo) -> None:
    shutil.copy2(before.root / "data/retain_set/holdout.parquet", repo.root / "data/retain_set")


def _retain_file_gone(repo: Repo, _before: Repo) -> None:
    (repo.root / "data/retain_set/s003.parquet").unlink()


def _old_shard_model(repo: Repo, before: Repo) -> None:
    shutil.rmtree(repo.root / MODELS / "s001")
    shutil.copytree(before.root / MODELS / "s001", repo.root / MODELS / "s001")


def _old_models(repo: Repo, before: Repo) -> None:
    shutil.rmtree(repo.root / "models")
    shutil.copytree(before.root / "models", repo.root / "models")


def _old_final_model(repo: Repo, before: Repo) -> None:
    shutil.rmtree(repo.root / "models/final_model")
    shutil.copytree(before.root / "models/final_model", repo.root / "models/final_model")


def _everything_old_but_the_list(repo: Repo, before: Repo) -> None:
    _old_models(repo, before)
    for folder in ("data/retain_set", "data/forget_set"):
        shutil.rmtree(repo.root / folder)
        shutil.copytree(before.root / folder, repo.root / folder)
    # As if the list had been applied.
    digest = hashlib.sha256((repo.root / "data/forget_list.txt").read_bytes()).hexdigest()
    _edit(repo.root / "data/forget_set/applied.json", lambda value: value.update(list=digest))


def _old_weights_under_the_new_lineage(repo: Repo, before: Repo) -> None:
    for name in ("model.safetensors", "model.json"):
        shutil.copy2(before.root / MODELS / "s001" / name, repo.root / MODELS / "s001")


def _old_model_with_a_lineage_made_to_fit(repo: Repo, before: Repo) -> None:
    """Keep the chain of the new rows, and give every digest of files the old model's value."""
    new = json.loads((repo.root / MODELS / "s001/lineage.json").read_text(encoding="utf-8"))
    old = json.loads((before.root / MODELS / "s001/lineage.json").read_text(encoding="utf-8"))
    _old_shard_model(repo, before)
    for mine, other in zip(new["slices"], old["slices"], strict=True):
        mine["state"] = other["state"]
    new |= {"model": old["model"], "files": old["files"]}
    (repo.root / MODELS / "s001/lineage.json").write_bytes(json_bytes(new))
    repo.inline("stage", "aggregate")


def _an_edited_model_of_an_untouched_shard_with_a_lineage_made_to_fit(
    repo: Repo, _before: Repo
) -> None:
    """Change what no request touches, so that it is not retrained to check, and every digest."""
    folder = repo.root / MODELS / "s002"
    change_a_weight(folder / "model.safetensors")
    content = (folder / "model.safetensors").read_bytes()

    def change(value: dict[str, Any]) -> None:
        value["files"]["model.safetensors"] = hashlib.sha256(content).hexdigest()
        value["model"] = read_shard_model(folder, "s002").digest

    _edit(folder / "lineage.json", change)
    repo.inline("stage", "aggregate")


def _a_weight(repo: Repo, _before: Repo) -> None:
    change_a_weight(repo.root / MODELS / "s002/model.safetensors")


def _a_weight_of_the_final_model(repo: Repo, _before: Repo) -> None:
    change_a_weight(repo.root / "models/final_model/members/s002/model.safetensors")


def _a_checkpoint(repo: Repo, _before: Repo) -> None:
    change_a_weight(repo.root / MODELS / "s000/checkpoints/slice-002.safetensors")


def _an_old_checkpoint_hidden_in_the_folder(repo: Repo, before: Repo) -> None:
    name = "checkpoints/slice-004.safetensors"
    shutil.copy2(before.root / MODELS / "s001" / name, repo.root / MODELS / "s001/kept.safetensors")


def _a_member_hidden_in_the_final_model(repo: Repo, before: Repo) -> None:
    target = repo.root / "models/final_model/members/s009"
    shutil.copytree(before.root / "models/final_model/members/s001", target)


def _another_rule_in_the_final_model(repo: Repo, _before: Repo) -> None:
    path = repo.root / "models/final_model/ensemble.json"
    _edit(path, lambda value: value.update(rule="majority_vote"))


def _a_member_missing(repo: Repo, _before: Repo) -> None:
    shutil.rmtree(repo.root / "models/final_model/members/s000")
    path = repo.root / "models/final_model/ensemble.json"
    _edit(path, lambda value: value["members"].pop(0))


def _a_link_of_the_lineage(repo: Repo, _before: Repo) -> None:
    def change(value: dict[str, Any]) -> None:
        value["slices"][0]["link"] = "0" * 64

    _edit(repo.root / MODELS / "s000/lineage.json", change)


def _the_rows_of_the_lineage(repo: Repo, _before: Repo) -> None:
    def change(value: dict[str, Any]) -> None:
        value["slices"][1]["rows"] += 1

    _edit(repo.root / MODELS / "s000/lineage.json", change)


def _the_lineage_gone(repo: Repo, _before: Repo) -> None:
    (repo.root / MODELS / "s000/lineage.json").unlink()


def _a_line_not_applied(repo: Repo, _before: Repo) -> None:
    with (repo.root / "data/forget_list.txt").open("a", encoding="utf-8") as handle:
        handle.write(ids_at(repo, "s000")[0] + "\n")


def _a_line_taken_back(repo: Repo, _before: Repo) -> None:
    path = repo.root / "data/forget_list.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]), encoding="utf-8")


SABOTAGE = (
    _rows_left,
    _held_out_row_left,
    _retain_file_gone,
    _old_shard_model,
    _old_models,
    _old_final_model,
    _everything_old_but_the_list,
    _old_weights_under_the_new_lineage,
    _old_model_with_a_lineage_made_to_fit,
    _an_edited_model_of_an_untouched_shard_with_a_lineage_made_to_fit,
    _a_weight,
    _a_weight_of_the_final_model,
    _a_checkpoint,
    _an_old_checkpoint_hidden_in_the_folder,
    _a_member_hidden_in_the_final_model,
    _another_rule_in_the_final_model,
    _a_member_missing,
    _a_link_of_the_lineage,
    _the_rows_of_the_lineage,
    _the_lineage_gone,
    _a_line_not_applied,
    _a_line_taken_back,
)


def _before(bases: Bases) -> Repo:
    """Return the project as it was before its request."""

    def never(_root: Path) -> Repo:
        raise AssertionError("`forgotten` is made from `mlp`")

    return bases.get("mlp", never)


def test_without_sabotage_the_verdict_is_pass(forgotten: Repo) -> None:
    forgotten.set_params(verify={"rerun": "all"})
    forgotten.stages("verify")
    assert forgotten.report()["verdict"] == "pass"


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__.strip("_"))
def test_verify_finds(
    forgotten: Repo, bases: Bases, sabotage: Callable[[Repo, Repo], None]
) -> None:
    forgotten.set_params(verify={"rerun": "all"})
    sabotage(forgotten, _before(bases))

    forgotten.stages("verify")

    report = forgotten.report()
    assert report["verdict"] == "fail"
    assert report["reasons"] != []
    assert forgotten.inline("verify").code == 1


@pytest.mark.slow
def test_old_models_that_were_committed_by_hand_fail(forgotten: Repo, bases: Bases) -> None:
    good = forgotten.files("models")
    _old_models(forgotten, _before(bases))
    forgotten.dvc("commit", "--force", "--quiet")
    # DVC itself is content: everything is as it was told.
    assert stages_run(forgotten.dvc("repro").out) == []

    forgotten.dvc("repro", "--quiet", "--force", "--single-item", "verify")

    refused = forgotten.unlearn("verify", "--json")
    assert (refused.code, refused.json["verdict"]) == (1, "fail")
    assert not refused.json["exactness"]["lineage_clean"]
    assert forgotten.files("models") != good


def test_a_report_on_other_models_than_dvc_lock_names_is_stale(forgotten: Repo) -> None:
    change_a_weight(forgotten.root / MODELS / "s000/model.safetensors")
    forgotten.dvc("commit", "--force", "--quiet", "train@s000")

    refused = forgotten.unlearn("verify", "--json")

    assert (refused.code, refused.json["verdict"]) == (1, "stale")


@pytest.mark.slow
def test_an_edited_model_that_was_committed_by_hand_fails_and_is_retrained(
    forgotten: Repo,
) -> None:
    good = forgotten.files("models")
    change_a_weight(forgotten.root / MODELS / "s000/model.safetensors")
    forgotten.dvc("commit", "--force", "--quiet", "train@s000")

    run = forgotten.start("repro", "--quiet", module="dvc")
    _, said = run.communicate()
    assert run.returncode != 0
    assert "models/shard_models/s000 is not the model that its lineage names" in said
    forgotten.stages("verify")
    assert forgotten.report()["verdict"] == "fail"
    assert forgotten.inline("verify").code == 1

    # The way out that the error names.
    assert "hint: `unlearn repro` retrains it" in said
    forgotten.ok("repro", "-j", "1")
    assert forgotten.files("models") == good
    assert forgotten.ok("verify", "--json").json["verdict"] == "pass"
