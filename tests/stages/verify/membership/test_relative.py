"""The relative test: its statistic by hand, its p-values by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.relative import FLIPS, nearer, relation
from unlearn.stages.verify_report.methods import Finding


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def kernel(one: float, other: float, width: float) -> float:
    return float(
        np.mean([np.exp(-(((one - other) / width) ** 2) / (2 * w**2)) for w in (0.5, 1.0, 2.0)])
    )


def discrepancy(one: Floats, other: Floats, persons: Ints, width: float) -> float:
    """Return the unbiased MMD2 by its definition, over pairs of rows of different persons."""
    pairs = [(i, j) for i in range(len(one)) for j in range(len(one)) if persons[i] != persons[j]]
    terms = [
        kernel(one[i], one[j], width)
        + kernel(other[i], other[j], width)
        - kernel(one[i], other[j], width)
        - kernel(one[j], other[i], width)
        for i, j in pairs
    ]
    return float(np.mean(terms))


@given(st.integers(0, 10**6), st.booleans())
def test_the_discrepancies_are_those_of_the_definition(seed: int, alone: bool) -> None:
    draw = rng(seed)
    persons = np.arange(8) if alone else np.array([0, 0, 1, 2, 2, 2, 3, 4])
    anchor, one, other = (draw.normal(shift, 1, 8) for shift in (0.0, 0.5, 3.0))
    found = nearer(anchor, one, other, persons, draw, 1.5)

    for value, sample in ((found.to_one, one), (found.to_other, other)):
        squared = discrepancy(anchor, sample, persons, 1.5)
        assert value == pytest.approx(np.sqrt(max(squared, 0)), abs=1e-9)


@given(st.integers(0, 10**6))
def test_exchanging_the_samples_exchanges_the_answers(seed: int) -> None:
    draw = rng(seed)
    anchor, one, other = draw.normal(size=(3, 12))
    persons = np.arange(12)
    found = nearer(anchor, one, other, persons, rng(1), 1.0)
    turned = nearer(anchor, other, one, persons, rng(1), 1.0)

    assert (found.to_one, found.to_other) == pytest.approx((turned.to_other, turned.to_one))
    # Each p-value counts the flips on one side, and both count those that are equal to the value.
    assert found.p_value + found.p_value_other >= 1
    assert found.p_value == pytest.approx(turned.p_value_other, abs=0.06)


def test_the_p_value_is_the_share_of_flips_by_hand() -> None:
    """With three rows there are eight flips: the p-value is near a multiple of an eighth."""
    anchor, one, other = np.zeros(3), np.array([0.1, -0.2, 0.3]), np.array([5.0, 6.0, 7.0])
    persons = np.arange(3)
    found = nearer(anchor, one, other, persons, rng(), 3.0)
    differences = []
    for flip in np.ndindex(2, 2, 2):
        swapped = np.array(flip, dtype=bool)
        near, far = np.where(swapped, other, one), np.where(swapped, one, other)
        differences.append(
            discrepancy(anchor, far, persons, 3.0) - discrepancy(anchor, near, persons, 3.0)
        )
    share = np.mean(np.array(differences) >= differences[0] - 1e-12)

    assert share == pytest.approx(1 / 8)
    assert found.p_value == pytest.approx(share, abs=4 * np.sqrt(share / FLIPS))


@pytest.mark.parametrize("anchor_like_both", [True, False])
def test_p_values_are_valid_where_nothing_can_be_told(anchor_like_both: bool) -> None:
    draw = rng(7)
    low = high = 0
    runs = 400
    for _ in range(runs):
        hardness = draw.normal(0, 2, 20)
        one, other = (hardness + draw.normal(0, 1, 20) for _ in range(2))
        anchor = hardness + draw.normal(0 if anchor_like_both else 4, 1, 20)
        found = nearer(anchor, one, other, np.arange(20), draw, 2.0)
        low += found.p_value <= 0.05
        high += found.p_value_other <= 0.05

    # 5 % of 400 are 20, and four standard errors are 17.
    assert low <= 37
    assert high <= 37


def test_p_values_are_valid_where_rows_of_a_person_are_alike() -> None:
    draw = rng(8)
    persons = np.repeat(np.arange(12), 5)
    low = 0
    for _ in range(300):
        one, other = (draw.normal(0, 2, 12)[persons] + draw.normal(0, 0.1, 60) for _ in range(2))
        low += nearer(draw.normal(0, 2, 60), one, other, persons, draw, 2.0).p_value <= 0.05

    assert low <= 30


@pytest.mark.parametrize(
    ("model", "finding"),
    [(-8.0, "retrained"), (5.0, "original"), (-60.0, "changed"), (60.0, "original")],
)
def test_a_model_that_forgot_is_told_from_one_that_only_changed(
    model: float, finding: Finding
) -> None:
    draw = rng(3)
    answers = np.array([shift + draw.normal(0, 2, 40) for shift in (model, -9.0, 6.0)])
    found = relation(answers, np.arange(40), draw)

    assert found is not None
    assert found.finding == finding
    assert found.rows == 40


def test_the_original_itself_is_at_no_distance_from_itself() -> None:
    draw = rng(4)
    original, retrained = draw.normal(5, 1, 30), draw.normal(-5, 1, 30)
    found = relation(np.array([original, retrained, original]), np.arange(30), draw)

    assert found is not None
    assert found.model.to_other == pytest.approx(0, abs=1e-7)
    assert found.model.p_value_other < 0.01
    assert found.retrained.p_value == found.retrained.p_value_other == 1


def test_there_is_no_answer_without_two_persons_or_without_numbers() -> None:
    answers = rng().normal(size=(3, 5))

    assert relation(answers, np.zeros(5, dtype=np.int64), rng()) is None
    answers[1, 2] = np.nan
    assert relation(answers, np.arange(5), rng()) is None


def test_equal_answers_everywhere_tell_nothing() -> None:
    same = np.full(10, 3.0)
    found = relation(np.array([same, same, same]), np.arange(10), rng())

    assert found is not None
    assert found.model.p_value == found.model.p_value_other == 1
    assert found.finding == "unclear"
