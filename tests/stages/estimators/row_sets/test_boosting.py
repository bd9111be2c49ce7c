"""Boosting that is changed row by row: laws of it alone, beside those of `test_laws`."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting import (
    BoostingCosts,
    ExactBoosting,
)
from unlearn.stages.estimators.row_sets.boosting_draws import BoostingDraws
from unlearn.stages.estimators.row_sets.boosting_sums import (
    BLOCK,
    UNIT,
    both,
    check_rows,
    derivative_table,
    first_score,
    logistic,
    pairs_of_blocks,
    probabilities,
    start_bounds,
    sums_by,
)
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.estimators.row_sets.integer_sums import SumsTooLargeError
from unlearn.stages.estimators.row_sets.row_set import RowSet

from tests.stages.estimators.row_sets.laws import (
    KEY,
    SHAPE,
    Build,
    as_rows,
    check_same,
    draw_rows,
    mask_of,
)

TWO_CLASSES = Shape(SHAPE.sizes, SHAPE.categorical, 2)
SMALL = ExactBoostingOptions(trees=12, depth=3, stage=3, features=3, candidates=4, rate=0.3)


def small(shape: Shape = TWO_CLASSES, options: ExactBoostingOptions = SMALL) -> ExactBoosting:
    """Return boosting that always changes its state, however few rows there are."""
    return ExactBoosting(KEY, shape, options, BoostingCosts(refit_from=2))


def small_with(options: ExactBoostingOptions) -> Build:
    """Return what builds it for any shape."""
    return lambda _key, shape: small(shape, options)


same_small = small_with(SMALL)


def counting(estimator: ExactBoosting, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what work the model of the second class does."""
    model, found = estimator._models[1], []  # noqa: SLF001 - what is done shows in no result
    for name in ("fit", "_grow", "_fit_leaves"):
        inner = getattr(model, name)

        def outer(*args: object, name: str = name, inner: object = inner) -> object:
            found.append(name)
            return inner(*args)  # type: ignore[operator]

        monkeypatch.setattr(model, name, outer)
    return found


def test_each_way_of_changing_is_taken_and_ends_as_fitting_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ways = set()
    for count in (400, 4000):
        rows, estimator = draw_rows(count, 1, TWO_CLASSES), small()
        calls = counting(estimator, monkeypatch)
        state, left = estimator.fit(rows), rows
        for at in range(40):
            calls.clear()
            gone = left.take(mask_of([at], left))
            left = left.without(gone)
            state = estimator.forget(state, gone, left)
            ways.add(tuple(calls))
            if at % 8 == 7:
                check_same(same_small, estimator, state, left, TWO_CLASSES)
    assert ways >= {(), ("_fit_leaves",), ("_grow", "_fit_leaves")}


def test_a_class_that_grows_rare_moves_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, estimator = draw_rows(300, 2, TWO_CLASSES), small()
    calls = counting(estimator, monkeypatch)
    state = estimator.fit(rows)
    calls.clear()
    gone = rows.take(rows.targets == 1)
    left = rows.without(gone)
    state = estimator.forget(state, gone, left)
    assert calls[0] == "fit"
    check_same(same_small, estimator, state, left, TWO_CLASSES)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    trees=st.integers(1, 9),
    depth=st.integers(1, 4),
    stage=st.integers(1, 10),
    candidates=st.integers(1, 3),
    steps=st.sampled_from([4, 5, 16]),
    gone=st.frozensets(st.integers(0, 59), min_size=1, max_size=6),
)
def test_all_settings_keep_the_law(
    trees: int, depth: int, stage: int, candidates: int, steps: int, gone: frozenset[int]
) -> None:
    options = ExactBoostingOptions(
        trees=trees, depth=depth, stage=stage, features=2, candidates=candidates, steps=steps
    )
    rows, estimator = draw_rows(60, 3), small(SHAPE, options)
    left = rows.take(~mask_of(gone, rows))
    state = estimator.forget(estimator.fit(rows), rows.take(mask_of(gone, rows)), left)
    check_same(small_with(options), estimator, state, left)
    state = estimator.add(state, rows.take(mask_of(gone, rows)), rows)
    check_same(small_with(options), estimator, state, rows)


def test_rows_of_several_blocks_keep_the_law() -> None:
    rows = draw_rows(BLOCK + 500, 4, TWO_CLASSES)
    options = ExactBoostingOptions(trees=4, depth=3, stage=2, features=2, candidates=2)
    estimator = small(TWO_CLASSES, options)
    gone = rows.take(mask_of([5, BLOCK + 10], rows))
    left = rows.without(gone)
    state = estimator.forget(estimator.fit(rows), gone, left)
    check_same(small_with(options), estimator, state, left, TWO_CLASSES)


