"""LiRA and RMIA on tables small enough to work out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.calibrated import (
    OFFLINE_A,
    lira,
    probability_ratio,
    probability_ratios,
    rmia,
)

logits = arrays(np.float64, (5, 4), elements=st.floats(-5, 5))
ALL = np.ones((5, 4), dtype=bool)


def test_lira_by_hand() -> None:
    # References 1, 3 of the first row, 2, 2 of the second: variances 2 and 0, pooled 1.
    references = np.array([[1.0, 3.0], [2.0, 2.0]])
    found = lira(np.array([4.0, 1.0]), references, np.ones((2, 2), dtype=bool))

    assert found == pytest.approx([2.0, -1.0])


def test_lira_leaves_out_models_that_saw_the_row() -> None:
    references = np.array([[1.0, 3.0, 99.0], [2.0, 77.0, 2.0]])
    usable = np.array([[True, True, False], [True, False, True]])

    assert lira(np.array([4.0, 1.0]), references, usable) == pytest.approx([2.0, -1.0])


def test_lira_with_many_references_takes_each_rows_own_variance() -> None:
    draw = np.random.default_rng(0)
    references = draw.normal(0, [[1.0], [5.0]], (2, 15))
    own = np.array([3.0, 3.0])
    expected = (own - references.mean(axis=1)) / references.std(axis=1, ddof=1)

    assert lira(own, references, np.ones((2, 15), dtype=bool)) == pytest.approx(expected)
    # With one fewer, both rows share one.
    fewer = references[:, :14]
    pooled = np.sqrt(fewer.var(axis=1, ddof=1).mean())
    assert lira(own, fewer, np.ones((2, 14), dtype=bool)) == pytest.approx(
        (own - fewer.mean(axis=1)) / pooled
    )


def test_a_reference_drawn_twice_counts_twice() -> None:
    references = np.array([[1.0, 3.0, 8.0], [2.0, 2.0, 9.0]])
    spelt_out = references[:, [0, 0, 1]]
    own = np.array([4.0, 1.0])
    drawn = lira(own, references, np.ones((2, 3), dtype=bool), np.array([2.0, 1.0, 0.0]))

    assert drawn == pytest.approx(lira(own, spelt_out, np.ones((2, 3), dtype=bool)))


def test_a_row_whose_references_were_not_drawn_keeps_them_all() -> None:
    references = np.array([[1.0, 3.0, 8.0], [2.0, 2.0, 9.0]])
    usable = np.array([[True, True, False], [True, True, True]])
    drawn = lira(np.array([4.0, 1.0]), references, usable, np.array([0.0, 0.0, 3.0]))

    assert np.isfinite(drawn).all()


def test_references_that_agree_leave_no_division_by_zero() -> None:
    found = lira(np.array([1.0, 2.0]), np.ones((2, 4)), np.ones((2, 4), dtype=bool))

    assert found[0] == 0
    assert np.isfinite(found[1])
    assert found[1] > 0


@given(logits, st.floats(-3, 3))
def test_moving_all_logits_of_a_row_changes_nothing(references: Floats, by: float) -> None:
    own = references[:, 0] + 1
    moved = lira(own + by, references + by, ALL)

    assert moved == pytest.approx(lira(own, references, ALL), rel=1e-4, abs=1e-6)


def test_the_probability_ratio_by_hand() -> None:
    # Mean over references .4; a = .3: (1.3 * .4 + .7) / 2 = .61.
    assert OFFLINE_A == 0.3
    found = probability_ratio(
        np.array([0.61]), np.array([[0.2, 0.6, 0.9]]), np.array([[True, True, False]])
    )

    assert found == pytest.approx([1.0])


@given(logits, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_the_ratios_of_all_models_are_those_of_each(table: Floats, drawn: list[int]) -> None:
    chances, weights = expit(table), np.array(drawn, dtype=float)
    found = probability_ratios(chances, weights)

    for model in range(4):
        others = ALL.copy()
        others[:, model] = False
        expected = probability_ratio(chances[:, model], chances, others, weights)
        assert found[model] == pytest.approx(expected)
    assert probability_ratios(chances) == pytest.approx(probability_ratios(chances, np.ones(4)))


def test_rmia_by_hand() -> None:
    population = np.array([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    ratios, model = np.array([2.0, 0.5, 9.0, 25.0]), np.array([0, 0, 0, 1])

    assert rmia(ratios, model, population).tolist() == [0.5, 0.0, 1.0, 0.5]


def test_without_a_population_rmia_has_no_score() -> None:
    found = rmia(np.array([2.0, 0.5]), np.array([0, 0]), np.zeros((1, 0)))

    assert np.isnan(found).all()


@given(logits)
def test_rmia_is_a_share_that_grows_with_the_ratio(table: Floats) -> None:
    ratios = np.sort(probability_ratio(expit(table[:, 0]), expit(table), ALL))
    found = rmia(ratios, np.zeros(5, dtype=np.int64), np.sort(expit(table[:, 1]))[None, :])

    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) >= 0)
