"""Linear models by sums of integers, against scikit-learn and by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier
from unlearn.stages.config.row_sets import ExactLinearOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape
from unlearn.stages.estimators.row_sets.fourier import SCALE, cosines, draw_frequencies
from unlearn.stages.estimators.row_sets.integer_sums import (
    SumsTooLargeError,
    check_bounds,
    sum_of_products,
)
from unlearn.stages.estimators.row_sets.linear import (
    ExactLinear,
    LinearModel,
    inputs_of,
)
from unlearn.stages.estimators.row_sets.row_set import RowSet
from unlearn.stages.estimators.row_sets.solving import (
    SingularError,
    solve_penalised,
    solve_positive,
)
from unlearn.stages.rows.tokens import Key

from tests.stages.estimators.row_sets.laws import (
    KEY,
    SHAPE,
    as_rows,
    check_history,
    draw_rows,
    numbers_of,
    with_numbers,
)

TWO_CLASSES = Shape(SHAPE.sizes, SHAPE.categorical, 2)


def fitted(rows: RowSet, shape: Shape, **options: Any) -> LinearModel:
    estimator = ExactLinear(KEY, shape, ExactLinearOptions(**options))
    return estimator.predictor(estimator.model(estimator.fit(rows)))


def columns(rows: RowSet, shape: Shape) -> npt.NDArray[np.float64]:
    return inputs_of(shape, rows.codes)[:, 1:] / SCALE


def test_inputs_are_numbers_of_the_grid_and_one_column_for_each_category() -> None:
    codes = np.array([[1, 4095, 0, 2], [2048, 0, 1, 0]], np.uint16)
    expected = np.zeros((2, 10))
    expected[:, 0] = 1
    expected[0, 1:4] = [-4094, 4094, 0]
    expected[1, 1:4] = [0, 0, -4094]
    expected[0, 4 + 2] = expected[1, 4] = 4096
    assert np.array_equal(inputs_of(SHAPE, codes), expected)


@pytest.mark.parametrize("shape", [SHAPE, TWO_CLASSES], ids=["three", "two"])
def test_ridge_scores_are_those_of_scikit_learn(shape: Shape) -> None:
    rows, others = draw_rows(500, 41, shape), draw_rows(90, 42, shape, first=900)
    model = fitted(rows, shape, rule="ridge", regularization=0.7)
    theirs = RidgeClassifier(alpha=0.7).fit(columns(rows, shape), rows.targets)
    expected = theirs.decision_function(columns(others, shape))
    if shape.classes == 2:
        expected = np.stack([-expected, expected], axis=1)
    assert np.allclose(model.scores(others.codes), expected, atol=1e-9)
    votes = model.probabilities(others.codes)
    assert np.array_equal(votes.argmax(axis=1), theirs.predict(columns(others, shape)))
    assert set(votes.reshape(-1)) == {0.0, 1.0}


@pytest.mark.parametrize("shape", [SHAPE, TWO_CLASSES], ids=["three", "two"])
def test_posteriors_are_those_of_discriminant_analysis(shape: Shape) -> None:
    """scikit-learn's solver takes a covariance, to which the same shrinkage was added."""
    rows, others = draw_rows(500, 43, shape), draw_rows(90, 44, shape, first=900)
    inputs, targets = columns(rows, shape), rows.targets
    centred = inputs.copy()
    for label in range(shape.classes):
        centred[targets == label] -= inputs[targets == label].mean(axis=0)
    covariance = centred.T @ centred / len(inputs) + 0.01 * np.eye(inputs.shape[1])

    class Shrunk:
        def fit(self, _inputs: npt.NDArray[np.float64]) -> "Shrunk":
            self.covariance_ = covariance
            return self

    theirs = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk())
    theirs.fit(inputs, targets)
    answers = fitted(rows, shape, rule="discriminant", shrinkage=0.01).probabilities(others.codes)
    assert np.allclose(answers, theirs.predict_proba(columns(others, shape)), atol=1e-9)


def test_numbers_are_those_of_ridge_regression_in_the_units_of_the_dataset() -> None:
    shape = numbers_of(SHAPE)
    assert shape.target is not None
    rows, others = (with_numbers(draw_rows(count, count)) for count in (500, 90))
    model = fitted(rows, shape, regularization=0.7)
    numbers = shape.target.decode(rows.targets.astype(np.float64))
    theirs = Ridge(alpha=0.7).fit(columns(rows, shape), numbers)
    expected = theirs.predict(columns(others, shape))
    assert np.allclose(model.values(others.codes), expected, rtol=1e-9, atol=1e-6)


def test_numbers_are_refused_by_the_rule_that_tells_classes_apart() -> None:
    with pytest.raises(InputError, match="discriminant tells classes apart"):
        ExactLinear(KEY, numbers_of(SHAPE), ExactLinearOptions(rule="discriminant"))


