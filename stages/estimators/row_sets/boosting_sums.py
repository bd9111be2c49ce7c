"""Sums of gradients in integers, and the curve that gradients are read from.

The derivatives of the loss are integers in units of 1 / UNIT. A pair of sums is one integer: the
first derivatives' sum times a power of two, plus that of the second derivatives, which are
positive. Pairs are added and subtracted as one number. In float64, where NumPy adds fastest, they
are less far apart, and blocks of rows are so small that no sum is rounded; so neither the order of
rows nor the processor makes a difference.
"""

from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.integer_sums import MORE_SHARDS, SumsTooLargeError

Pairs = npt.NDArray[np.int64]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: First and second derivatives are multiples of 1 / UNIT.
UNIT = 256

#: Rows whose sums float64 holds: see `Layout`.
BLOCK = 2**17

#: The largest number of rows whose pairs are below 2**63.
_MOST_ROWS = 2**23


@dataclass(frozen=True)
class Layout:
    """Where the two sums of a pair are in one number, and what they mean.

    Parameters
    ----------
    apart, apart_in_blocks
        How many bits they are apart: in int64, and in float64.
    second
        A second derivative of 1 in the pair, in units of 1 / UNIT.
    farthest
        The farthest value of a leaf, in units of log-odds or of the target's scale.
    """

    apart: int
    apart_in_blocks: int
    second: int
    farthest: int


#: Derivatives of both kinds are at most UNIT, so a block is below UNIT * 2**26 * 2**17 = 2**51.
OF_CLASSES = Layout(31, 26, second=1, farthest=2)

#: First derivatives are at most 2**15, see `SquaredLoss`, and second ones are 1. So a block is
#: below 2**15 * 2**18 * 2**17 = 2**50, and all rows are below 2**15 * 2**24 * 2**23 = 2**62.
OF_NUMBERS = Layout(24, 18, second=UNIT, farthest=128)

#: The farthest start, in halves, and the units of the shares that decide it.
_HALVES, _SCALE = 15, 2**40

#: Log-odds beyond which probabilities no longer differ in any digit that is used.
_FARTHEST = 30

#: Enough digits that the last one never decides a rounding.
_DIGITS = Context(prec=40)


def check_rows(count: int) -> None:
    """Raise SumsTooLargeError if there are too many rows for pairs of sums."""
    if count > _MOST_ROWS:
        raise SumsTooLargeError(
            f"exact_boosting takes at most {_MOST_ROWS:,} rows in a model, not {count:,}",
            MORE_SHARDS,
        )


def logistic(numerator: float, denominator: int) -> Decimal:
    """Return the probability for log-odds, without the rounding of a processor."""
    odds = _DIGITS.exp(_DIGITS.divide(Decimal(numerator), Decimal(denominator)))
    return _DIGITS.divide(odds, _DIGITS.add(odds, Decimal(1)))


@lru_cache(maxsize=8)
def probability_table(steps: int) -> Floats:
    """Return the probability for each score from -30 to 30 in log-odds, in steps of 1 / steps."""
    reach = _FARTHEST * steps
    return np.array([float(logistic(score, steps)) for score in range(-reach, reach + 1)])


def probabilities(scores: Integers, steps: int) -> Floats:
    """Return probabilities for scores in steps of 1 / steps."""
    reach = _FARTHEST * steps
    found: Floats = probability_table(steps)[np.clip(scores, -reach, reach) + reach]
    return found


@lru_cache(maxsize=8)
def derivative_table(steps: int, reach: int) -> Floats:
    """Return pairs of derivatives for blocks, shape (2 * (2 * reach + 1),).

    The first half is for rows that are not of the class, the second for those that are, and each
    has the scores from -reach to reach. See `score_index`.
    """
    scores = np.arange(-reach, reach + 1)
    shares = np.rint(probabilities(scores, steps) * UNIT)
    seconds = np.maximum(np.rint(shares * (UNIT - shares) / UNIT), 1)
    table: Floats = np.concatenate(
        [first * 2.0**OF_CLASSES.apart_in_blocks + seconds for first in (shares, shares - UNIT)]
    )
    table.flags.writeable = False
    return table


