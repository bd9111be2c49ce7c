"""Models that follow from sums of integers over rows: the state is the sums.

A row that goes is subtracted, and one that comes is added. None of the other rows is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from unlearn.stages.estimators.row_sets.base import (
    STATE_FILE,
    Files,
    Shape,
    load_tensors,
    save_tensors,
)
from unlearn.stages.estimators.row_sets.integer_sums import Integers, check_bounds
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    RowSet,
    check_split,
    check_union,
    set_nonce,
)
from unlearn.stages.rows.tokens import Key

#: Arrays of sums by name.
Sums = Mapping[str, Integers]


@dataclass(frozen=True)
class SumsState:
    """Sums over a set of rows.

    Parameters
    ----------
    digests
        Sorted digests of the rows, shape (rows, 16).
    sums
        The sums.
    """

    digests: Bytes
    sums: Sums


class SumsEstimator:
    """What estimators have in common whose state is sums of integers.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    """

    #: Number of dimensions of each array of sums.
    _dimensions: ClassVar[Mapping[str, int]]
    #: Bounds of the absolute values of the factors whose products are added.
    _bounds: tuple[int, int]

    def __init__(self, key: Key, shape: Shape) -> None:
        self._key = key
        self._shape = shape

    def fit(self, rows: RowSet) -> SumsState:
        """Return the sums over a set of rows."""
        return SumsState(rows.digests, self._sums(rows))

    def forget(self, state: SumsState, gone: RowSet, left: RowSet) -> SumsState:
        """Subtract the sums over the rows that go; none of the others is read."""
        check_split(state.digests, gone, left)
        return SumsState(left.digests, _combined(state.sums, self._sums(gone), -1))

    def add(self, state: SumsState, new: RowSet, union: RowSet) -> SumsState:
        """Add the sums over the new rows; none of the others is read."""
        check_union(state.digests, new, union)
        # The bounds hold for all rows together, too.
        check_bounds(len(union), *self._bounds)
        return SumsState(union.digests, _combined(state.sums, self._sums(new), 1))

    def refits(self, moved: int, rows: int) -> bool:
        """Return False: each row is subtracted or added at the cost of one row of fitting."""
        del moved, rows
        return False

    def row_digests(self, state: SumsState) -> Bytes:
        """Return the digests of the rows that the sums are over."""
        return state.digests

    def save(self, state: SumsState) -> Files:
        """Return the sums and the digests as one file."""
        return {STATE_FILE: save_tensors({"digests": state.digests, **state.sums})}

    def load(self, files: Files) -> SumsState:
        """Return the state that `save` wrote."""
        kinds = {name: ("int64", count) for name, count in self._dimensions.items()}
        found = load_tensors(files.get(STATE_FILE), {"digests": ("uint8", 2), **kinds})
        sums = {name: found[name].astype(np.int64) for name in kinds}
        return SumsState(found["digests"].astype(np.uint8), sums)

    def _nonce(self, state: SumsState) -> Bytes:
        return set_nonce(self._key, state.digests)

    def _sums(self, rows: RowSet) -> Sums:
        raise NotImplementedError


def _combined(first: Sums, second: Sums, sign: int) -> Sums:
    return {name: first[name] + sign * second[name] for name in first}
