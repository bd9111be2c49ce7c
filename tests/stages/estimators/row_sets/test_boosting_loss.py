"""Boosting of numbers: the squared error in integers, and what is answered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.boosting import ExactBoosting
from unlearn.stages.estimators.row_sets.boosting_loss import SquaredLoss
from unlearn.stages.estimators.row_sets.boosting_sums import (
    OF_NUMBERS,
    both,
    pairs_of_blocks,
    purity,
    rounded_values,
    sums_by,
)
from unlearn.stages.estimators.row_sets.row_set import RowSet
from unlearn.stages.estimators.row_sets.target_grid import FARTHEST

from tests.stages.estimators.row_sets.laws import (
    KEY,
    SHAPE,
    draw_rows,
    mask_of,
    numbers_of,
    with_numbers,
)

OPTIONS = ExactBoostingOptions(steps=16)
TARGETS = st.lists(st.integers(-FARTHEST, FARTHEST), min_size=1, max_size=30)


@given(targets=TARGETS, score=st.integers(-200, 200))
def test_derivatives_are_errors_in_steps_of_the_grid(targets: list[int], score: int) -> None:
    loss, labels = SquaredLoss(OPTIONS, 0.5), np.array(targets)
    weights = loss.weights(loss.begin(labels, score), labels)
    # 256 steps are a scale, which has 16 values of leaves.
    expected = np.clip(score * 16 - labels, -(2**15) + 1, 2**15 - 1)

    firsts, seconds = both(pairs_of_blocks(weights, OF_NUMBERS), OF_NUMBERS)

    assert firsts.tolist() == expected.tolist()
    assert set(seconds / 256) == {1.0}
    summed = sums_by(np.zeros(len(labels), np.uint8), weights, 1, OF_NUMBERS)
    firsts, seconds = both(summed, OF_NUMBERS)
    assert (firsts[0], seconds[0]) == (expected.sum(), 256 * len(labels))


def test_the_largest_sums_are_exact() -> None:
    rows = 2**17 + 5
    loss = SquaredLoss(OPTIONS, 0.5)
    for sign in (1, -1):
        labels = np.full(rows, sign * FARTHEST)
        weights = loss.weights(loss.begin(labels, 0), labels)
        firsts, seconds = both(
            sums_by(np.zeros(rows, np.uint8), weights, 1, OF_NUMBERS), OF_NUMBERS
        )
        assert firsts.tolist() == [-sign * (2**15 - 1) * rows]
        assert seconds.tolist() == [256 * rows]
    # The most rows that a model may have, all with the largest error.
    largest = np.array([((2**15 - 1) << 24) * 2**23 + 2**23])
    firsts, seconds = both(largest, OF_NUMBERS)
    assert (firsts[0], seconds[0]) == ((2**15 - 1) * 2**23, 256 * 2**23)
    assert purity(largest, 1.0, OF_NUMBERS)[0] > 0


def test_a_leaf_is_the_shrunken_mean_of_its_errors() -> None:
    labels = np.array([256 * 3, 256 * 5])
    loss = SquaredLoss(OPTIONS, 0.5)
    weights = loss.weights(loss.begin(labels, 0), labels)
    pairs = sums_by(np.zeros(2, np.uint8), weights, 1, OF_NUMBERS)
    found = rounded_values(pairs, 0.5, 16, 2.0, np.zeros(1), OF_NUMBERS)
    # The sum of 8 scales, over two rows and a smoothing of two, times the rate and the steps.
    assert found.tolist() == [8 // 4 * 0.5 * 16]
    # What the loss falls by: 8 squared over 4, in units of 1/256.
    assert purity(pairs, 2.0, OF_NUMBERS).tolist() == [64 / 4 * 256]


@given(targets=TARGETS, dither=st.floats(0, 0.999))
def test_the_start_is_the_mean_up_to_half_a_scale(targets: list[int], dither: float) -> None:
    loss = SquaredLoss(OPTIONS, dither)
    start = loss.start(loss.count(np.array(targets)))
    assert abs(start / 16 - np.mean(targets) / 256) <= 0.5 + 1e-9


def test_no_rows_start_from_the_centre() -> None:
    for dither in (0.0, 0.5, 0.999):
        assert SquaredLoss(OPTIONS, dither).start(np.zeros(2, np.int64)) == 0


def test_boosting_finds_what_it_was_given() -> None:
    rows, shape = draw_rows(1_500, 3), numbers_of(SHAPE)
    assert shape.target is not None
    signal = rows.codes[:, 0] * 60 - (rows.codes[:, 3] == 2) * 900
    rows = RowSet(rows.digests, rows.codes, signal.astype(np.int64))
    boosting = ExactBoosting(KEY, shape, ExactBoostingOptions(steps=64))

    found = boosting.predictor(boosting.model(boosting.fit(rows))).values(rows.codes)

    expected = signal * 7 / 256 - 30
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.06 * expected.std()


def test_rows_with_another_sum_are_counted_in_every_tree() -> None:
    rows, shape = with_numbers(draw_rows(60, 4)), numbers_of(SHAPE)
    boosting = ExactBoosting(KEY, shape, ExactBoostingOptions(trees=4))
    state = boosting.fit(rows)
    assert boosting.counts_rows(state, rows)
    assert not boosting.counts_rows(state, rows.take(~mask_of([7], rows)))
    other = RowSet(rows.digests, rows.codes, rows.targets + (np.arange(60) == 3))
    assert not boosting.counts_rows(state, other)


def test_numbers_are_not_asked_for_of_classes() -> None:
    boosting = ExactBoosting(KEY, SHAPE, ExactBoostingOptions(trees=4))
    model = boosting.predictor(boosting.model(boosting.fit(draw_rows(50, 4))))
    with pytest.raises(TypeError, match="predicts classes"):
        model.values(draw_rows(5, 4).codes)
