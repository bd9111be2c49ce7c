"""Statistics of membership attacks: against scikit-learn and scipy, by hand, and by simulation."""

from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve
from unlearn.stages.verify.membership.calibrated import lira
from unlearn.stages.verify.membership.small_samples import Part, correction
from unlearn.stages.verify.membership.statistics import (
    Interval,
    Scored,
    auc,
    auc_intervals,
    detectable_auc,
    difference_interval,
    roc,
    rows_for,
    share_interval,
)
from unlearn.stages.verify.membership.weights import matching_weights

from benchmarks.interval_coverage import coverage, coverage_of_difference

Floats = npt.NDArray[np.float64]

#: Few different values, so that ties are common.
coarse = st.integers(0, 4).map(lambda value: value / 4)
values = st.lists(coarse | st.floats(0, 1), min_size=1, max_size=40).map(np.array)


def alike(scores: Floats) -> Scored:
    """Return scores of rows that count alike, each a person of its own."""
    return Scored(scores, np.ones(len(scores)), np.arange(len(scores)))


def plain_auc(members: Floats, others: Floats) -> float:
    return auc(members, others, np.ones(len(members)), np.ones(len(others)))


@given(values, values)
def test_the_auc_is_scikit_learns(members: Floats, others: Floats) -> None:
    truth = np.repeat([1, 0], [len(members), len(others)])

    assert plain_auc(members, others) == pytest.approx(
        roc_auc_score(truth, np.concatenate([members, others])), abs=1e-12
    )


@given(values, values, st.data())
def test_with_weights_it_is_scikit_learns_too(
    members: Floats, others: Floats, data: st.DataObject
) -> None:
    size = len(members) + len(others)
    drawn = st.lists(st.integers(0, 5), min_size=size, max_size=size)
    weights = np.array(data.draw(drawn), dtype=float)
    mine, theirs = weights[: len(members)], weights[len(members) :]
    assume(mine.sum() > 0 and theirs.sum() > 0)
    truth = np.repeat([1, 0], [len(members), len(others)])
    together = np.concatenate([members, others])

    assert auc(members, others, mine, theirs) == pytest.approx(
        roc_auc_score(truth, together, sample_weight=weights), abs=1e-12
    )


@given(values, values)
def test_swapping_the_two_turns_it_round(members: Floats, others: Floats) -> None:
    assert plain_auc(others, members) == pytest.approx(1 - plain_auc(members, others), abs=1e-12)


@given(values, values)
def test_only_the_order_of_scores_counts(members: Floats, others: Floats) -> None:
    # By a power of two: an exact map, which makes no new ties.
    assert plain_auc(members * 8, others * 8) == plain_auc(members, others)


@given(values, values, st.randoms(use_true_random=False))
def test_rows_may_stand_in_any_order(members: Floats, others: Floats, random: Random) -> None:
    order = random.sample(range(len(members)), len(members))

    assert plain_auc(members[order], others) == pytest.approx(plain_auc(members, others), abs=1e-12)


@given(values, values, st.floats(0, 1))
def test_a_member_that_scores_higher_never_lowers_the_auc(
    members: Floats, others: Floats, by: float
) -> None:
    raised = members.copy()
    raised[0] += by

    assert plain_auc(raised, others) >= plain_auc(members, others) - 1e-12


@given(values, values)
def test_a_row_split_into_two_halves_counts_as_one(members: Floats, others: Floats) -> None:
    halves = np.full(2 * len(members), 0.5)
    found = auc(np.tile(members, 2), others, halves, np.ones(len(others)))

    assert found == pytest.approx(plain_auc(members, others), abs=1e-12)


@pytest.mark.parametrize(
    ("members", "others", "expected"),
    [
        ([3, 4], [1, 2], 1.0),
        ([1, 2], [3, 4], 0.0),
        ([1, 1], [1, 1], 0.5),
        ([1, 3], [2], 0.5),
        ([2, 3], [2], 0.75),
        ([5], [5, 5, 5, 4], 0.625),
    ],
)
def test_the_auc_by_hand(members: list[int], others: list[int], expected: float) -> None:
    assert plain_auc(np.array(members, float), np.array(others, float)) == expected


