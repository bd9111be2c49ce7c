"""What the weights of two linear models tell about a row."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from unlearn.stages.config.train import PreprocessingParams, TrainParams
from unlearn.stages.estimators.preprocessing import fit_preprocessor
from unlearn.stages.estimators.sklearn_models import SklearnPredictor
from unlearn.stages.verify.difference.linear_models import between, ridge_of
from unlearn.stages.verify.difference.reconstruction import LinearWeights, cosines, reconstruct
from unlearn.stages.verify.membership.arrays import Floats, Ints

from tests.stages.conftest import layout_of

ROWS, WIDTH = 120, 6


def rows(classes: int, count: int = ROWS, seed: int = 0) -> tuple[Floats, Ints]:
    """Return inputs, and classes that follow from them but for some noise."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(count, WIDTH))
    pull = np.random.default_rng(99).normal(size=(WIDTH, classes))
    targets = (inputs @ pull + draw.gumbel(size=(count, classes))).argmax(axis=1)
    return inputs, targets


def fitted(inputs: Floats, targets: Ints, **options: Any) -> LogisticRegression:
    return LogisticRegression(tol=1e-10, max_iter=5_000, **options).fit(inputs, targets)


def weights(model: Any, classes: int) -> LinearWeights:
    found = LinearWeights.of(SklearnPredictor(model, classes), WIDTH)
    assert found is not None
    return found


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_weights_that_answers_give_are_those_of_the_model(classes: int) -> None:
    model = fitted(*rows(classes))
    known = np.column_stack([model.coef_, model.intercept_])
    if classes == 2:
        known = np.vstack([-known / 2, known / 2])

    found = weights(model, classes).weights

    assert np.allclose(found, known - known.mean(axis=0), atol=1e-8)


def test_a_model_that_is_not_linear_has_no_weights() -> None:
    inputs, targets = rows(3)
    for model in (GaussianNB(), RandomForestClassifier(5, random_state=0)):
        assert LinearWeights.of(SklearnPredictor(model.fit(inputs, targets), 3), WIDTH) is None


def test_a_model_on_other_inputs_answers_the_same() -> None:
    """Two models of one shard scale their inputs by the rows that each of them has."""
    table = pa.table(
        {"a": [1.0, 5.0, 9.0, -3.0], "b": [2.0, 2.5, 2.0, 7.0], "c": ["x", "y", "x", "y"]}
    )
    layout = layout_of({"a": "numeric", "b": "numeric", "c": "categorical"})
    older = fit_preprocessor(table, layout, PreprocessingParams())
    newer = fit_preprocessor(table.slice(1), layout, PreprocessingParams())

    moves = between(older, newer)

    assert moves is not None
    shift, scale = moves
    theirs: Floats = np.asarray(newer.transform(table, np.float64), dtype=np.float64)
    assert np.allclose(theirs * scale + shift, older.transform(table, np.float64))
    draw = np.random.default_rng(0)
    model = LinearWeights(draw.normal(size=(3, older.width + 1)), np.ones(3, dtype=bool))
    inputs: Floats = np.column_stack([older.transform(table, np.float64), np.ones(4)])
    moved = np.column_stack([theirs, np.ones(4)])
    assert np.allclose(inputs @ model.weights.T, moved @ model.moved(*moves).weights.T)


def test_models_with_other_categories_are_not_compared() -> None:
    table = pa.table({"c": ["x", "y", "z", "x"]})
    layout = layout_of({"c": "categorical"})
    older = fit_preprocessor(table, layout, PreprocessingParams())
    newer = fit_preprocessor(table.slice(0, 2), layout, PreprocessingParams())

    assert between(older, newer) is None
    assert between(older, older) is not None


@pytest.mark.parametrize("classes", [2, 4])
def test_the_direction_is_that_of_the_row_that_went(classes: int) -> None:
    """By rows of the adversary's own; with the model's own rows it is all but exact."""
    inputs, targets = rows(classes)
    public, _ = rows(classes, 400, seed=5)
    older = weights(fitted(inputs, targets), classes)
    ridge = ridge_of(TrainParams(model=LOGISTIC), classes)
    found: list[float] = []
    exact: list[float] = []
    for gone in range(0, ROWS, 6):
        kept = np.delete(np.arange(ROWS), gone)
        newer = weights(fitted(inputs[kept], targets[kept]), classes)
        for samples, into in ((public, found), (inputs[kept], exact)):
            direction = reconstruct(older, newer, samples, rows=ROWS - 1, ridge=ridge)
            assert direction is not None
            into.append(float(cosines(inputs[[gone]], direction)[0]))

    # Seen: medians of .99 and more, and of .9999.
    assert np.median(found) > 0.95
    assert np.median(exact) > 0.998
    assert min(exact) > 0.9


def test_the_same_model_twice_has_no_direction() -> None:
    inputs, targets = rows(3)
    model = weights(fitted(inputs, targets), 3)

    assert reconstruct(model, model, inputs, rows=ROWS) is None
    assert reconstruct(model, model, inputs[:0], rows=ROWS) is None


def test_models_that_know_other_classes_have_no_direction() -> None:
    inputs, targets = rows(3)
    two = targets < 2
    older = weights(fitted(inputs, targets), 3)
    newer = weights(fitted(inputs[two], targets[two]), 3)

    assert reconstruct(older, newer, inputs, rows=ROWS) is None


LOGISTIC = "sklearn.linear_model.LogisticRegression"


def test_the_penalty_is_read_from_the_settings() -> None:
    assert ridge_of(TrainParams(model=LOGISTIC, options={"C": 0.5}), 3) == 2.0
    assert ridge_of(TrainParams(model=LOGISTIC, options={"C": 0.5}), 2) == 4.0
    assert ridge_of(TrainParams(model=LOGISTIC, options={"penalty": None}), 3) == 0.0
    assert ridge_of(TrainParams(model="sklearn.naive_bayes.GaussianNB"), 3) == 0.0


def test_the_cosine_of_a_row_of_zeros_is_zero() -> None:
    found = cosines(np.array([[3.0, 0.0], [0.0, 0.0], [-1.0, 1.0]]), np.array([1.0, 0.0]))

    assert np.allclose(found, [1.0, 0.0, -(0.5**0.5)])
