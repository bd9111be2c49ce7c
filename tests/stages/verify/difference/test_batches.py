"""One row out of a linear model can be told by who has both models; a batch hides its rows.

The models, attacks and intervals are those of `benchmarks/batches.py`, which measures the same on
digits.
"""

import numpy as np
import pytest

from benchmarks.batches import Leak, Table, measure
from tests.conftest import at_chance

#: Rows that go in all batches of a size.
WENT = 192
SIZES = (1, 4, 16)


def table() -> Table:
    """Return rows of three classes that overlap, so that no model separates them."""
    draw = np.random.default_rng(0)
    pull = draw.normal(size=(8, 3))
    inputs = draw.normal(size=(620, 8))
    targets = (inputs @ pull + draw.gumbel(size=(620, 3))).argmax(axis=1)
    return Table(inputs[:120], targets[:120], inputs[120:], targets[120:])


@pytest.fixture(scope="module")
def leaks() -> dict[int, Leak]:
    return {size: measure(table(), size, WENT // size) for size in SIZES}


def test_one_row_that_went_is_found_far_above_chance(leaks: dict[int, Leak]) -> None:
    found = leaks[1]

    assert found.answers.wide[0] > 0.6
    assert found.found_interval[0] > 0.01, "more than the share of false alarms"
    assert found.weights.wide[0] > 0.95
    assert found.cosine > 0.9


def test_the_larger_the_batch_the_less_is_told_about_each_row(leaks: dict[int, Leak]) -> None:
    one, some, many = (leaks[size] for size in SIZES)

    assert one.weights.wide[0] > some.weights.wide[1], "the intervals do not overlap"
    assert some.weights.value > many.weights.value
    assert one.answers.wide[0] > many.answers.wide[1]
    cosines = [leaks[size].cosine for size in SIZES]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[-1] < 0.5


def test_rows_that_stayed_are_at_chance(leaks: dict[int, Leak]) -> None:
    """The attack is a fair one: rows of the same models that did not go are not found."""
    for leak in leaks.values():
        assert at_chance(leak.stayed.wide)
        assert at_chance(leak.stayed_weights.wide)