@pytest.mark.parametrize(
    ("rate", "share"), [(0.0, 0.25), (0.24, 0.25), (0.25, 0.75), (0.5, 0.75), (0.75, 1), (1, 1)]
)
def test_the_share_found_at_a_rate_by_hand(rate: float, share: float) -> None:
    # From the top: a member, a tie of two members and one other, one other, a tie, one other.
    curve = roc(alike(np.array([9.0, 7, 7, 3])), alike(np.array([7.0, 5, 3, 1])))

    assert curve.true_positives_at(rate) == share
    assert curve.balanced_accuracy == 0.75


@given(values, values, st.floats(0, 1))
def test_the_curve_is_scikit_learns(members: Floats, others: Floats, rate: float) -> None:
    truth = np.repeat([1, 0], [len(members), len(others)])
    false, true, _ = roc_curve(truth, np.concatenate([members, others]), drop_intermediate=False)
    curve = roc(alike(members), alike(others))

    assert curve.true_positives_at(rate) == pytest.approx(true[false <= rate + 1e-12].max())
    assert curve.balanced_accuracy == pytest.approx(((true + 1 - false) / 2).max())


@pytest.mark.slow
@given(values, values, st.data())
def test_the_curve_rises_to_one_and_has_the_auc_below_it(
    members: Floats, others: Floats, data: st.DataObject
) -> None:
    def weighted(scores: Floats) -> Scored:
        drawn = st.lists(st.integers(0, 5), min_size=len(scores), max_size=len(scores))
        weights = np.array(data.draw(drawn.filter(any)), dtype=float)
        return Scored(scores, weights, np.arange(len(scores)))

    here, there = weighted(members), weighted(others)
    curve = roc(here, there)

    for rates in (curve.false_positives, curve.true_positives):
        assert rates[0] == 0
        assert rates[-1] == pytest.approx(1)
        assert np.all(np.diff(rates) >= 0)
    below = np.trapezoid(curve.true_positives, curve.false_positives)
    assert below == pytest.approx(auc(members, others, here.weights, there.weights), abs=1e-12)
    assert 0.5 <= curve.balanced_accuracy <= 1


def test_of_a_curve_without_members_above_nothing_is_found() -> None:
    curve = roc(alike(np.array([1.0])), alike(np.array([2.0])))

    assert curve.true_positives_at(0.99) == 0
    assert curve.balanced_accuracy == 0.5


@settings(deadline=None)
@given(st.integers(1, 200), st.data())
def test_the_interval_of_a_share_is_the_exact_one(rows: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, rows))
    expected = stats.binomtest(hits, rows).proportion_ci(method="exact")

    assert share_interval(hits / rows, rows) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )


@settings(deadline=None)
@given(st.integers(1, 200), st.floats(1, 10), st.data())
def test_the_interval_of_a_share_holds_it_and_shrinks_with_more_rows(
    rows: int, times: float, data: st.DataObject
) -> None:
    share = data.draw(st.integers(0, rows)) / rows
    low, high = share_interval(share, rows)
    more = share_interval(share, rows * times)

    assert 0 <= low <= share <= high <= 1
    assert low <= more[0] + 1e-9
    assert more[1] <= high + 1e-9


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_detectable_auc_falls_with_more_rows(rows: int, others: int) -> None:
    found = detectable_auc(alike(np.zeros(rows)), alike(np.zeros(others)))

    assert 0.5 < found <= 1
    assert detectable_auc(alike(np.zeros(rows + 1)), alike(np.zeros(others))) <= found