@pytest.mark.parametrize("block", [7, 64])
def test_the_size_of_blocks_makes_no_difference(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = draw_rows(300, 5)
    expected = small(SHAPE).save(small(SHAPE).fit(rows))
    for module in ("boosting_sums", "boosting_growth"):
        monkeypatch.setattr(f"unlearn.stages.estimators.row_sets.{module}.BLOCK", block)
    assert dict(small(SHAPE).save(small(SHAPE).fit(rows))) == dict(expected)


def test_equal_rows_with_other_ids_go_one_at_a_time() -> None:
    codes = np.full((40, SHAPE.features), 3, np.uint16)
    rows = as_rows(np.arange(40), codes, np.arange(40) % 2)
    estimator = small()
    left = rows.take(~mask_of([7], rows))
    state = estimator.forget(estimator.fit(rows), rows.take(mask_of([7], rows)), left)
    check_same(same_small, estimator, state, left, TWO_CLASSES)


def learnable(count: int, first: int = 0) -> RowSet:
    """Return rows whose class follows from a number, a category and a missing value."""
    random = np.random.default_rng(first)
    codes = np.empty((count, 4), np.uint16)
    codes[:, :3] = random.integers(1, BINS + 1, (count, 3))
    codes[:, 3] = random.integers(0, 6, count)
    codes[random.random(count) < 0.3, 1] = 0
    targets = (codes[:, 0] > 3000) | (codes[:, 3] == 4) & (codes[:, 1] == 0)
    return as_rows(np.arange(first, first + count), codes, targets.astype(np.int64))


def test_it_learns_numbers_categories_and_missing_values() -> None:
    estimator = ExactBoosting(KEY, TWO_CLASSES, ExactBoostingOptions(trees=60))
    model = estimator.predictor(estimator.model(estimator.fit(learnable(3000))))
    unseen = learnable(1000, first=5000)
    answers = model.probabilities(unseen.codes)
    assert np.allclose(answers.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (answers.argmax(axis=1) == unseen.targets).mean() > 0.97
    # The third feature says nothing of the class.
    importances = model.importances()
    assert importances.sum() == pytest.approx(1)
    assert 3 * importances[2] < importances[[0, 1, 3]].min()


def test_more_classes_have_a_model_each() -> None:
    rows = learnable(2000)
    targets = np.where(rows.codes[:, 3] == 2, 2, rows.targets)
    rows = as_rows(np.arange(2000), rows.codes, targets)
    estimator = ExactBoosting(KEY, SHAPE, ExactBoostingOptions(trees=40))
    state = estimator.fit(rows)
    assert len(state.classes) == 3
    model = estimator.predictor(estimator.model(state))
    answers = model.probabilities(rows.codes)
    assert np.allclose(answers.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (answers.argmax(axis=1) == rows.targets).mean() > 0.97


def test_one_class_alone_is_certain() -> None:
    shape = Shape(SHAPE.sizes, SHAPE.categorical, 1)
    rows = draw_rows(10, 7)
    rows = as_rows(np.arange(10), rows.codes, np.zeros(10, np.int64))
    estimator = small(shape)
    model = estimator.predictor(estimator.model(estimator.fit(rows)))
    assert (model.probabilities(rows.codes) == 1).all()


def test_a_model_of_other_settings_is_refused() -> None:
    rows = draw_rows(50, 8, TWO_CLASSES)
    estimator = small()
    state = estimator.fit(rows)
    other = small(TWO_CLASSES, SMALL.model_copy(update={"trees": 13}))
    with pytest.raises(InputError):
        other.predictor(estimator.model(state))
    with pytest.raises(InputError):
        other.load(estimator.save(state))


def test_a_state_that_chooses_no_candidate_is_refused() -> None:
    estimator = small()
    state = estimator.fit(draw_rows(50, 9, TWO_CLASSES))
    state.classes[0].structure.choices[0, 0] = 999
    with pytest.raises(InputError):
        estimator.load(estimator.save(state))


def test_pairs_are_the_sums_of_both_derivatives() -> None:
    random = np.random.default_rng(0)
    table = derivative_table(16, 400)
    index, groups = random.integers(0, len(table), 5000), random.integers(0, 5, 5000)
    firsts, seconds = both(sums_by(groups.astype(np.uint8), table[index], 5))
    pairs = [both(pairs_of_blocks(table[[at]])) for at in index]
    for group in range(5):
        own = [pair for pair, number in zip(pairs, groups, strict=True) if number == group]
        assert firsts[group] == sum(int(first[0]) for first, _ in own)
        assert seconds[group] == sum(int(second[0]) for _, second in own)


def test_derivatives_are_those_of_the_logistic_loss() -> None:
    reach, steps = 40 * 16, 16
    scores = np.arange(-reach, reach + 1)
    shares = 1 / (1 + np.exp(-scores / steps))
    firsts, seconds = both(pairs_of_blocks(derivative_table(steps, reach)))
    for label, part in enumerate((slice(0, len(scores)), slice(len(scores), None))):
        assert np.abs(firsts[part] / UNIT - (shares - label)).max() < 0.51 / UNIT
        assert np.abs(seconds[part] / UNIT - shares * (1 - shares)).max() < 1.01 / UNIT
    assert seconds.min() == 1
    assert np.allclose(probabilities(scores, steps), shares, rtol=1e-12, atol=1e-12)


def test_the_start_is_the_log_odds_rounded_by_dither() -> None:
    assert logistic(0, 1) == Decimal("0.5")
    for dither in (0.0, 0.25, 0.999):
        bounds = start_bounds(dither)
        for counts in ([0, 0], [10, 10], [70, 30], [5, 900], [0, 10**6]):
            odds = np.log((counts[1] + 1) / (counts[0] + 1)) * 2
            expected = np.clip(np.floor(odds + dither), -16, 15)
            assert first_score(np.array(counts), bounds) == expected


def test_more_rows_than_sums_hold_are_refused() -> None:
    check_rows(2**23)
    with pytest.raises(SumsTooLargeError):
        check_rows(2**23 + 1)


def test_cuts_are_between_codes_and_follow_from_the_key_alone() -> None:
    shape = Shape((BINS + 1, 3, 300), (False, False, True), 2)
    draws = BoostingDraws(KEY, shape, ExactBoostingOptions(trees=200))
    cuts = draws.cuts(np.zeros(draws.common.shape, bool))
    assert cuts[0, 0].min() >= 1
    assert cuts[0, 0].max() < BINS
    # Both ends are cut finely, where features with long tails have their values.
    assert (cuts[0, 0] < 40).sum() > 10
    assert (cuts[0, 0] > BINS - 40).sum() > 10
    assert set(cuts[0, 1]) == {1}
    assert cuts.shape == (10, 3, 250)
    assert len({own.tobytes() for own in cuts}) == 10
    codes = np.array([[0, 1, 0], [5, 2, 299], [BINS, 2, 255], [1, 1, 256]], np.uint16)
    own = draws.narrow(codes.T, cuts[0])
    assert own[0, 0] == 0 < own[0, 3] <= own[0, 1] < own[0, 2]
    assert list(own[1]) == [1, 251, 251, 1]
    assert list(own[2]) == [0, 1 + 298 % 255, 255, 1 + 255 % 255]


def test_candidates_are_cuts_categories_and_sets_of_categories() -> None:
    shape = Shape((BINS + 1, 12), (False, True), 2)
    draws = BoostingDraws(KEY, shape, ExactBoostingOptions(trees=20, features=2, candidates=8))
    splits = draws.candidates
    every = np.arange(252, dtype=np.uint8)[:, None, None, None]
    left = every * splits.factors - splits.shifts <= splits.widths
    of_number = left[:, splits.features == 0]
    # Above a cut all go right; missing values go either way.
    assert (np.diff(of_number[1:].astype(int), axis=0) <= 0).all()
    assert of_number[1].all()
    assert not of_number[251].any()
    assert 0.4 < of_number[0].mean() < 0.6
    of_category = left[:12, splits.features == 1].sum(axis=0)
    assert (of_category == 1).mean() > 0.4
    assert ((of_category > 1) & (of_category < 12)).mean() > 0.4


def test_few_and_many_rows_have_the_same_narrow_codes() -> None:
    draws = BoostingDraws(KEY, SHAPE, ExactBoostingOptions())
    columns = np.ascontiguousarray(draw_rows(6000, 10).codes.T)
    cuts = draws.cuts(np.zeros(draws.common.shape, bool))[3]
    many = draws.narrow(columns, cuts)
    few = [draws.narrow(columns[:, at : at + 7], cuts) for at in range(0, 6000, 7)]
    assert np.array_equal(np.concatenate(few, axis=1), many)
