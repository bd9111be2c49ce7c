"""LiRA and RMIA in their online forms, on tables small enough to work out by hand."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, ndtr
from scipy.stats import norm
from unlearn.stages.verify.membership.arrays import Bools, Floats
from unlearn.stages.verify.membership.attack import Attack, ComparedRows, ReferenceScore
from unlearn.stages.verify.membership.calibrated import lira
from unlearn.stages.verify.membership.online import (
    LIRA_ONLINE,
    RMIA_ONLINE,
    online_lira,
    online_ratio,
)
from unlearn.stages.verify.membership.statistics import auc

ROWS, MODELS = 5, 6
logits = arrays(np.float64, (ROWS, MODELS), elements=st.integers(-40, 40).map(lambda n: n / 8))
#: Which models hold each row: three of six, drawn for it.
masks = st.lists(st.permutations(range(MODELS)), min_size=ROWS, max_size=ROWS).map(
    lambda drawn: np.array(drawn) < MODELS // 2
)


def varied(references: Floats, held: Bools) -> bool:
    """Return whether models with a row differ on some row, and models without it, too."""
    return all(
        any(np.ptp(row[here]) > 0 for row, here in zip(references, which, strict=True))
        for which in (held, ~held)
    )


def test_lira_by_hand() -> None:
    # Means with the row 4 and 2, without it 1 and 0. Sums of squares 2 + 0 and 2 + 2, each with
    # two degrees of freedom: variances 1 and 2.
    references = np.array([[3.0, 5.0, 0.0, 2.0], [-1.0, 2.0, 1.0, 2.0]])
    held = np.array([[True, True, False, False], [False, True, False, True]])
    found = online_lira(np.array([4.0, 0.0]), references, held, ~held)

    log = math.log(2) / 2
    assert found == pytest.approx([0 - (-9 / 4 - log), -4 / 2 - (0 - log)])


def test_a_reference_that_got_no_row_counts_for_neither_side() -> None:
    references = np.array([[3.0, 5.0, 0.0, 2.0], [2.0, 2.0, -1.0, 1.0]])
    held = np.array([[True, True, False, False]] * 2)
    own, none = np.array([4.0, 0.0]), np.zeros((2, 1), dtype=bool)
    more = np.concatenate([references, [[99.0], [-99.0]]], axis=1)
    inside, outside = (np.concatenate([which, none], axis=1) for which in (held, ~held))

    for function in (online_lira, online_ratio):
        plain = function(own, references, held, ~held)
        assert function(own, more, inside, outside) == pytest.approx(plain)


@pytest.mark.parametrize("each", [14, 15])
def test_lira_is_the_ratio_of_two_normal_densities(each: int) -> None:
    """Each row has variances of its own from 15 models of either kind on."""
    draw = np.random.default_rng(0)
    references = draw.normal(0, [[1.0], [3.0], [2.0]], (3, 2 * each))
    held = np.argsort(draw.random(references.shape), axis=1) < each
    references[held] += 2
    own = np.array([1.0, 5.0, -2.0])
    inside, outside = (references[which].reshape(3, each) for which in (held, ~held))
    spreads = [part.std(axis=1, ddof=1) for part in (inside, outside)]
    if each < 15:
        spreads = [np.full(3, np.sqrt((spread**2).mean())) for spread in spreads]
    expected = norm.logpdf(own, inside.mean(axis=1), spreads[0]) - norm.logpdf(
        own, outside.mean(axis=1), spreads[1]
    )

    assert online_lira(own, references, held, ~held) == pytest.approx(expected)


def test_a_reference_drawn_twice_counts_twice() -> None:
    references = np.array([[3.0, 5.0, 8.0, 0.0, 2.0, 9.0], [2.0, 3.0, 7.0, -1.0, 1.0, 6.0]])
    held = np.array([[True, True, True, False, False, False]] * 2)
    own, weights = np.array([4.0, 0.0]), np.array([2.0, 1.0, 0.0, 1.0, 2.0, 0.0])
    chosen = [0, 0, 1, 3, 4, 4]
    spelt_out, of = references[:, chosen], held[:, chosen]

    for function in (online_lira, online_ratio):
        drawn = function(own, references, held, ~held, weights)
        assert drawn == pytest.approx(function(own, spelt_out, of, ~of))


@given(logits, masks, st.integers(-3, 3))
def test_moving_all_logits_of_a_row_changes_nothing(
    references: Floats, held: Bools, by: int
) -> None:
    assume(varied(references, held))
    own = references[:, 0] + 1
    moved = online_lira(own + by, references + by, held, ~held)

    assert moved == pytest.approx(online_lira(own, references, held, ~held), rel=1e-6, abs=1e-6)


@given(logits, masks)
def test_exchanging_the_two_kinds_of_models_changes_the_sign(
    references: Floats, held: Bools
) -> None:
    own = references[:, 0] + 1
    found = online_lira(own, references, held, ~held)

    assert online_lira(own, references, ~held, held) == pytest.approx(-found)


@given(logits, masks, st.permutations(range(MODELS)))
def test_reference_models_may_be_in_any_order(
    references: Floats, held: Bools, order: list[int]
) -> None:
    assume(varied(references, held))
    own, moved, of = references[:, 0] + 1, references[:, order], held[:, order]
    plain = online_lira(own, references, held, ~held)

    assert online_lira(own, moved, of, ~of) == pytest.approx(plain, rel=1e-6, abs=1e-6)
    ratios = online_ratio(expit(own), expit(references), held, ~held)
    assert online_ratio(expit(own), expit(moved), of, ~of) == pytest.approx(ratios)


def test_the_ratio_is_to_the_mean_of_both_means() -> None:
    # With the row .6 and without it (.1 + .3) / 2 = .2: the mean of both is .4.
    held = np.array([[True, False, False]])
    found = online_ratio(np.array([0.8]), np.array([[0.6, 0.1, 0.3]]), held, ~held)

    assert found == pytest.approx([2.0])


def compared(held: Bools | None) -> ComparedRows:
    table = np.array([[3.0, 5.0, 0.0, 2.0], [-1.0, 2.0, 1.0, 2.0]])
    usable = np.ones(table.shape, dtype=bool) if held is None else ~held
    population = np.array([[0.5, 1.05, 1.5, 2.0]])
    return ComparedRows(
        np.array([4.0, 0.0]), table, usable, np.zeros(2, dtype=np.int64), lambda _: population, held
    )


def test_the_attacks_are_these_functions() -> None:
    held = np.array([[True, True, False, False], [False, True, False, True]])
    rows = compared(held)
    assert isinstance(LIRA_ONLINE.score, ReferenceScore)
    assert isinstance(RMIA_ONLINE.score, ReferenceScore)

    expected = online_lira(rows.own, rows.references, held, ~held)
    assert np.array_equal(LIRA_ONLINE.score.compare(rows, None), expected)
    # The first row: .982 / ((.973 + .690) / 2) = 1.18. The second: .5 / ((.881 + .5) / 2) = .72.
    assert RMIA_ONLINE.score.compare(rows, None).tolist() == [0.5, 0.25]


@pytest.mark.parametrize("attack", [LIRA_ONLINE, RMIA_ONLINE], ids=lambda attack: attack.name)
def test_without_models_of_the_rows_there_is_no_score(attack: Attack) -> None:
    assert isinstance(attack.score, ReferenceScore)

    with pytest.raises(ValueError, match="no reference model"):
        attack.score.compare(compared(None), None)


def test_memorised_rows_have_low_ratios_in_a_model_without_them() -> None:
    """So .5 is not what forgetting looks like to it, as docs/verification.md explains.

    Normal logits of variance 1, whose means with and without a row differ by 3 for forgotten rows
    and by 1 for others: the log ratio of a model without them is N(-9/2, 9) and N(-1/2, 1).
    """
    draw, rows, each = np.random.default_rng(0), 4_000, 200
    gaps = np.repeat([3.0, 1.0], rows)
    held = np.tile(np.arange(2 * each) < each, (2 * rows, 1))
    references = draw.normal(0, 1, held.shape) + gaps[:, None] * held
    own, ones = draw.normal(0, 1, 2 * rows), np.ones(rows)
    online = online_lira(own, references, held, ~held)
    offline = lira(own, references, ~held)

    expected = float(ndtr((-4.5 + 0.5) / np.sqrt(9 + 1)))
    assert expected == pytest.approx(0.103, abs=1e-3)
    assert auc(online[:rows], online[rows:], ones, ones) == pytest.approx(expected, abs=0.02)
    assert auc(offline[:rows], offline[rows:], ones, ones) == pytest.approx(0.5, abs=0.02)
