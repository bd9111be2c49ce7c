"""The `verify` stage: it believes nothing that `forget` or `train` wrote."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.shard_file import read_shard, record_tokens, write_shard
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.environment import environment
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.conftest import make_frame
from tests.stages.conftest import (
    make_context,
    make_params,
    put_on_list,
    read_json,
    run_stages,
    token_of,
)
from tests.stages.verify.reports import run


def tokens_of(context: Context, name: str) -> list[str]:
    rows = read_shard(context.project.shard_file(name), name).rows
    found = record_tokens(rows)
    assert isinstance(found, list)
    return found


def bring_up_to_date(context: Context) -> None:
    forget_stage.run(context)
    for shard in context.params.sharding.shards:
        train_stage.run(context, shard)
    aggregate_stage.run(context)


def with_verify(context: Context, **settings: Any) -> Context:
    verify = context.params.verify.model_copy(update=settings)
    return replace(context, params=context.params.model_copy(update={"verify": verify}))


@pytest.fixture(scope="session")
def _asked(_built: Context, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A project after a request for ten rows of s000 and two of s002."""
    root = tmp_path_factory.mktemp("asked") / "project"
    shutil.copytree(_built.project.root, root)
    context = replace(_built, project=Project(root))
    put_on_list(context, *tokens_of(context, "s000")[:10], *tokens_of(context, "s002")[:2])
    bring_up_to_date(context)
    return context


@pytest.fixture
def asked(_asked: Context, tmp_path: Path) -> Context:
    """Return a copy of that project, for the test to change."""
    root = tmp_path / "asked"
    shutil.copytree(_asked.project.root, root)
    return replace(_asked, project=Project(root))


def test_a_pipeline_that_honoured_the_list_passes(asked: Context) -> None:
    report = run(asked)

    assert report["verdict"] == "pass"
    assert report["label"] == "exact"
    assert report["exactness"] == {
        "touched": 2,
        "reran": 1,
        "matched": 1,
        "lineage_clean": True,
        "problems": 0,
    }
    assert report["membership"]["forget_rows"] == 12
    # Half of the holdout calibrates attacks.
    assert 0 < report["membership"]["holdout_rows"] < len(tokens_of(asked, HOLDOUT))
    assert report["membership"]["verdict"] == "inconclusive"
    assert 0 <= report["utility"]["accuracy"] <= 1
    assert report["utility"]["log_loss"] > 0
    assert report == read_json(asked.project.report)


def test_the_report_is_a_function_of_the_state(asked: Context) -> None:
    run(asked)
    before = asked.project.report.read_bytes()
    asked.project.report.unlink()

    run(asked)
    assert asked.project.report.read_bytes() == before


def test_the_report_holds_no_row_no_id_and_no_token(asked: Context) -> None:
    run(asked)
    files = [path for path in (asked.project.root / "reports").rglob("*") if path.is_file()]

    assert len(files) == 7
    for text in (path.read_text(encoding="utf-8") for path in files):
        assert "u1_" not in text
        assert not any(f"r{number:04d}" in text for number in range(90))
        for digest in asked.project.forget_list.read_text(encoding="ascii").split():
            assert digest.removeprefix("u1_")[:16] not in text


def test_few_forgotten_rows_leave_the_plots_empty(asked: Context) -> None:
    run(with_verify(asked, min_rows=13))

    for path in (asked.project.roc, asked.project.scores, *asked.project.plots.iterdir()):
        assert len(path.read_text(encoding="ascii").split()) == 1, path.name


@pytest.mark.parametrize(("rerun", "count"), [(0, 0), (1, 1), (2, 2), (9, 2), ("all", 2)])
def test_as_many_touched_shards_are_retrained_as_params_say(
    asked: Context, rerun: int | str, count: int
) -> None:
    exactness = run(with_verify(asked, rerun=rerun))["exactness"]

    assert (exactness["reran"], exactness["matched"]) == (count, count)


def test_without_a_request_there_is_nothing_to_retrain(built: Context) -> None:
    report = run(built)

    assert report["verdict"] == "pass"
    assert report["exactness"]["touched"] == report["exactness"]["reran"] == 0
    assert report["membership"] is None


def test_a_request_for_a_held_out_record_touches_no_shard(built: Context) -> None:
    put_on_list(built, tokens_of(built, HOLDOUT)[0])
    bring_up_to_date(built)
    report = run(built)

    assert report["verdict"] == "pass"
    assert report["exactness"]["touched"] == 0
    assert report["utility"]["rows"] == len(tokens_of(built, HOLDOUT)) - 1


