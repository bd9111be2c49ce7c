"""Weights of rows, from the dataset through training to the measures of quality."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score
from sklearn.naive_bayes import GaussianNB
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.skops_file import load
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.shard_file import WEIGHT, Layout, read_shard, row_weights, targets
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe, settings_digest
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.training.trial import try_settings
from unlearn.stages.verify.measures.number_utility import measure_numbers
from unlearn.stages.verify.measures.tabular_model import open_final_model
from unlearn.stages.verify.measures.utility import measure

from tests.conftest import make_frame
from tests.stages.conftest import (
    LAYOUT,
    NAIVE_BAYES,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    token_of,
)
from tests.stages.estimators.own_models import NUMBERS
from tests.stages.training.test_regressions import models_of

LOGISTIC = {"model": "sklearn.linear_model.LogisticRegression"}
SGD = {"model": "sklearn.linear_model.SGDClassifier", "options": {"loss": "log_loss"}, "batch": 8}


def weighted_frame(rows: int = 120) -> pd.DataFrame:
    frame = make_frame(rows)
    return frame.assign(importance=np.random.default_rng(4).uniform(0.1, 9.0, rows).round(3))


def weighted(params: Params) -> Params:
    raw = params.model_dump(mode="json")
    return check_params(raw | {"dataset": raw["dataset"] | {"weight": "importance"}})


def context_of(
    root: Path, frame: pd.DataFrame, train: Mapping[str, Any], **settings: Any
) -> Context:
    return make_context(root, frame, weighted(make_params(train=train, **settings)))


def test_a_fit_with_weights_is_that_of_the_library(tmp_path: Path) -> None:
    context = context_of(tmp_path / "project", weighted_frame(), LOGISTIC, shards=1)
    run_stages(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    model = read_shard_model(context.project.shard_models / "s000", "s000")
    predictor = model.predictor()
    assert predictor.preprocessor is not None
    inputs = predictor.preprocessor.transform(rows, np.float64)
    truth, weights = targets(rows, LAYOUT), row_weights(rows)

    bare = LogisticRegression().fit(inputs, truth, sample_weight=weights)
    assert np.allclose(predictor.answers(rows), bare.predict_proba(inputs))
    plain = LogisticRegression().fit(inputs, truth)
    assert not np.allclose(predictor.answers(rows), plain.predict_proba(inputs))


def test_slices_go_on_with_weights(tmp_path: Path) -> None:
    context = context_of(tmp_path / "project", weighted_frame(), NAIVE_BAYES, shards=1, slices=3)
    run_stages(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    model = read_shard_model(context.project.shard_models / "s000", "s000")
    predictor = model.predictor()
    assert predictor.preprocessor is not None
    inputs = predictor.preprocessor.transform(rows, np.float64)

    bare = GaussianNB().fit(inputs, targets(rows, LAYOUT), sample_weight=row_weights(rows))
    found = load(model.weights or b"")
    assert np.allclose(found.class_count_, bare.class_count_)
    assert np.allclose(found.theta_, bare.theta_)


@pytest.mark.parametrize(
    ("train", "slices"),
    [(LOGISTIC, 1), (SGD, 3), pytest.param(None, 1, marks=pytest.mark.slow)],
    ids=["logistic", "sgd", "pipeline"],
)
def test_two_requests_leave_the_bytes_of_a_clean_room(
    train: dict[str, Any] | None, slices: int, tmp_path: Path
) -> None:
    def project(name: str, gone: set[str]) -> Context:
        frame = weighted_frame()
        frame = frame[~frame["id"].isin(gone)]
        settings = train or {"model": "sklearn:model.py:build"}
        context = context_of(tmp_path / name, frame, settings, shards=2, slices=slices)
        (context.project.root / "model.py").write_text(NUMBERS, encoding="utf-8")
        return context

    context = project("project", set())
    run_stages(context)
    requests = (["r0003", "r0017"], ["r0050", "r0101"])
    for ids in requests:
        put_on_list(context, *map(token_of, ids))
        forget_stage.run(context)
        for shard in context.params.sharding.shards:
            train_stage.run(context, shard)
        aggregate_stage.run(context)
    room = project("room", {raw for ids in requests for raw in ids})
    run_stages(room)

    assert models_of(context) == models_of(room)


def test_the_last_step_of_a_pipeline_gets_the_weights(tmp_path: Path) -> None:
    body = (
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.model_selection import GridSearchCV\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def build():\n"
        "    forest = RandomForestClassifier(4, bootstrap=False, max_features=None, max_depth=3)\n"
        "    return GridSearchCV(make_pipeline(forest), {}, cv=2)\n"
    )
    context = context_of(
        tmp_path / "project", weighted_frame(), {"model": "sklearn:model.py:build"}, shards=1
    )
    (tmp_path / "project/model.py").write_text(body, encoding="utf-8")
    run_stages(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    model = read_shard_model(context.project.shard_models / "s000", "s000")
    predictor = model.predictor(context.code)
    assert predictor.preprocessor is not None
    inputs = predictor.preprocessor.transform(rows, np.float64)

    # Without draws of rows and columns, a tree follows from the weighted rows alone.
    bare = RandomForestClassifier(4, bootstrap=False, max_features=None, max_depth=3)
    bare.fit(inputs, targets(rows, LAYOUT), sample_weight=row_weights(rows))
    assert np.allclose(predictor.answers(rows), bare.predict_proba(inputs))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {
                "model": "exact_naive_bayes",
                "preprocessing": {"scale": "none", "impute": "zero"},
                "options": {"range": {"age": [0, 1], "income": [0, 1]}},
            },
            "dataset.weight: exact_naive_bayes counts each row once",
        ),
    ],
)
def test_models_without_weights_are_refused_with_the_reason(
    train: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        weighted(make_params(train=train))


def test_an_estimator_whose_fit_has_no_weights_is_refused_before_training(tmp_path: Path) -> None:
    train = {"model": "sklearn.neighbors.KNeighborsClassifier"}
    context = context_of(tmp_path / "project", weighted_frame(), train, shards=1)
    run = Recipe.of_project(context)

    with pytest.raises(InputError, match="its `fit` has no `sample_weight`") as caught:
        run_stages(context)
    assert caught.value.exit_code == 2
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    with pytest.raises(InputError, match="KNeighborsClassifier takes no weights of rows"):
        try_settings(run, rows)
    with pytest.raises(InputError, match="takes no weights of rows"):
        try_settings(run, rows.slice(0, 0))


@pytest.mark.parametrize("wrong", ["", "x", "0", "-1", "inf"])
def test_a_weight_that_is_none_is_refused_with_its_row(tmp_path: Path, wrong: str) -> None:
    frame = weighted_frame()
    frame["importance"] = frame["importance"].astype(str)
    frame.loc[6, "importance"] = wrong
    context = context_of(tmp_path / "project", frame, LOGISTIC)

    with pytest.raises(InputError, match=r"'importance'.*\(data row 7\)"):
        run_stages(context)


def test_a_missing_column_of_weights_is_refused(tmp_path: Path) -> None:
    context = context_of(tmp_path / "project", make_frame(90), LOGISTIC)

    with pytest.raises(InputError, match="no column 'importance'"):
        run_stages(context)


def test_files_and_settings_without_weights_stay_as_they_were() -> None:
    assert "weighted" not in LAYOUT.as_json()
    assert WEIGHT not in LAYOUT.schema.names
    own = Layout.of(weighted(make_params(train=LOGISTIC)).dataset)
    assert Layout.from_json(own.as_json()) == own
    assert WEIGHT in own.schema.names
    params = make_params(train=LOGISTIC)
    assert settings_digest(params) != settings_digest(weighted(params))


def test_a_refused_shard_answers_with_weighted_frequencies(tmp_path: Path) -> None:
    # Cross-validation in 40 parts needs 40 rows of a class.
    train = {
        "model": "sklearn.linear_model.LogisticRegressionCV",
        "options": {"cv": 19, "l1_ratios": [0.0], "max_iter": 5, "Cs": 1},
    }
    context = context_of(tmp_path / "project", weighted_frame(70), train, shards=2)
    run_stages_of_shards(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    model = read_shard_model(context.project.shard_models / "s000", "s000")

    weights = row_weights(rows)
    assert weights is not None
    assert model.kind == "constant"
    expected = np.bincount(targets(rows, LAYOUT), weights, 3) / weights.sum()
    assert np.allclose(model.description["frequencies"], expected)


def run_stages_of_shards(context: Context) -> None:
    from unlearn.stages.recipe import stage as recipe_stage
    from unlearn.stages.shard import stage as shard_stage

    recipe_stage.run(context)
    shard_stage.run(context)
    forget_stage.run(context)
    train_stage.run(context, "s000")


def test_measures_of_quality_count_rows_by_their_weights(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    answers = draw.dirichlet([1, 1, 1], 60)
    truth, weights = draw.integers(0, 3, 60), draw.uniform(0.1, 5, 60)
    found = measure(answers, truth, ["a", "b", "c"], has_probabilities=True, weights=weights)
    named = answers.argmax(axis=1)

    assert found.rows == 60
    assert found.accuracy == pytest.approx(accuracy_score(truth, named, sample_weight=weights))
    assert found.log_loss == pytest.approx(log_loss(truth, answers, sample_weight=weights))
    assert found.macro_f1 == pytest.approx(
        f1_score(truth, named, average="macro", sample_weight=weights)
    )
    assert found.per_class is not None
    of_b = truth == 1
    assert found.per_class["b"].accuracy == pytest.approx(
        np.average(named[of_b] == 1, weights=weights[of_b])
    )
    numbers, predicted = draw.normal(size=60), draw.normal(size=60)
    of_numbers = measure_numbers(predicted, numbers, 0.3, weights=weights)
    assert of_numbers.mean_absolute_error == pytest.approx(
        mean_absolute_error(numbers, predicted, sample_weight=weights)
    )
    assert of_numbers.r_squared == pytest.approx(
        r2_score(numbers, predicted, sample_weight=weights)
    )
    whole = np.full(60, 2.0)
    same = measure(answers, truth, ["a", "b", "c"], has_probabilities=True, weights=whole)
    plain = measure(answers, truth, ["a", "b", "c"], has_probabilities=True)
    assert same.calibration_error == pytest.approx(plain.calibration_error)

    context = context_of(tmp_path / "project", weighted_frame(), LOGISTIC, shards=2)
    run_stages(context)
    held_out = read_shard(context.project.shard_file("holdout"), "holdout").rows
    model = open_final_model(context)
    utility = model.utility(held_out, 1)
    right = model.ensemble.probabilities(held_out).argmax(axis=1) == targets(held_out, LAYOUT)
    assert utility.accuracy == pytest.approx(np.average(right, weights=row_weights(held_out)))
