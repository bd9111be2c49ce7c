"""Matched pairs and the statistic on them: by hand, and by laws."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.matched import (
    ComparedPairs,
    PairScores,
    RetrainedModels,
    matched_difference,
    retrained_models,
)
from unlearn.stages.verify.membership.matching import (
    CALIPER,
    NEAREST,
    Matching,
    match_pairs,
)
from unlearn.stages.verify.membership.statistics import auc


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def floats(*values: float) -> Floats:
    return np.array(values, dtype=float)


def ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def pairs_of(matching: Matching, row: int) -> list[int]:
    """Return the held-out rows that a forgotten row was matched with."""
    return sorted(matching.others[matching.forgotten == row].tolist())


def test_a_row_is_matched_with_the_nearest_pairs_of_its_own_label() -> None:
    others = np.zeros((8, 2))
    others[:, 0] = [9, 2.0, 2.1, 1.9, 2.2, 1.8, 2.3, -9]
    others[:, 1] = [-9, 8, 8, 8, 8, 8, -5.0, 9]
    found = match_pairs(floats(2.0, -5.1), ints(0, 1), others)

    assert pairs_of(found, 0) == [1, 2, 3, 4, 5]
    assert pairs_of(found, 1) == [6]
    assert (found.harder, found.easier) == (0, 0)


def test_the_caliper_is_a_share_of_the_standard_deviation_of_both_sides() -> None:
    forgotten, others = floats(0, 4), np.array([[0.0, 1], [6, 3]])
    found = match_pairs(forgotten, ints(0, 0), others)

    assert found.caliper == pytest.approx(CALIPER * np.sqrt((4 + 9) / 2))


def test_rows_outside_the_caliper_are_counted_by_their_side() -> None:
    others = np.linspace(-1, 1, 21)[:, None]
    found = match_pairs(floats(-30, 0, 50, 60), ints(0, 0, 0, 0), others)

    assert (found.harder, found.easier, found.rows) == (1, 2, 4)
    assert found.matched.tolist() == [False, True, False, False]


def test_pairs_that_are_equally_near_are_spread_over_the_rows() -> None:
    found = match_pairs(np.zeros(4), np.zeros(4, dtype=np.int64), np.zeros((20, 1)))

    assert sorted(found.others.tolist()) == list(range(20))
    assert len(found.others) == 4 * NEAREST


def alone(targets: Ints, held_out: int) -> ComparedPairs:
    """Return rows of which each is a person's only one."""
    return ComparedPairs(targets, np.arange(len(targets)), np.arange(held_out))


def hand_made() -> tuple[RetrainedModels, PairScores]:
    """Return two forgotten rows with two matches each, and the scores of a model."""
    targets = ints(0, 1)
    logits = PairScores(floats(0, 10), np.array([[0.1, 50], [-0.1, 50], [50, 10.1], [50, 9.9]]))
    model = PairScores(floats(3, 7), np.array([[1.0, 0], [4, 0], [0, 7], [0, 6]]))
    return retrained_models(alone(targets, 4), [logits], [logits]), model


def test_the_statistic_is_the_hand_computed_one() -> None:
    retrained, model = hand_made()
    matching = retrained.matching
    found = matched_difference(model, retrained, rng())

    assert found is not None
    assert (pairs_of(matching, 0), pairs_of(matching, 1)) == ([0, 1], [2, 3])
    # Forgotten rows 3, 7 against pairs 1, 4, 7, 6, each of weight 1/2: 3 is above one of four, 7
    # is above three and equal to one.
    assert found.auc == pytest.approx((1 + 3.5) / 8)
    # Retrained: 0 is above one of four, 10 above three.
    assert found.reference == pytest.approx((1 + 3) / 8)
    assert found.difference.value == pytest.approx(0.5 / 8)


def test_all_pairs_of_a_row_together_weigh_as_much_as_the_row() -> None:
    targets = ints(0, 1)
    logits = PairScores(floats(0, 10), np.array([[0.0, 50], [0, 50], [0, 50], [50, 10]]))
    model = PairScores(floats(5, 5), np.array([[9.0, 0], [9, 0], [9, 0], [0, 1]]))
    retrained = retrained_models(alone(targets, 4), [logits], [logits])
    found = matched_difference(model, retrained, rng())

    assert found is not None
    # Three pairs of weight 1/3 are above both rows, and one pair of weight 1 is below both.
    assert found.auc == pytest.approx(0.5)


def test_without_a_match_there_is_no_number() -> None:
    logits = PairScores(floats(100, 100.1), np.zeros((5, 1)))
    retrained = retrained_models(alone(ints(0, 0), 5), [logits], [logits])
    far = match_pairs(floats(100, 100.1), ints(0, 0), np.linspace(-1, 1, 5)[:, None])

    assert len(far.forgotten) == 0
    assert matched_difference(logits, retrained, rng()) is None


def random_scores(seed: int, rows: int, held_out: int, classes: int) -> PairScores:
    draw = rng(seed)
    return PairScores(draw.normal(size=rows), draw.normal(size=(held_out, classes)))


