"""Naive Bayes by integers, against scikit-learn's two kinds of it."""

import numpy as np
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from unlearn.stages.config.row_sets import ExactNaiveBayesOptions
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.linear import inputs_of
from unlearn.stages.estimators.row_sets.naive_bayes import ExactNaiveBayes
from unlearn.stages.estimators.row_sets.row_set import RowSet

from tests.stages.estimators.row_sets.laws import KEY, as_rows, draw_rows

NUMBERS = Shape((4096, 4096), (False, False), 3)
CATEGORIES = Shape((9, 4), (True, True), 3)


def answers_of(rows: RowSet, shape: Shape, others: RowSet) -> np.ndarray:
    options = ExactNaiveBayesOptions(smoothing=0.5, variance=0.001)
    estimator = ExactNaiveBayes(KEY, shape, options)
    model = estimator.predictor(estimator.model(estimator.fit(rows)))
    return model.probabilities(others.codes)


def without_missing(rows: RowSet) -> RowSet:
    return as_rows(np.arange(len(rows)), np.maximum(rows.codes, 1), rows.targets)


def test_numbers_are_normal_in_each_class() -> None:
    rows = without_missing(draw_rows(400, 51, NUMBERS))
    others = without_missing(draw_rows(90, 52, NUMBERS, first=900))
    inputs, test = (inputs_of(NUMBERS, each.codes)[:, 1:] / 4096 for each in (rows, others))
    theirs = GaussianNB(var_smoothing=0.0).fit(inputs, rows.targets)
    theirs.var_ += 0.001
    assert np.allclose(answers_of(rows, NUMBERS, others), theirs.predict_proba(test), atol=1e-9)


def test_categories_have_smoothed_frequencies() -> None:
    rows, others = draw_rows(400, 53, CATEGORIES), draw_rows(90, 54, CATEGORIES, first=900)
    theirs = CategoricalNB(alpha=0.5, min_categories=[9, 4]).fit(rows.codes, rows.targets)
    expected = theirs.predict_proba(others.codes)
    assert np.allclose(answers_of(rows, CATEGORIES, others), expected, atol=1e-9)


def test_a_missing_number_says_nothing() -> None:
    rows = draw_rows(300, 55, NUMBERS)
    codes = rows.codes.copy()
    codes[:, 1] = 0
    shape = Shape((4096,), (False,), 3)
    first = as_rows(np.arange(300), np.ascontiguousarray(codes[:, :1]), rows.targets)
    both = as_rows(np.arange(300), codes, rows.targets)
    order = np.argsort(first.digests.view("S16")[:, 0])
    assert np.array_equal(order, np.arange(300))
    alone = {bytes(row): tuple(answer) for row, answer in _by_row(first, shape)}
    together = {bytes(row): tuple(answer) for row, answer in _by_row(both, NUMBERS)}
    for row, answer in together.items():
        assert np.allclose(answer, alone[row[:2]])


def _by_row(rows: RowSet, shape: Shape) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(rows.codes, answers_of(rows, shape, rows), strict=True))
