"""Accuracy, log loss, F1 and calibration: against scikit-learn's, and by hand."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics
from unlearn.stages.verify.measures.utility import (
    accuracy,
    calibration_error,
    log_loss,
    macro_f1,
    measure,
)
from unlearn.stages.verify_report.quality import ClassUtility, Utility

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

sizes = st.shared(st.integers(1, 20), key="rows")
probabilities = sizes.flatmap(
    lambda rows: hnp.arrays(np.float64, (rows, 3), elements=st.floats(1e-9, 1))
).map(lambda values: values / values.sum(axis=1, keepdims=True))
targets = sizes.flatmap(lambda rows: hnp.arrays(np.int64, rows, elements=st.integers(0, 2)))


@given(probabilities, targets)
def test_they_are_scikit_learns(answers: Floats, truth: Ints) -> None:
    expected = metrics.accuracy_score(truth, answers.argmax(axis=1))
    assert accuracy(answers, truth) == pytest.approx(expected)
    expected = metrics.log_loss(truth, answers, labels=[0, 1, 2])
    assert log_loss(answers, truth) == pytest.approx(expected, abs=1e-12)


def test_a_certain_mistake_is_a_large_loss_and_not_an_infinite_one() -> None:
    answers, truth = np.array([[1.0, 0.0]]), np.array([1])

    assert log_loss(answers, truth) == pytest.approx(
        metrics.log_loss(truth, answers, labels=[0, 1])
    )
    assert 30 < log_loss(answers, truth) < 40


def test_a_tie_goes_to_the_class_pinned_first() -> None:
    assert accuracy(np.array([[0.5, 0.5]]), np.array([0])) == 1
    assert accuracy(np.array([[0.5, 0.5]]), np.array([1])) == 0


TWO = ("a", "b")


def test_votes_have_no_log_loss_and_nothing_has_no_quality() -> None:
    answers, truth = np.array([[0.75, 0.25], [0.0, 1.0]]), np.array([0, 0])
    per_class = {"a": ClassUtility(rows=2, accuracy=0.5), "b": ClassUtility(rows=0)}

    votes = measure(answers, truth, TWO, has_probabilities=False)
    assert votes == Utility(
        rows=2, accuracy=0.5, macro_f1=macro_f1(answers, truth), per_class=per_class
    )
    assert votes.macro_f1 == pytest.approx(1 / 3)
    found = measure(answers, truth, TWO, has_probabilities=True)
    assert found.log_loss == log_loss(answers, truth)
    assert found.calibration_error == calibration_error(answers, truth)
    assert measure(answers[:0], truth[:0], TWO, has_probabilities=True) == Utility(rows=0)


def test_an_answer_that_is_no_number_is_wrong_and_leaves_no_log_loss() -> None:
    answers, truth = np.array([[np.nan, 1.0], [0.25, 0.75]]), np.array([0, 1])
    found = measure(answers, truth, TWO, has_probabilities=True)

    assert (found.accuracy, found.log_loss, found.calibration_error) == (0.5, None, None)
    assert found.per_class == {
        "a": ClassUtility(rows=1, accuracy=0.0),
        "b": ClassUtility(rows=1, accuracy=1.0),
    }


def test_a_class_of_few_rows_has_no_accuracy_of_its_own() -> None:
    answers, truth = np.array([[1.0, 0.0]] * 5), np.array([0, 0, 0, 1, 1])
    found = measure(answers, truth, TWO, has_probabilities=True, min_rows=3)

    assert found.per_class == {"a": ClassUtility(rows=3, accuracy=1.0), "b": ClassUtility(rows=2)}


@given(probabilities, targets)
def test_macro_f1_is_scikit_learns(answers: Floats, truth: Ints) -> None:
    expected = metrics.f1_score(truth, answers.argmax(axis=1), average="macro")

    assert macro_f1(answers, truth) == pytest.approx(expected)


def test_the_calibration_error_by_hand() -> None:
    # Four rows at .95, three of them right, and one at .55 that is right.
    answers = np.array([[0.95, 0.05]] * 4 + [[0.45, 0.55]])
    truth = np.array([0, 0, 0, 1, 1])

    assert calibration_error(answers, truth) == pytest.approx(0.8 * 0.2 + 0.2 * 0.45)
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