def test_a_listed_token_whose_rows_are_gone_touches_its_shard(built: Context) -> None:
    """After the rows were dropped from the dataset too, the verdict rests on exactness."""
    tokens = [token_of(f"gone {number}") for number in range(40)]
    put_on_list(built, *tokens)
    bring_up_to_date(built)
    report = run(with_verify(built, rerun="all"))

    assert report["verdict"] == "pass"
    assert report["exactness"]["touched"] == report["exactness"]["matched"] == 3
    assert report["membership"] is None


@pytest.mark.parametrize("rows", [1, 4, 12])
def test_few_rows_are_a_person(tmp_path: Path, rows: int) -> None:
    context = make_context(tmp_path / "project", make_frame(300))
    run_stages(context)
    put_on_list(context, *tokens_of(context, "s000")[:rows])
    bring_up_to_date(context)
    found = run(with_verify(context, min_rows=5))["membership"]

    assert found["forget_rows"] == rows
    assert (found["attacks"]["loss"]["auc"] is None) == (rows < 5)
    assert any("counts only" in reason for reason in found["reasons"]) == (rows < 5)


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = read_json(path)
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def pending(context: Context) -> None:
    put_on_list(context, tokens_of(context, "s001")[0])


def kept_row(context: Context) -> None:
    """Put a forgotten row back, as a `forget` that does not work would."""
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    write_shard(context.project.retain_file("s000"), context.key, rows, context.layout)


def trained_on_all(context: Context) -> None:
    """Train on all rows and write a lineage that says so, as a `train` that cheats would."""
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    recipe = Recipe.of_project(context)
    trained = train_shard(recipe, plan_shard(recipe, "s000", rows, None), None)
    for name, content in trained.files.items():
        (context.project.shard_models / "s000" / name).write_bytes(content)


def other_weights(context: Context) -> None:
    models = context.project.shard_models
    shutil.copy(models / "s001/model.skops", models / "s000/model.skops")


def stale_final_model(context: Context) -> None:
    final = context.project.final_model / "members"
    shutil.rmtree(final / "s000")
    shutil.copytree(final / "s001", final / "s000")


def foreign_member(context: Context) -> None:
    final = context.project.final_model / "members"
    shutil.copytree(final / "s001", final / "s009")


def dropped_member(context: Context) -> None:
    path = context.project.final_model / "ensemble.json"
    edit_json(path, lambda value: value["members"].pop())