def some_retrained(seed: int, models: int = 1) -> tuple[RetrainedModels, int, int]:
    draw = rng(seed)
    rows, held_out = int(draw.integers(12, 40)), int(draw.integers(20, 60))
    targets = draw.integers(0, 3, rows)
    hardness = random_scores(seed + 1, rows, held_out, 3)
    logits = [
        PairScores(hardness.forgotten + noise.forgotten, hardness.others + noise.others)
        for noise in (random_scores(seed + 2 + index, rows, held_out, 3) for index in range(models))
    ]
    pairs = ComparedPairs(targets, draw.permutation(rows) // 2, draw.permutation(held_out) // 2)
    return retrained_models(pairs, logits, logits), rows, held_out


#: Strictly increasing functions that keep apart what is apart in floating point.
MONOTONE: list[Callable[[Floats], Floats]] = [
    lambda values: 3 * values - 7,
    np.exp,
    np.arctan,
    lambda values: values**3 + values,
    lambda values: -np.log1p(np.exp(-values)),
]


@given(st.integers(0, 10**6), st.sampled_from(range(len(MONOTONE))), st.integers(1, 3))
def test_a_monotone_change_of_the_models_score_changes_nothing(
    seed: int, which: int, models: int
) -> None:
    retrained, rows, held_out = some_retrained(seed, models)
    model = random_scores(seed + 50, rows, held_out, 3)
    change = MONOTONE[which]
    changed = PairScores(change(model.forgotten), change(model.others))

    before = matched_difference(model, retrained, rng(seed), draws=20)
    after = matched_difference(changed, retrained, rng(seed), draws=20)

    assert before is not None
    assert before == after


@given(st.integers(0, 10**6))
def test_the_retrained_model_itself_is_at_zero(seed: int) -> None:
    retrained, _, _ = some_retrained(seed)
    found = matched_difference(retrained.scores[0], retrained, rng(seed), draws=20)

    assert found is not None
    assert found.difference.value == 0
    assert found.difference.wide == (0, 0)


@given(st.integers(0, 10**6))
def test_turning_the_score_around_mirrors_the_auc(seed: int) -> None:
    retrained, rows, held_out = some_retrained(seed)
    model = random_scores(seed + 50, rows, held_out, 3)
    turned = PairScores(-model.forgotten, -model.others)
    one, other = (
        matched_difference(each, retrained, rng(seed), draws=2) for each in (model, turned)
    )

    assert one is not None
    assert other is not None
    assert one.auc + other.auc == pytest.approx(1)


@given(st.integers(0, 10**6))
def test_the_auc_is_that_of_the_weighted_samples(seed: int) -> None:
    retrained, rows, held_out = some_retrained(seed)
    model = random_scores(seed + 50, rows, held_out, 3)
    matching = retrained.matching
    counts = np.bincount(matching.forgotten, minlength=rows)
    found = matched_difference(model, retrained, rng(seed), draws=2)

    expected = auc(
        model.forgotten,
        model.others[matching.others, retrained.rows.targets[matching.forgotten]],
        (counts > 0).astype(float),
        1 / counts[matching.forgotten],
    )
    assert found is not None
    assert found.auc == pytest.approx(expected)


def test_rows_of_one_person_widen_the_interval() -> None:
    draw = rng(3)
    persons = np.repeat(np.arange(10), 6)
    targets = np.zeros(60, dtype=np.int64)
    hardness = draw.normal(size=60)
    logits = PairScores(hardness, draw.normal(size=(300, 1)))
    effect = draw.normal(size=10)[persons]
    model = PairScores(hardness / 5 + effect, logits.others / 5)

    def width(of: npt.NDArray[np.int64]) -> float:
        rows = ComparedPairs(targets, of, np.arange(300))
        retrained = retrained_models(rows, [logits], [logits])
        found = matched_difference(model, retrained, rng())
        assert found is not None
        return found.difference.wide[1] - found.difference.wide[0]

    assert width(persons) > 1.5 * width(np.arange(60))


def test_what_retrained_models_differ_by_is_subtracted_and_widens_the_interval() -> None:
    several, rows, held_out = some_retrained(11, models=4)
    model = random_scores(99, rows, held_out, 3)
    found = matched_difference(model, several, rng())

    assert found is not None
    assert len(several.null) == 4
    assert several.spread == pytest.approx(np.std(several.null, ddof=1))
    plain = found.auc - found.reference
    assert found.difference.value == pytest.approx(plain - np.mean(several.null))
    low, high = found.difference.wide
    assert several.spread is not None
    # The spread among four, for one more model: t of at most the joint degrees of freedom.
    assert (high - low) / 2 > 1.96 * several.spread * np.sqrt(1 + 1 / 4)


def test_one_left_out_is_compared_with_the_others_alone() -> None:
    several, _, _ = some_retrained(5, models=3)
    rest = retrained_models(several.rows, several.scores[1:], several.scores[1:])
    found = matched_difference(several.scores[0], rest, rng(), draws=2)

    assert found is not None
    assert several.null[0] == pytest.approx(found.auc - found.reference)
