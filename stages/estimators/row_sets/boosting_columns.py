"""Rows as boosting reads them: feature by feature, in narrow codes."""

from functools import cached_property

import numpy as np
from unlearn.stages.estimators.row_sets.boosting_draws import BoostingDraws, Narrow
from unlearn.stages.estimators.row_sets.boosting_state import ClassRows
from unlearn.stages.estimators.row_sets.boosting_sums import Integers
from unlearn.stages.estimators.row_sets.row_set import Codes, RowSet


class Columns:
    """Rows by feature, in 8 bits; those by the cuts that were last asked for are kept.

    Parameters
    ----------
    draws, cuts
        What makes codes narrow.
    rows
        The rows.
    numbers
        Whether numbers are predicted.
    """

    def __init__(self, draws: BoostingDraws, cuts: Codes, rows: RowSet, *, numbers: bool) -> None:
        self._draws, self._cuts, self._rows = draws, cuts, rows
        self._numbers = numbers
        self._last: tuple[int, Narrow] | None = None

    @cached_property
    def _columns(self) -> Codes:
        return np.ascontiguousarray(self._rows.codes.T)

    def codes(self, number: int) -> Narrow:
        """Return narrow codes by one set of cuts."""
        if self._last is None or self._last[0] != number:
            self._last = number, self._draws.narrow(self._columns, self._cuts[number])
        return self._last[1]

    def of_class(self, number: int) -> ClassRows:
        """Return rows as the model of a class reads them; numbers have one model."""
        return ClassRows(self.codes, labels_of(self._rows, number, numbers=self._numbers))


def labels_of(rows: RowSet, number: int, *, numbers: bool) -> Integers:
    """Return whether rows are of a class, as 0 and 1; or the numbers to predict."""
    found = rows.targets if numbers else rows.targets == number
    return found.astype(np.int64)