def forged(context: Context) -> None:
    """Exchange an untouched shard's model and every digest of it that has no key."""
    rows = read_shard(context.project.shard_file("s002"), "s002").rows
    recipe = Recipe.of_project(context)
    other = train_shard(recipe, plan_shard(recipe, "s001", rows, None), None)
    folder = context.project.shard_models / "s001"
    lineage = read_json(folder / "lineage.json")
    lineage["model"] = other.lineage.model
    lineage["files"] = other.lineage.files
    lineage["slices"][0]["state"] = other.lineage.slices[0].state
    description = json.loads(other.files["model.json"])
    (folder / "model.json").write_bytes(other.files["model.json"])
    (folder / description["file"]).write_bytes(other.files[description["file"]])
    (folder / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")
    with pytest.raises(InputError, match="is not the model that its lineage names"):
        aggregate_stage.run(context)


FAILURES: dict[str, tuple[Callable[[Context], object], str]] = {
    "a pending request": (pending, "a request is pending"),
    "nothing was applied": (
        lambda context: context.project.applied.unlink(),
        "does not say which forget list was applied",
    ),
    "a forgotten row was kept": (kept_row, "is not data/shards/s000.parquet without"),
    "a retain file is missing": (
        lambda context: context.project.retain_file("s001").unlink(),
        "data/retain_set/s001.parquet is missing",
    ),
    "trained on a forgotten row": (
        trained_on_all,
        "s000: its lineage is not that of its rows without the forgotten ones",
    ),
    "no lineage": (
        lambda context: (context.project.shard_models / "s001/lineage.json").unlink(),
        "s001 has no lineage",
    ),
    "a damaged lineage": (
        lambda context: (context.project.shard_models / "s001/lineage.json").write_bytes(b"{"),
        "is not a lineage",
    ),
    "an edited link": (
        lambda context: edit_json(
            context.project.shard_models / "s001/lineage.json",
            lambda value: value["slices"][0].update(link="0" * 64),
        ),
        "s001: its lineage is not that of its rows",
    ),
    "other weights": (other_weights, "s000: its files are not what its lineage says"),
    "damaged weights": (
        lambda context: (context.project.shard_models / "s000/model.skops").write_bytes(b"PK"),
        "s000: ",
    ),
    "weights of a newer zip": (
        lambda context: spoil_zip(context.project.shard_models / "s000/model.skops"),
        "s000: ",
    ),
    "an extra file": (
        lambda context: (context.project.shard_models / "s000/notes.txt").write_bytes(b""),
        "s000: its folder does not hold the files that its lineage names",
    ),
    "an older model beside the others": (
        lambda context: shutil.copytree(
            context.project.shard_models / "s000", context.project.root / "models/old/deep/s000"
        ),
        "models/ holds 3 files that no stage wrote",
    ),
    "a file in models/": (
        lambda context: (context.project.root / "models/Jane Doe.bin").write_bytes(b""),
        "models/ holds 1 file that no stage wrote",
    ),
    "a folder of another pipeline": (
        lambda context: shutil.copytree(
            context.project.shard_models / "s000", context.project.original
        ),
        "models/ holds 3 files that no stage wrote",
    ),
    "a forged model of a shard that nobody retrains": (forged, "s001"),
    "an old final model": (stale_final_model, "final_model"),
    "a member too many": (foreign_member, "final_model"),
    "a member too few": (dropped_member, "final_model"),
    "no final model": (
        lambda context: shutil.rmtree(context.project.final_model),
        "final_model",
    ),
    "a damaged final model": (
        lambda context: (context.project.final_model / "ensemble.json").write_bytes(b"[]"),
        "final_model",
    ),
    "a final model of no known rule": (
        lambda context: edit_json(
            context.project.final_model / "ensemble.json", lambda value: value.pop("rule")
        ),
        "final_model",
    ),
}


def spoil_zip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 200
    path.write_bytes(content)


@pytest.mark.parametrize(("change", "said"), FAILURES.values(), ids=FAILURES)
def test_a_mismatch_fails_and_is_named(
    asked: Context, change: Callable[[Context], object], said: str
) -> None:
    change(asked)

    report = run(asked)

    assert report["verdict"] == "fail"
    assert report["exactness"]["problems"] == len(report["reasons"])
    assert any(said in reason for reason in report["reasons"])
    assert "Jane Doe" not in json.dumps(report), "a file's name may be somebody's"


def test_another_environment_is_inconclusive_and_names_both(asked: Context) -> None:
    """The models are whole and of the right rows, but made with another numpy."""
    import unlearn.stages.training.slices as slices_module

    real = environment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices_module, "environment", lambda train: real(train) | {"numpy": "1.0"})
        shutil.rmtree(asked.project.shard_models)
        bring_up_to_date(asked)

    report = run(asked)

    assert report["verdict"] == "inconclusive"
    assert any("numpy:" in reason and "1.0 there" in reason for reason in report["reasons"])
    assert report["exactness"]["reran"] == 0
    assert report["exactness"]["lineage_clean"]
    assert run(with_verify(asked, rerun=0))["verdict"] == "pass", "no check was asked for"


def test_an_ensemble_without_members_has_no_utility(built: Context) -> None:
    for shard in built.params.sharding.shards:
        put_on_list(built, *tokens_of(built, shard))
    bring_up_to_date(built)
    report = run(built)

    assert report["verdict"] == "pass"
    assert report["utility"]["accuracy"] is None
    assert report["membership"]["auc"] is None
    assert any("nothing to ask" in reason for reason in report["membership"]["reasons"])


def test_no_holdout_means_no_utility(tmp_path: Path) -> None:
    params = make_params(holdout=0.0)
    context = make_context(tmp_path / "p", make_frame(60), params)
    run_stages(context)
    put_on_list(context, *tokens_of(context, "s000")[:12])
    bring_up_to_date(context)
    report = run(context)

    assert report["verdict"] == "pass"
    assert report["utility"]["rows"] == 0
    assert {report["utility"][name] for name in ("accuracy", "log_loss", "macro_f1")} == {None}
    membership = report["membership"]
    assert (membership["forget_rows"], membership["holdout_rows"]) == (12, 0)
    assert (membership["auc"], membership["verdict"]) == (None, "inconclusive")


def test_votes_have_accuracy_only(tmp_path: Path) -> None:
    train = {"model": "sklearn.svm.LinearSVC"}
    params = make_params(train=train, rule="majority_vote")
    context = make_context(tmp_path / "p", make_frame(90), params)
    run_stages(context)
    put_on_list(context, *tokens_of(context, "s000")[:12])
    bring_up_to_date(context)
    report = run(context)

    assert report["verdict"] == "pass"
    assert report["utility"]["accuracy"] is not None
    assert report["utility"]["log_loss"] is None
    assert report["membership"]["auc"] is None