def pairs_of_blocks(sums: Floats, layout: Layout = OF_CLASSES) -> Pairs:
    """Return pairs from sums over a block of rows in float64."""
    whole = sums.astype(np.int64)
    firsts = whole >> layout.apart_in_blocks
    found: Pairs = (firsts << layout.apart) + (whole & (2**layout.apart_in_blocks - 1))
    return found


def both(pairs: Pairs, layout: Layout = OF_CLASSES) -> tuple[Floats, Floats]:
    """Return the two sums of pairs, in units of 1 / UNIT."""
    seconds = (pairs & (2**layout.apart - 1)) * layout.second
    return (pairs >> layout.apart).astype(np.float64), seconds.astype(np.float64)


def sums_by(
    numbers: npt.NDArray[np.uint8], weights: Floats, size: int, layout: Layout = OF_CLASSES
) -> Pairs:
    """Return the sum of each group of rows.

    Parameters
    ----------
    numbers
        The group of each row, below `size`.
    weights
        Pairs for blocks, shape (rows,).
    size
        Number of groups.
    layout
        Of the pairs.
    """
    found = np.zeros(size, np.int64)
    for first in range(0, len(numbers), BLOCK):
        part = slice(first, first + BLOCK)
        sums = np.bincount(numbers[part], weights[part], size).astype(np.float64)
        found += pairs_of_blocks(sums, layout)
    return found


def purity(pairs: Pairs, smoothing: float, layout: Layout = OF_CLASSES) -> Integers:
    """Return how much the loss of groups falls with the best value of each, in units of 1 / UNIT.

    It is a whole number, so that sums of it are the same in any order. Each operation before it is
    rounded as IEEE 754 says, on every processor.
    """
    firsts, seconds = both(pairs, layout)
    # In place: to get memory takes longer than to compute.
    firsts *= firsts
    seconds += smoothing * UNIT
    firsts /= seconds
    return np.rint(firsts, out=firsts).astype(np.int64)


def rounded_values(
    pairs: Pairs,
    rate: float,
    steps: int,
    smoothing: float,
    dither: Floats,
    layout: Layout = OF_CLASSES,
) -> Integers:
    """Return the values of leaves, rounded up or down by dither, in steps of 1 / steps.

    Parameters
    ----------
    pairs
        Sums of the leaves' rows.
    rate
        Shrinks the values.
    steps
        Different values per unit of log-odds, or of the target's scale.
    smoothing
        Is added to sums of second derivatives.
    dither
        From 0 to below 1; the shape of `pairs`.
    layout
        Of the pairs, and the farthest value.
    """
    firsts, seconds = both(pairs, layout)
    values = np.floor(firsts * (-rate * steps) / (seconds + smoothing * UNIT) + dither)
    farthest = layout.farthest * steps
    return np.clip(values, -farthest, farthest).astype(np.int64)


def start_bounds(dither: float) -> list[int]:
    """Return the shares of the class from which on each start follows, in units of 2**-40.

    Parameters
    ----------
    dither
        Rounds the starts up or down.
    """
    return [int(logistic(half - dither, 2) * _SCALE) for half in range(-_HALVES, _HALVES + 1)]


def first_score(counts: Integers, bounds: list[int]) -> int:
    """Return the log-odds of the class, in halves, that all rows start from.

    Parameters
    ----------
    counts
        Rows that are not of the class, and rows that are.
    bounds
        Where it is rounded up; see `start_bounds`.
    """
    others, own = (int(count) + 1 for count in counts)
    return sum(own * _SCALE >= bound * (own + others) for bound in bounds) - _HALVES - 1
