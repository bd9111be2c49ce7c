"""The losses of boosting: where scores start from, and the derivatives of rows, in integers."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.boosting_sums import (
    OF_CLASSES,
    OF_NUMBERS,
    Floats,
    Integers,
    Layout,
    derivative_table,
    first_score,
    start_bounds,
)
from unlearn.stages.estimators.row_sets.target_grid import STEPS

#: Log-odds that all rows may start from, at most.
_FARTHEST_START = 8

#: First derivatives of numbers, in steps of the target's grid, at most: 128 scales.
_FARTHEST_ERROR = 2**15 - 1


class Loss(Protocol):
    """The loss of one model. Scores are in steps of leaf values, of which a unit has `steps`."""

    #: How pairs of derivatives are one number.
    layout: Layout

    def count(self, labels: Integers) -> Integers:
        """Return what the start of all rows follows from, shape (2,): it adds up over rows."""

    def start(self, counts: Integers) -> int:
        """Return the score that all rows start from."""

    def begin(self, labels: Integers, start: int) -> Integers:
        """Return an index of each row at the start; what its score rises by is added to it."""

    def weights(self, index: Integers, labels: Integers) -> Floats:
        """Return pairs of derivatives for blocks, of the shape of both."""


class LogisticLoss:
    """The logistic loss of a class against the others; labels are 0 and 1.

    Parameters
    ----------
    options
        The settings.
    dither
        Rounds the start up or down.
    """

    layout = OF_CLASSES

    def __init__(self, options: ExactBoostingOptions, dither: float) -> None:
        self._steps = options.steps
        self._start_bounds = start_bounds(dither)
        # The farthest score is that of a row with the largest value in every tree.
        most = max(options.trees, -(-options.trees // options.stage))
        reach = (OF_CLASSES.farthest * most + _FARTHEST_START) * options.steps
        self._zero = reach
        self._table = derivative_table(options.steps, reach)

    def count(self, labels: Integers) -> Integers:
        """Return the rows that are not of the class, and those that are."""
        return np.bincount(labels, minlength=2)

    def start(self, counts: Integers) -> int:
        """Return the rounded log-odds of the class."""
        return first_score(counts, self._start_bounds) * self._steps // 2

    def begin(self, labels: Integers, start: int) -> Integers:
        """Return the place of each row's derivatives in the table."""
        found: Integers = labels * (2 * self._zero + 1) + (self._zero + start)
        return found

    def weights(self, index: Integers, labels: Integers) -> Floats:
        """Return pairs from the table."""
        del labels
        return np.take(self._table, index)


class SquaredLoss:
    """Half of the squared error; labels are numbers on the target's grid.

    The first derivative is the error, in steps of the grid, and the second is 1. Errors of more
    than 128 scales count as 128, as in Huber's loss, so that sums stay exact.

    Parameters
    ----------
    options
        The settings.
    dither
        Rounds the start up or down.
    """

    layout = OF_NUMBERS

    def __init__(self, options: ExactBoostingOptions, dither: float) -> None:
        self._steps, self._dither = options.steps, dither

    def count(self, labels: Integers) -> Integers:
        """Return the number of rows, and the sum of their numbers."""
        return np.array([len(labels), labels.sum()], np.int64)

    def start(self, counts: Integers) -> int:
        """Return the mean, rounded to half a scale: a row that goes hardly ever moves it."""
        rows, total = (int(count) for count in counts)
        halves = np.floor(2 * total / (STEPS * max(1, rows)) + self._dither)
        return int(halves) * self._steps // 2

    def begin(self, labels: Integers, start: int) -> Integers:
        """Return the score of each row."""
        return np.full(len(labels), start, np.int64)

    def weights(self, index: Integers, labels: Integers) -> Floats:
        """Return the rounded error of each row, and 1."""
        errors = np.rint(index * (STEPS / self._steps) - labels)
        np.clip(errors, -_FARTHEST_ERROR, _FARTHEST_ERROR, out=errors)
        found: npt.NDArray[np.float64] = errors * 2.0**OF_NUMBERS.apart_in_blocks + 1
        return found
