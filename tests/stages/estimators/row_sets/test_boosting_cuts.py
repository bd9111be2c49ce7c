"""Codes that many rows have, and the cuts around them."""

import numpy as np
import numpy.typing as npt
import pytest
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting_cuts import CommonCodes
from unlearn.stages.estimators.row_sets.boosting_draws import BoostingDraws
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.estimators.row_sets.row_set import RowSet

from tests.stages.estimators.row_sets.laws import KEY, as_rows, check_same, draw_rows
from tests.stages.estimators.row_sets.test_boosting import (
    TWO_CLASSES,
    counting,
    same_small,
    small,
)

OPTIONS = ExactBoostingOptions(trees=40)
TWO = Shape((BINS + 1, 60, 5), (False, False, True), 2)


def with_spike(count: int, code: int = 900) -> RowSet:
    """Return rows of which so many have one code of the second number."""
    rows = draw_rows(1500, 21, TWO_CLASSES)
    codes = rows.codes.copy()
    codes[:, 1][codes[:, 1] == code] = 0
    codes[:count, 1] = code
    return as_rows(np.arange(1500), codes, rows.targets)


def expected(common: CommonCodes, counts: npt.NDArray[np.int64], rows: int) -> list[list[bool]]:
    """Tell which codes are common, one by one."""
    limits = rows * common.limits
    return [
        [
            code > 0
            and own[code] >= 20
            and own[code] * 4 >= sum(own[max(1, code - 8) : code + 9])
            and own[code] >= limits[feature, code]
            for code in range(len(own))
        ]
        for feature, own in enumerate(counts)
    ]


def test_a_code_is_common_if_it_has_many_rows_and_its_neighbours_have_few() -> None:
    common, random = CommonCodes(KEY, TWO), np.random.default_rng(4)
    assert common.shape == (2, BINS + 1)
    assert (common.limits >= 1 / 2048).all()
    assert (common.limits < 1 / 1024).all()
    counts = random.integers(0, 4, common.shape)
    for feature, size in enumerate((BINS + 1, 60)):
        counts[feature, random.integers(0, size, size // 12)] += random.integers(0, 60, size // 12)
    counts[:, 0] = 10_000
    for rows in (1_000, 60_000):
        found = common.among(counts, rows)
        assert found.tolist() == expected(common, counts, rows)
        assert found.any()
    assert common.among(counts, 1_000).sum() > 2 * common.among(counts, 60_000).sum()


def test_no_code_of_a_smooth_distribution_is_common() -> None:
    shape = Shape((BINS + 1,), (False,), 2)
    common = CommonCodes(KEY, shape)
    values = np.random.default_rng(5).normal(BINS / 2, BINS / 40, 100_000)
    codes = np.clip(values, 1, BINS).astype(np.uint16)[:, None]
    assert not common.among(common.count(codes), 100_000).any()


def test_there_are_cuts_on_both_sides_of_common_codes() -> None:
    draws = BoostingDraws(KEY, TWO, OPTIONS)
    none = np.zeros(draws.common.shape, bool)
    usual = draws.cuts(none)
    some = none.copy()
    some[0, [700, 701, 3000, BINS]] = True
    found = draws.cuts(some)
    assert found.shape == usual.shape == draws.shape_of_cuts == (2, 3, 250)
    for own, before in zip(found[:, 0], usual[:, 0], strict=True):
        assert {699, 700, 701, 2999, 3000, BINS - 1} <= set(own.tolist())
        assert BINS not in own
        # The others are among those that follow from the key alone.
        assert len(set(own.tolist()) & set(before.tolist())) > 90
    assert np.array_equal(found[:, 1:], usual[:, 1:])
    assert np.array_equal(found, np.sort(found, axis=2))


def test_no_cut_follows_from_a_single_row() -> None:
    """With or without any one row of a code that few have, all cuts are the same."""
    draws = BoostingDraws(KEY, TWO, OPTIONS)
    random = np.random.default_rng(6)
    codes = np.stack([random.integers(1, size, 2_000) for size in TWO.sizes], 1).astype(np.uint16)
    counts = draws.common.count(codes)
    cuts = draws.cuts(draws.common.among(counts, 2_000))
    few = np.flatnonzero(counts[0, codes[:, 0]] < 20)
    assert len(few) > 1_000
    for row in few[:50]:
        fewer = counts.copy()
        fewer[0, codes[row, 0]] -= 1
        assert np.array_equal(draws.cuts(draws.common.among(fewer, 2_000)), cuts)


@pytest.mark.parametrize(("count", "is_refitted"), [(20, True), (30, False), (12, False)])
def test_a_row_that_makes_a_code_common_or_not_changes_the_cuts(
    count: int, *, is_refitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, estimator = with_spike(count), small()
    gone = rows.codes[:, 1] == 900
    gone &= np.cumsum(gone) == 1
    work = counting(estimator, monkeypatch)
    state = estimator.fit(rows)
    cuts, model = state.cuts, estimator.model(state)
    work.clear()

    state = estimator.forget(state, rows.take(gone), rows.take(~gone))

    assert ("fit" in work) == is_refitted
    assert np.array_equal(state.cuts, cuts) != is_refitted
    check_same(same_small, estimator, state, rows.take(~gone), TWO_CLASSES)
    state = estimator.add(state, rows.take(gone), rows)
    assert estimator.model(state) == model
    check_same(same_small, estimator, state, rows, TWO_CLASSES)