def test_a_class_without_rows_is_never_answered() -> None:
    rows = draw_rows(50, 45)
    one = as_rows(np.arange(50), rows.codes, np.ones(50, np.int64))
    answers = fitted(one, SHAPE, rule="discriminant").probabilities(rows.codes)
    assert np.array_equal(answers, np.tile([0.0, 1.0, 0.0], (50, 1)))


def test_fourier_features_are_cosines() -> None:
    frequencies, phases = draw_frequencies(KEY, "test", (3, 400), 0.8)
    inputs = np.random.default_rng(1).integers(-SCALE, SCALE + 1, (60, 3)).astype(np.float64)
    turns = (inputs @ frequencies.astype(np.float64) + phases) / 2**44
    found = cosines(inputs, frequencies, phases)
    assert np.abs(found / SCALE - np.cos(2 * np.pi * turns)).max() < 2 * np.pi / 4096 + 1e-3
    assert np.array_equal(found, np.rint(found))


def test_products_of_fourier_features_are_the_gaussian_kernel() -> None:
    frequencies, phases = draw_frequencies(KEY, "test", (2, 20_000), 1.3)
    inputs = np.array([[0.0, 0.0], [2048.0, -1024.0], [4096.0, 4096.0]])
    features = cosines(inputs, frequencies, phases) / SCALE
    found = 2 * features @ features.T / 20_000
    distances = ((inputs[:, None] - inputs[None]) / SCALE * 1.3) ** 2
    assert np.allclose(found, np.exp(-distances.sum(axis=2) / 2), atol=0.03)


def test_cosines_are_rounded_as_exact_ones() -> None:
    from unlearn.stages.estimators.row_sets.fourier import _table

    expected = [round(SCALE * math.cos(2 * math.pi * at / 4096)) for at in range(4096)]
    assert _table().tolist() == expected


@given(
    size=st.integers(1, 12),
    columns_right=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_equations_are_solved(size: int, columns_right: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    factor = random.normal(size=(size, size))
    matrix = factor @ factor.T + np.eye(size)
    right = random.normal(size=(size, columns_right))
    before = matrix.copy(), right.copy()
    assert np.allclose(matrix @ solve_positive(matrix, right), right, atol=1e-8)
    assert np.array_equal(matrix, before[0])
    assert np.array_equal(right, before[1])


def test_singular_equations_are_an_error() -> None:
    with pytest.raises(SingularError):
        solve_positive(np.zeros((2, 2)), np.ones((2, 1)))


@pytest.mark.parametrize("free", [0, 1])
def test_a_penalty_that_is_too_small_is_made_larger(free: int) -> None:
    """Three columns of which two are the same, and one that is their sum."""
    inputs = np.random.default_rng(4).integers(-4096, 4096, (50, 2)).astype(np.float64)
    columns = np.column_stack([np.ones(50), inputs, inputs[:, 0], inputs.sum(axis=1)])
    matrix, right = columns.T @ columns, columns.T @ inputs[:, :1]
    with pytest.raises(SingularError):
        solve_positive(matrix + 1e-300 * np.eye(5), right)
    found = solve_penalised(matrix, 1e-300, right, free)
    assert np.allclose(columns @ found, inputs[:, :1], rtol=0, atol=1e-2)
    ordinary = np.diag(np.append(np.zeros(free), np.full(5 - free, 0.5)))
    assert np.array_equal(
        solve_penalised(matrix, 0.5, right, free), solve_positive(matrix + ordinary, right)
    )


@pytest.mark.parametrize("rule", ["ridge", "discriminant"])
def test_no_rows_are_refused_however_small_the_penalty_is(rule: str) -> None:
    """The columns of the categories add up to the constant."""
    options = ExactLinearOptions.model_validate(
        {"rule": rule, "regularization": 1e-300, "shrinkage": 1e-300}
    )

    def build(key: Key, shape: Shape) -> RowSetEstimator[Any]:
        return ExactLinear(key, shape, options)

    rows = draw_rows(80, 3)
    check_history(build, rows, frozenset(range(80)), [(frozenset({1, 50}), False)])
    estimator = build(KEY, SHAPE)
    answers = estimator.predictor(estimator.model(estimator.fit(rows))).probabilities(rows.codes)
    assert np.isfinite(answers).all()


def test_sums_have_no_rounding_up_to_their_bounds() -> None:
    """The greatest values in every row: one block more would pass 2**53."""
    bound = 2**21
    values = np.full((5000, 1), float(bound))
    found = sum_of_products(5000, (bound, bound), lambda part: (values[part], values[part]))
    assert int(found[0, 0]) == 5000 * bound**2 > 2**53


def test_more_than_the_bounds_allow_is_refused() -> None:
    with pytest.raises(SumsTooLargeError):
        check_bounds(1, 2**27, 2**26)
    with pytest.raises(SumsTooLargeError):
        check_bounds(2**15, 2**24, 2**24)
    assert check_bounds(2**14, 2**24, 2**24) == 31
