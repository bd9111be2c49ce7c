"""Scores of one model's answer: by hand, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.scores import (
    confidence,
    entropy,
    logit,
    loss,
    modified_entropy,
)

raw = arrays(np.float64, (4, 3), elements=st.floats(0.01, 1))


def answers(raw: Floats) -> Floats:
    normed: Floats = raw / raw.sum(axis=1, keepdims=True)
    return normed


TRUTH: Ints = np.array([0, 1, 2, 0])
HAND = np.array([[0.5, 0.25, 0.25]])
FIRST: Ints = np.array([0])


def test_by_hand() -> None:
    ln = np.log
    assert confidence(HAND, FIRST) == [0.5]
    assert loss(HAND, FIRST) == pytest.approx(ln(0.5))
    assert entropy(HAND, FIRST) == pytest.approx(0.5 * ln(0.5) + 0.5 * ln(0.25))
    # -(1 - .5) ln .5 for the true class, -.25 ln .75 for each other one, all with the sign turned.
    assert modified_entropy(HAND, FIRST) == pytest.approx(0.5 * ln(0.5) + 0.5 * ln(0.75))
    assert modified_entropy(HAND, FIRST + 1) == pytest.approx(
        0.75 * ln(0.25) + 0.5 * ln(0.5) + 0.25 * ln(0.75)
    )
    assert logit(HAND, FIRST) == pytest.approx(0.0)
    assert logit(HAND, FIRST + 1) == pytest.approx(ln(0.25 / 0.75))


@given(raw.map(answers))
def test_the_mean_loss_is_scikit_learns(probabilities: Floats) -> None:
    expected = log_loss(TRUTH, probabilities, labels=[0, 1, 2])

    assert -loss(probabilities, TRUTH).mean() == pytest.approx(expected)


@given(raw.map(answers))
def test_surer_of_the_truth_scores_higher(probabilities: Floats) -> None:
    surer = probabilities * 0.5
    surer[np.arange(4), TRUTH] += 0.5

    for score in (loss, modified_entropy, logit):
        assert np.all(score(surer, TRUTH) >= score(probabilities, TRUTH))


@pytest.mark.parametrize("score", [confidence, loss, entropy, modified_entropy, logit])
@pytest.mark.parametrize("row", [[1.0, 0.0], [0.0, 1.0], [1.0 - 1e-17, 1e-17]])
def test_certainty_has_a_score_that_is_a_number(score, row: list[float]) -> None:  # type: ignore[no-untyped-def]  # any of the scores
    assert np.isfinite(score(np.array([row]), FIRST)).all()


def test_the_logit_keeps_its_digits_next_to_certainty() -> None:
    near = np.array([[1.0, 1e-11]])  # as softmax in single precision gives it

    assert logit(near, FIRST) == pytest.approx(np.log(1e11))
