"""Attacks on predicted numbers: tables small enough to work out by hand, and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.verify.membership.answers import Answers
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.calibrated import (
    OFFLINE_A,
    RMIA,
    gaussian_likelihood,
    lira_of_residuals,
)
from unlearn.stages.verify.membership.row_scores import compared, of_numbers
from unlearn.stages.verify.membership.scores import absolute_error, squared_error
from unlearn.stages.verify.membership.statistics import auc
from unlearn.stages.verify.membership.views import (
    of_shard_models,
    residuals_without_home,
    without_home,
)

residuals = arrays(np.float64, (5, 4), elements=st.floats(-5, 5))
ALL = np.ones((5, 4), dtype=bool)
OUTPUTS = Outputs(centre=100.0, scale=10.0)


def test_errors_by_hand() -> None:
    predictions, targets = np.array([3.0, 1.0, -2.0]), np.array([1.0, 1.0, 1.0])

    assert squared_error(predictions, targets).tolist() == [-4.0, 0.0, -9.0]
    assert absolute_error(predictions, targets).tolist() == [-2.0, 0.0, -3.0]


@given(arrays(np.float64, 6, elements=st.floats(-100, 100)))
def test_squared_and_absolute_errors_rank_rows_alike(predictions: Floats) -> None:
    predictions = predictions.round(3)
    targets, once = np.zeros(3), np.ones(3)
    found = [
        auc(score(predictions[:3], targets), score(predictions[3:], targets), once, once)
        for score in (squared_error, absolute_error)
    ]

    assert found[0] == found[1]


def test_residuals_are_in_the_pinned_scale() -> None:
    predictions, targets = np.array([120.0, 100.0]), np.array([100.0, 105.0])
    found = of_numbers(predictions, targets, OUTPUTS)

    assert compared(predictions, targets, OUTPUTS).tolist() == [2.0, -0.5]
    assert found.logits.tolist() == [2.0, -0.5]
    assert found.scores["squared_error"].tolist() == [-400.0, -25.0]
    assert found.scores["absolute_error"].tolist() == [-20.0, -5.0]
    assert found.residuals
    assert not of_numbers(np.array([np.inf, 1.0]), targets, OUTPUTS).finite


def test_lira_of_residuals_by_hand() -> None:
    # Means 2 and -3; variances 2 and 0, pooled 1.
    references = np.array([[1.0, 3.0], [-3.0, -3.0]])
    own = np.array([0.5, -4.0])
    found = lira_of_residuals(own, references, np.ones((2, 2), dtype=bool))

    # -m (r - m) / s^2: nearer to the target than the others, and farther from it.
    assert found == pytest.approx([3.0, -3.0])
    # What the two normal densities say, but for what the row is worth by itself.
    for mean, residual, score in zip((2.0, -3.0), own, found, strict=True):
        ratio = -(residual**2) / 2 + (residual - mean) ** 2 / 2
        assert score == pytest.approx(ratio + mean**2 / 2)


def test_lira_of_residuals_leaves_out_models_that_saw_the_row() -> None:
    references = np.array([[1.0, 3.0, 99.0], [-3.0, 77.0, -3.0]])
    usable = np.array([[True, True, False], [True, False, True]])
    own = np.array([0.5, -4.0])

    assert lira_of_residuals(own, references, usable) == pytest.approx([3.0, -3.0])


@given(residuals, st.floats(0.01, 100))
def test_the_unit_of_the_target_changes_no_score(references: Floats, unit: float) -> None:
    own = references[:, 0] + 1
    references = references + np.linspace(0, 1, 4)

    found = lira_of_residuals(own * unit, references * unit, ALL)
    assert found == pytest.approx(lira_of_residuals(own, references, ALL), rel=1e-6, abs=1e-9)
    # And so does mirroring all targets.
    assert lira_of_residuals(-own, -references, ALL) == pytest.approx(
        lira_of_residuals(own, references, ALL), rel=1e-9
    )


def test_hard_rows_that_no_model_saw_score_as_easy_ones_do() -> None:
    draw = np.random.default_rng(2)
    rows, models = 4_000, 16
    usable = np.ones((rows, models - 1), dtype=bool)
    scores = []
    for difficulty in (0.2, 6.0):
        mean = draw.normal(0, difficulty, (rows, 1))
        answers = mean + draw.normal(0, 1, (rows, models))
        scores.append(lira_of_residuals(answers[:, 0], answers[:, 1:], usable))

    once = np.ones(rows)
    assert auc(scores[1], scores[0], once, once) == pytest.approx(0.5, abs=0.03)
    # The errors alone take every hard row for one that the model never saw.
    assert np.mean(np.abs(scores[1])) > 3 * np.mean(np.abs(scores[0]))


def test_the_gaussian_likelihood_by_hand() -> None:
    found = gaussian_likelihood(np.array([0.0, 2.0, -4.0]), 2.0)

    assert found == pytest.approx([1.0, math.exp(-0.5), math.exp(-2.0)])
    assert gaussian_likelihood(np.array([0.0, 1.0]), 0.0).tolist() == [1.0, 0.0]


def _answers(values: Floats, home: list[int]) -> Answers:
    """Return answers of shard models, given their residuals in the pinned scale."""
    places = np.array(home)
    targets = np.full(len(values), 100.0)
    own = 100.0 + 10.0 * values[np.arange(len(values)), places]
    of_home = of_numbers(own, targets, OUTPUTS)
    of_final = of_numbers(100.0 + 10.0 * values.mean(axis=1), targets, OUTPUTS)
    count = np.arange(len(values))
    return Answers(places, np.zeros_like(places), count, values, of_home, of_final)


def test_rmia_by_hand() -> None:
    # The population's residuals have a root mean square of 1, so likelihoods are exp(-r^2 / 2).
    population = _answers(np.array([[1.0, 1.0], [1.0, -1.0]]), [0, 0])
    forgotten = _answers(np.array([[0.0, 1.0]]), [0])
    others = _answers(np.array([[1.0, 1.0], [2.0, 1.0]]), [0, 0])
    view = of_shard_models(forgotten, others, others, population, probable=True)
    one, _, two = view.scores(RMIA)

    def ratio(own: float, other: float) -> float:
        likelihood, mean = math.exp(-(own**2) / 2), math.exp(-(other**2) / 2)
        return likelihood / (((1 + OFFLINE_A) * mean + 1 - OFFLINE_A) / 2)

    assert view.compared.probabilities[0] == pytest.approx(
        [1.0, *[math.exp(-0.5), math.exp(-2.0)] * 2]
    )
    # Both population rows have one ratio; the first row's is larger, the last one's smaller.
    assert ratio(0, 1) > ratio(1, 1) > ratio(2, 1)
    assert one.tolist() == [1.0]
    assert two.tolist() == [1.0, 0.0]


def test_ensembles_without_a_member_by_hand() -> None:
    values = np.array([[0.0, 2.0, 4.0, 12.0]])
    home, votes = np.array([0]), np.array([1.0, 1.0, 2.0, 1.0])
    once = np.ones(4)

    found = residuals_without_home(values, home, once, "mean")
    # Without the row's own member; then without each other one as well.
    assert found == pytest.approx(np.array([[6.0, 8.0, 7.0, 3.0]]))
    assert residuals_without_home(values, home, votes, "size_weighted") == pytest.approx(
        np.array([[22 / 4, 20 / 3, 14 / 2, 10 / 3]])
    )
    assert residuals_without_home(values, home, once, "median") == pytest.approx(
        np.array([[4.0, 8.0, 7.0, 3.0]])
    )
    assert residuals_without_home(values[:, :2], home, once[:2], "mean").shape == (1, 0)
    assert without_home(values, home, once).shape == (1, 4)