@pytest.mark.parametrize("rows", [100, 1000])
def test_the_detectable_auc_is_detected_four_times_out_of_five(rows: int) -> None:
    draw = np.random.default_rng(1)
    smallest = detectable_auc(alike(np.zeros(rows)), alike(np.zeros(rows)))
    # Normal scores whose AUC is that: the means are sqrt(2) * z(AUC) apart.
    apart = np.sqrt(2) * stats.norm.ppf(smallest)
    found = 0
    for _ in range(400):
        members, others = draw.normal(apart, 1, rows), draw.normal(0, 1, rows)
        found += stats.mannwhitneyu(members, others).pvalue < 0.05

    assert found / 400 == pytest.approx(0.8, abs=0.06)


def test_few_rows_detect_nothing_below_one() -> None:
    assert detectable_auc(alike(np.zeros(1)), alike(np.zeros(1))) == 1.0


def test_half_the_error_takes_four_times_the_rows() -> None:
    assert rows_for(0.1, 50, 0.05) == 200


def test_a_weight_of_two_counts_as_two_rows() -> None:
    twice = Scored(np.array([1.0, 2]), np.array([2.0, 1]), np.arange(2))
    spelt_out = np.array([1.0, 1, 2])
    others = np.array([0.0, 1, 1.5])

    assert auc(twice.scores, others, twice.weights, np.ones(3)) == plain_auc(spelt_out, others)
    assert twice.effective == pytest.approx(9 / 5)


def interval_of(members: Floats, others: Floats) -> Interval:
    (found,) = auc_intervals([(alike(members), alike(others))], np.random.default_rng(0), draws=40)
    return found


@settings(deadline=None)
@given(values, values)
def test_the_narrow_interval_lies_within_the_wide_one(members: Floats, others: Floats) -> None:
    found = interval_of(members, others)

    assert found.value == plain_auc(members, others)
    assert 0 <= found.wide[0] <= found.narrow[0] <= found.narrow[1] <= found.wide[1] <= 1


@settings(deadline=None)
@given(values, values)
def test_scores_with_the_sign_turned_mirror_the_interval(members: Floats, others: Floats) -> None:
    found, mirrored = interval_of(members, others), interval_of(-members, -others)

    assert mirrored.value == pytest.approx(1 - found.value, abs=1e-9)
    for one, other in ((mirrored.wide, found.wide), (mirrored.narrow, found.narrow)):
        assert one == pytest.approx((1 - other[1], 1 - other[0]), abs=1e-6)


@settings(deadline=None)
@given(values, values)
def test_only_the_order_of_scores_counts_for_intervals(members: Floats, others: Floats) -> None:
    assert interval_of(members * 8, others * 8) == interval_of(members, others)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(-1, 1))
