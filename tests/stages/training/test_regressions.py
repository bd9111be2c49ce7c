"""Shard models of a regression: those of a clean room, and what they are without a fit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.shard_file import Layout, read_shard, target_numbers
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.shard_model import read_shard_model

from tests.stages.conftest import LAYOUT, put_on_list, run_stages, token_of
from tests.stages.regression import (
    EXACT_BOOSTING,
    EXACT_FOREST,
    EXACT_LINEAR,
    HIST,
    MLP,
    RIDGE,
    SGD,
    make_amounts,
    regression_context,
    regression_params,
)

ROWS = 160


def models_of(context: Context) -> dict[str, bytes]:
    folders = (context.project.shard_models, context.project.final_model)
    return {
        str(path.relative_to(context.project.root)): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("train", "slices"),
    [
        pytest.param(HIST, 1, marks=pytest.mark.slow),
        (RIDGE, 1),
        (SGD, 3),
        (MLP, 3),
        (EXACT_LINEAR, 1),
        pytest.param(EXACT_FOREST, 1, marks=pytest.mark.slow),
        (EXACT_BOOSTING, 1),
    ],
    ids=["hist", "ridge", "sgd", "mlp", "exact_linear", "exact_forest", "exact_boosting"],
)
def test_two_requests_leave_the_bytes_of_a_clean_room(
    train: Mapping[str, Any], slices: int, tmp_path: Path
) -> None:
    frame = make_amounts(ROWS)
    requests = (["r0003", "r0017", "r0050"], ["r0051", "r0003", "r0120"])
    context = regression_context(tmp_path / "project", frame, train, slices=slices)
    run_stages(context)
    before = models_of(context)
    for ids in requests:
        put_on_list(context, *map(token_of, ids))
        forget_stage.run(context)
        for shard in context.params.sharding.shards:
            train_stage.run(context, shard)
        aggregate_stage.run(context)

    kept = frame[~frame["id"].isin({raw for ids in requests for raw in ids})]
    room = regression_context(tmp_path / "room", kept, train, slices=slices)
    run_stages(room)

    after = models_of(context)
    assert after == models_of(room)
    assert after != before
    assert before.keys() == after.keys()


NET = """
from torch import nn

def build(inputs, outputs, width=6):
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))
"""


@pytest.mark.slow
def test_two_requests_leave_the_bytes_of_a_clean_room_with_a_module_of_ones_own(
    tmp_path: Path,
) -> None:
    frame, train = make_amounts(90), MLP | {"model": "net.py:build", "options": {}}
    gone = ["r0003", "r0017", "r0050"]
    found = []
    for name, rows in (("project", frame), ("room", frame[~frame["id"].isin(gone)])):
        context = regression_context(tmp_path / name, rows, train, shards=2, slices=2)
        (context.project.root / "net.py").write_text(NET, encoding="utf-8")
        run_stages(context)
        for raw in gone if name == "project" else ():
            put_on_list(context, token_of(raw))
            forget_stage.run(context)
            for shard in context.params.sharding.shards:
                train_stage.run(context, shard)
            aggregate_stage.run(context)
        found.append(models_of(context))

    assert found[0] == found[1]


@pytest.mark.parametrize("rule", ["mean", "median", "size_weighted"])
def test_the_final_model_answers_in_the_units_of_the_dataset(rule: str, tmp_path: Path) -> None:
    frame = make_amounts(ROWS)
    params = regression_params(MLP)
    assert params.aggregate.rule == "mean"
    raw = params.model_dump(mode="json") | {"aggregate": {"rule": rule}}
    context = regression_context(tmp_path / "project", frame, MLP)
    context = Context(context.project, type(params).model_validate(raw), context.key)
    run_stages(context)

    model = load_ensemble(context.project.final_model)
    found = model.predict(frame)

    assert isinstance(found, np.ndarray)
    assert found.shape == (ROWS,)
    assert np.corrcoef(found, frame["amount"])[0, 1] > 0.9
    assert abs(found.mean() - frame["amount"].mean()) < 2_000
    members = np.stack(
        [
            member.predictor.answers(model.new_rows().typed(_table(frame), "it", 1))
            for member in model.members
        ]
    )
    sizes = [member.rows for member in model.members]
    expected = {
        "mean": members.mean(axis=0),
        "median": np.median(members, axis=0),
        "size_weighted": np.average(members, axis=0, weights=sizes),
    }
    assert found == pytest.approx(expected[rule], rel=1e-12)
    with pytest.raises(InputError, match="predicts numbers, and gives no probabilities"):
        model.predict_proba(frame)


def _table(frame: pd.DataFrame) -> Any:
    from unlearn.stages.final_model.new_rows import as_table

    return as_table(frame, list(frame.columns), "it")


@pytest.mark.parametrize(
    "train",
    [
        # Two rows are too few for five folds, and for ten neighbours, which only predictions need.
        {"model": "sklearn.linear_model.LassoCV"},
        {"model": "sklearn.neighbors.KNeighborsRegressor", "options": {"n_neighbors": 10}},
    ],
    ids=["folds", "neighbours"],
)
def test_a_shard_that_is_refused_answers_with_the_mean_of_its_targets(
    train: dict[str, Any], tmp_path: Path
) -> None:
    frame = make_amounts(ROWS)
    context = regression_context(tmp_path / "project", frame, train)
    run_stages(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    gone = [token_of(raw) for raw in frame["id"] if _in(raw, rows)][:-2]
    put_on_list(context, *gone)
    forget_stage.run(context)
    train_stage.run(context, "s000")

    left = read_shard(context.project.retain_file("s000"), "s000").rows
    model = read_shard_model(context.project.shard_models / "s000", "s000")

    assert left.num_rows == 2
    assert model.kind == "constant"
    assert model.predictor().answers(left).tolist() == [target_numbers(left).mean()] * 2


def _in(raw: str, rows: Any) -> bool:
    from unlearn.stages.rows.shard_file import record_tokens

    return token_of(raw) in set(record_tokens(rows))


def test_layouts_of_classification_say_nothing_of_a_task() -> None:
    assert set(LAYOUT.as_json()) == {"features", "classes", "subjects"}
    assert Layout.from_json(LAYOUT.as_json()) == LAYOUT

    layout = Layout.of(regression_params(RIDGE).dataset)
    assert layout.as_json()["task"] == "regression"
    assert layout.as_json()["target_scale"] == [40_000.0, 9_000.0]
    assert Layout.from_json(json.loads(json.dumps(layout.as_json()))) == layout
    assert layout.modality == "tabular"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["a"]}, "classes: a target of numbers has none"),
        ({"target_scale": None}, "target_scale: is missing"),
        ({"target_scale": {"centre": 1.0, "scale": 0.0}}, "target_scale"),
        ({"task": "classification"}, "target_scale: is for `task: regression`"),
        ({"task": "ranking"}, "task"),
    ],
)
def test_a_schema_that_is_no_regression_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        regression_params(RIDGE, **change)


@pytest.mark.parametrize(
    "model",
    ["exact_naive_bayes", "perturbed_logistic"],
)
def test_a_family_of_classifiers_is_refused_by_its_declaration(model: str) -> None:
    with pytest.raises(InputError, match=f"{model} predicts classes, and the task is regression"):
        regression_params({"model": model})


def test_the_rule_that_tells_classes_apart_is_refused() -> None:
    train = EXACT_LINEAR | {"options": EXACT_LINEAR["options"] | {"rule": "discriminant"}}
    with pytest.raises(InputError, match="discriminant tells classes apart, and the task is"):
        regression_params(train)