def test_equal_scores_are_one_half_without_doubt(rows: int, others: int, score: float) -> None:
    found = interval_of(np.full(rows, score), np.full(others, score))

    assert found == Interval(0.5, (0.5, 0.5), (0.5, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_intervals_cover(shift: float) -> None:
    draw = np.random.default_rng(2)
    truth = float(stats.norm.cdf(shift / np.sqrt(2)))
    covered = narrow = 0
    for _ in range(200):
        members, others = alike(draw.normal(shift, 1, 50)), alike(draw.normal(0, 1, 80))
        (found,) = auc_intervals([(members, others)], draw, draws=300)
        covered += found.wide[0] <= truth <= found.wide[1]
        narrow += found.narrow[0] <= truth <= found.narrow[1]

    assert 0.90 <= covered / 200 <= 0.99
    assert 0.84 <= narrow / 200 <= 0.96
    assert narrow < covered


@pytest.mark.slow
def test_intervals_cover_where_rows_of_a_person_are_alike() -> None:
    draw = np.random.default_rng(3)

    def sample(persons: int) -> Scored:
        person = np.repeat(np.arange(persons), 6)
        return Scored(
            draw.normal(size=persons)[person] + draw.normal(0, 0.2, len(person)),
            np.ones(len(person)),
            person,
        )

    covered = careless = 0
    for _ in range(200):
        members, others = sample(25), sample(25)
        (found,) = auc_intervals([(members, others)], draw, draws=300)
        covered += found.wide[0] <= 0.5 <= found.wide[1]
        rows = alike(members.scores), alike(others.scores)
        (found,) = auc_intervals([rows], draw, draws=300)
        careless += found.wide[0] <= 0.5 <= found.wide[1]

    assert 0.90 <= covered / 200 <= 0.99
    assert careless / 200 < 0.8, "rows drawn one by one would claim far too much"


@pytest.mark.slow
def test_intervals_cover_where_scores_share_reference_models() -> None:
    draw = np.random.default_rng(4)
    rows, models = 60, 8
    covered = 0
    for _ in range(200):
        logits = draw.normal(0, 2, (2 * rows, 1)) + draw.normal(0, 1, (2 * rows, models))
        # One model under attack for each half, with a level of its own in every row's class.
        own = logits[:, 0].copy()
        references, usable = logits[:, 1:], np.ones((2 * rows, models - 1), dtype=bool)

        def scores(
            weights: Floats | None,
            own: Floats = own,
            references: Floats = references,
            usable: npt.NDArray[np.bool_] = usable,
        ) -> tuple[Floats, Floats]:
            found = lira(own, references, usable, weights)
            return found[:rows], found[rows:]

        def rescore(rng: np.random.Generator, scores=scores) -> list[tuple[Floats, Floats]]:  # type: ignore[no-untyped-def]  # bound in the loop
            drawn = rng.multinomial(models - 1, np.full(models - 1, 1 / (models - 1)))
            return [scores(drawn.astype(float))]

        pair = tuple(alike(side) for side in scores(None))
        (found,) = auc_intervals([(pair[0], pair[1])], draw, rescore, draws=200)
        covered += found.wide[0] <= 0.5 <= found.wide[1]

    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize(("members", "others"), [([2.0, 3], [1.0, 0]), ([0.0, 1], [3.0, 2])])
def test_samples_wholly_apart_do_not_make_certainty(
    members: list[float], others: list[float]
) -> None:
    pair = alike(np.array(members)), alike(np.array(others))
    (found,) = auc_intervals([pair], np.random.default_rng(0))

    assert found.value in (0.0, 1.0)
    assert found.wide[1] - found.wide[0] > 0.8


groups = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(
    lambda found: np.array(found, dtype=np.int64)
)


@settings(max_examples=200)
@given(st.integers(1, 60), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_separated_samples_have_an_auc_of_exactly_one(rows: int, others: int, seed: int) -> None:
    """Whatever the weights are: the bound for complete separation depends on it."""
    draw = np.random.default_rng(seed)
    weights, other_weights = draw.lognormal(0, 3, rows), draw.lognormal(0, 3, others)
    high, low = draw.random(rows) + 2, draw.random(others)
    assert auc(high, low, weights, other_weights) == 1
    assert auc(low, high, other_weights, weights) == 0

    # Rows of no weight do not count; those of very little do.
    mixed = np.append(high, -1.0)
    assert auc(mixed, low, np.append(weights, 0.0), other_weights) == 1
    assert auc(mixed, low, np.append(weights, 1e-30), other_weights) < 1
    assert auc(low, mixed, other_weights, np.append(weights, 1e-30)) > 0


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 60), st.integers(5, 300), st.integers(0, 2**32 - 1))
def test_weighted_samples_wholly_apart_do_not_make_certainty(
    rows: int, others: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    one = Scored(draw.random(rows) + 2, draw.random(rows) + 0.1, np.arange(rows))
    other = Scored(draw.random(others), draw.random(others) + 0.1, np.arange(others))
    (found,) = auc_intervals([(one, other)], draw, draws=100)
    assert found.value == 1
    assert found.wide[0] == pytest.approx(0.025 ** (1 / min(one.effective, other.effective)))
    assert found.wide[1] == 1


@given(groups, groups)
def test_matching_gives_the_wanted_shares(
    wanted: npt.NDArray[np.int64], found: npt.NDArray[np.int64]
) -> None:
    weights = matching_weights((wanted,), (found,))
    common = np.intersect1d(wanted, found)
    if len(common) == 0:
        assert weights.sum() == 0
        return

    here = np.array([weights[found == group].sum() for group in common]) / weights.sum()
    there = np.array([np.count_nonzero(wanted == group) for group in common])
    assert here == pytest.approx(there / there.sum())
    assert weights.sum() == pytest.approx(np.count_nonzero(weights))
    assert np.all(weights[~np.isin(found, wanted)] == 0)


def test_two_groupings_are_matched_at_once() -> None:
    draw = np.random.default_rng(5)
    wanted = draw.integers(0, 2, 50), draw.integers(0, 3, 50)
    found = draw.integers(0, 2, 400), draw.integers(0, 3, 400)
    weights = matching_weights(wanted, found)

    for want, have in zip(wanted, found, strict=True):
        expected = np.bincount(want, minlength=3) / 50
        assert np.bincount(have, weights, 3) / weights.sum() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_the_interval_of_a_difference_covers_the_true_one() -> None:
    """Two models score the same rows: what is hard about a row is hard for both."""
    draw = np.random.default_rng(8)
    # Scores are a row's own part, a model's noise, and for forgotten rows what it still knows.
    known = (1.2, 0.4)
    scale = np.hypot(1.0, 0.5) * np.sqrt(2)
    true = stats.norm.cdf(known[0] / scale) - stats.norm.cdf(known[1] / scale)
    covered = 0
    for _ in range(200):
        rows, others = draw.normal(size=50), draw.normal(size=80)
        pairs = [
            (
                alike(rows + shift + draw.normal(scale=0.5, size=50)),
                alike(others + draw.normal(scale=0.5, size=80)),
            )
            for shift in known
        ]
        found = difference_interval(pairs[0], pairs[1], draw, draws=200)
        covered += found.wide[0] <= true <= found.wide[1]
        assert found.wide[0] <= found.narrow[0] <= found.narrow[1] <= found.wide[1]

    assert 0.90 <= covered / 200 <= 0.99


@given(values, values)
def test_a_model_does_not_differ_from_itself(members: Floats, others: Floats) -> None:
    pair = (alike(members), alike(others))
    found = difference_interval(pair, pair, np.random.default_rng(0), draws=20)

    assert found.value == 0
    assert found.wide == found.narrow == (0, 0)


@settings(deadline=None)
@given(values, values, st.data())
def test_two_models_that_change_places_mirror_the_difference(
    members: Floats, others: Floats, data: st.DataObject
) -> None:
    size = len(members) + len(others)
    second = np.array(data.draw(st.lists(coarse, min_size=size, max_size=size)))
    one = (alike(members), alike(others))
    other = (alike(second[: len(members)]), alike(second[len(members) :]))
    there, back = (
        difference_interval(*pairs, np.random.default_rng(0), draws=40)
        for pairs in ((one, other), (other, one))
    )

    assert back.value == pytest.approx(-there.value, abs=1e-12)
    assert back.wide == pytest.approx((-there.wide[1], -there.wide[0]), abs=1e-6)
    assert back.narrow == pytest.approx((-there.narrow[1], -there.narrow[0]), abs=1e-6)


@given(values, values)
def test_the_difference_is_that_of_the_two_aucs(members: Floats, others: Floats) -> None:
    one, other = (alike(members), alike(others)), (alike(-members), alike(others))
    found = difference_interval(one, other, np.random.default_rng(0), draws=2)

    expected = plain_auc(members, others) - plain_auc(-members, others)
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_the_rows_are_drawn_once_for_both_models() -> None:
    """What is hard about the rows cancels: the interval is narrower than that of either AUC."""
    draw = np.random.default_rng(4)
    rows, others = draw.normal(size=60) + 1, draw.normal(size=60)
    one = (alike(rows), alike(others))
    other = (alike(rows + draw.normal(scale=0.05, size=60)), alike(others))
    found = difference_interval(one, other, np.random.default_rng(1), draws=300)
    (single,) = auc_intervals([one], np.random.default_rng(1), draws=300)

    assert found.wide[1] - found.wide[0] < (single.wide[1] - single.wide[0]) / 3


def test_other_reference_models_widen_the_difference() -> None:
    draw = np.random.default_rng(4)
    rows, others = draw.normal(size=60) + 1, draw.normal(size=60)
    pair = (alike(rows), alike(others))

    def rescored(rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
        return [(rows + rng.normal(size=60), others), (rows + rng.normal(size=60), others)]

    fixed = difference_interval(pair, pair, np.random.default_rng(1), draws=100)
    found = difference_interval(pair, pair, np.random.default_rng(1), rescored, draws=100)

    assert max(map(abs, fixed.wide)) == 0
    assert found.wide[0] < 0 < found.wide[1]


def test_the_parts_of_the_variance_are_delongs() -> None:
    """Against the definition of DeLong et al. 1988, with n - 1 in place of n."""
    draw = np.random.default_rng(4)
    one, other = draw.normal(1, 1, 7), draw.normal(0, 1, 9)
    wins = (one[:, None] > other[None, :]).astype(float)
    parts = [
        Part(wins.mean(axis=1), np.ones(7), np.arange(7)),
        Part(wins.mean(axis=0), np.ones(9), np.arange(9)),
    ]
    delong = [wins.mean(axis=1).var(ddof=1) / 7, wins.mean(axis=0).var(ddof=1) / 9]
    found = correction(parts)

    assert [part.variance for part in parts] == pytest.approx(
        [delong[0] * 6 / 7, delong[1] * 8 / 9]
    )
    assert found is not None
    biased = delong[0] * 6 / 7 + delong[1] * 8 / 9
    assert found.factor == pytest.approx(np.sqrt(sum(delong) / biased))
    assert found.freedom == pytest.approx(
        sum(delong) ** 2 / (delong[0] ** 2 / 6 + delong[1] ** 2 / 8)
    )
    wide, narrow = found.half_widths(0.1)
    assert wide == pytest.approx(0.1 * found.factor * stats.t.ppf(0.975, found.freedom))
    assert narrow == pytest.approx(0.1 * found.factor * stats.t.ppf(0.95, found.freedom))


def test_rows_of_one_person_are_one_observation() -> None:
    draw = np.random.default_rng(5)
    of_persons = draw.normal(size=6)
    twice = Part(np.repeat(of_persons, 2), np.ones(12), np.repeat(np.arange(6), 2))
    once = Part(of_persons, np.ones(6), np.arange(6))

    assert twice.count == once.count == 6
    assert twice.variance == pytest.approx(once.variance)


def test_samples_without_variance_are_not_corrected() -> None:
    some = Part(np.arange(9.0), np.ones(9), np.arange(9))
    same = Part(np.ones(5), np.ones(5), np.arange(5))
    single = Part(np.arange(5.0), np.ones(5), np.zeros(5, dtype=np.int64))

    assert correction([same, same]) is None
    assert correction([single, some]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "auc"), [(20, 0.5), (20, 0.8), (200, 0.8)])
def test_intervals_of_few_rows_cover(rows: int, auc: float) -> None:
    """In 300 draws; the standard error is .013."""
    assert 0.92 <= coverage(rows, 100, auc, 300, seed=3) <= 0.985


@pytest.mark.slow
def test_intervals_of_differences_of_few_rows_cover() -> None:
    assert 0.92 <= coverage_of_difference(20, 100, 0.65, 300, seed=3) <= 0.985


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(2, 30))
def test_intervals_of_few_rows_are_within_0_and_1_and_nested(
    seed: int, rows: int, others: int
) -> None:
    draw = np.random.default_rng(seed)
    pair = alike(draw.normal(1, 1, rows)), alike(draw.normal(0, 1, others))
    (found,) = auc_intervals([pair], np.random.default_rng(0), draws=50)

    assert 0 <= found.wide[0] <= found.narrow[0] <= found.value
    assert found.value <= found.narrow[1] <= found.wide[1] <= 1
