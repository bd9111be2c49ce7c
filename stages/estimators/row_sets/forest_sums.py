"""Sums over the rows of nodes for candidate splits, and the choice among them, in integers.

A split is chosen by the Gini impurity of integer counts: the sum over both sides of the squared
counts of the classes, divided by the rows of the side. Where numbers are predicted, it is chosen by
how much the squared error falls: the rows of both sides multiplied, times the squared difference of
their means. Each of these operations on single elements is rounded in one way by IEEE 754, so no
order of rows, no library and no processor can choose another split.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.forest_draws import Candidates
from unlearn.stages.estimators.row_sets.forest_nodes import Ints, Mask, Places, RowCounts, positions
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.estimators.row_sets.target_grid import FARTHEST

#: Entries (a row, for a candidate) that are worked on at a time: what a processor's cache holds.
ENTRIES = 1 << 17

#: Bits of a word that counts are packed into.
_WORD_BITS = 63

Counts = npt.NDArray[np.int64]


@dataclass
class CandidateSums:
    """What is known of candidates of nodes, each array of shape (candidates, nodes, ...).

    Parameters
    ----------
    lows, highs
        Least and greatest position of the rows.
    at_low, at_high
        Rows that have it; 0 where it was not asked for.
    left
        Rows of each class to the left of the cut, shape (candidates, nodes, classes).
    """

    lows: Codes
    highs: Codes
    at_low: Counts
    at_high: Counts
    left: Counts

    def of(self, nodes: Places) -> "CandidateSums":
        """Return those of some nodes."""
        return CandidateSums(
            self.lows[:, nodes],
            self.highs[:, nodes],
            self.at_low[:, nodes],
            self.at_high[:, nodes],
            self.left[:, nodes],
        )


@dataclass(frozen=True)
class RowData:
    """Rows as splits read them.

    Rows are counted in arrays whose last dimension has an entry for each class. Where numbers are
    predicted it has two entries: the number of rows less the sum of the targets, and this sum. As
    with two classes, all entries together are the number of rows.

    Parameters
    ----------
    codes
        Shape (rows, features).
    targets
        Class indices, or numbers on the pinned grid, shape (rows,).
    shape
        What rows look like.
    """

    codes: Codes
    targets: npt.NDArray[np.int64]
    shape: Shape

    @property
    def entries(self) -> int:
        """Entries of the last dimension of counts."""
        return self.shape.entries

    def count(self, rows: Places | Ints, groups: Places, number: int) -> Counts:
        """Count rows by group, shape (number, entries).

        Parameters
        ----------
        rows
            Which rows.
        groups
            The group of each of them, below `number`.
        number
            Number of groups.
        """
        targets = self.targets[rows]
        if self.shape.target is None:
            index = groups * self.entries + targets
            counts = np.bincount(index, minlength=number * self.entries)
            return counts.reshape(number, self.entries)
        # No sum of so many targets is rounded in float64.
        sums = np.bincount(groups, targets, minlength=number).astype(np.int64)
        return np.stack([np.bincount(groups, minlength=number) - sums, sums], axis=1)

    def add_to(
        self,
        counts: npt.NDArray[Any],
        at: tuple[Any, ...],
        rows: Places,
        amounts: npt.NDArray[np.int64] | int,
    ) -> None:
        """Add rows to counts, in place.

        Parameters
        ----------
        counts
            The counts.
        at
            Indices of all dimensions but the last, which broadcast with `rows` and `amounts`.
        rows
            Which rows.
        amounts
            How often to add each: 1, 0 or -1.
        """
        targets = self.targets[rows]
        if self.shape.target is None:
            np.add.at(counts, (*at, targets), amounts)
            return
        np.add.at(counts, (*at, 0), amounts * (1 - targets))
        np.add.at(counts, (*at, 1), amounts * targets)


def sum_candidates(
    data: RowData, rows: Places, starts: Places, drawn: Candidates, *, ends: bool
) -> tuple[CandidateSums, Mask]:
    """Return the sums of candidates, and which rows each sends to the left.

    Parameters
    ----------
    data
        All rows.
    rows
        The rows of the nodes, one node after the other.
    starts
        Where each node's rows begin; none is empty.
    drawn
        The candidates.
    ends
        Whether to count the rows at both ends.

    Returns
    -------
    CandidateSums
        The sums.
    Mask
        Shape (candidates, rows).
    """
    sizes = np.diff(np.append(starts, len(rows)))
    node = np.repeat(np.arange(len(starts)), sizes)
    flat, width = data.codes.reshape(-1), data.codes.shape[1]
    places = drawn.features[:, node]
    places += rows * width
    values = positions(flat.take(places), drawn.factors[:, node], drawn.offsets[:, node])
    lows = np.minimum.reduceat(values, starts, axis=1)
    highs = np.maximum.reduceat(values, starts, axis=1)
    to_left: Mask = values <= drawn.cuts(lows, highs)[:, node]
    count = _count_classes if data.shape.target is None else _add_targets
    left = count(data, rows, starts, to_left, int(sizes.max()))
    at_low = at_high = np.zeros((len(values), len(starts)), np.int64)
    if ends:
        packed = (values == lows[:, node]).astype(np.int64) << 32
        packed += values == highs[:, node]
        both = np.add.reduceat(packed, starts, axis=1)
        at_low, at_high = both >> 32, both & 0xFFFFFFFF
    return CandidateSums(lows, highs, at_low, at_high, left), to_left


def _count_classes(
    data: RowData, rows: Places, starts: Places, to_left: Mask, largest: int
) -> Counts:
    """Count rows by class to the left: several classes at once, each in some bits of a word."""
    bits = max(1, largest.bit_length())
    classes = data.entries
    in_word = max(1, min(classes, _WORD_BITS // bits))
    targets = data.targets[rows]
    found = np.empty((len(to_left), len(starts), classes), np.int64)
    mask = (1 << bits) - 1
    for first in range(0, classes, in_word):
        number = targets - first
        inside = (number >= 0) & (number < in_word)
        weights = np.where(inside, np.int64(1) << (np.where(inside, number, 0) * bits), 0)
        packed = np.add.reduceat(to_left * weights, starts, axis=1)
        for at in range(min(in_word, classes - first)):
            found[:, :, first + at] = (packed >> (at * bits)) & mask
    return found


def _add_targets(
    data: RowData, rows: Places, starts: Places, to_left: Mask, largest: int
) -> Counts:
    """Count rows to the left and add up their targets, both in one word where they fit."""
    targets = data.targets[rows]
    bits = (largest * FARTHEST).bit_length() + 1
    if bits + largest.bit_length() <= _WORD_BITS:
        packed = np.add.reduceat(to_left * ((np.int64(1) << bits) + targets), starts, axis=1)
        number = (packed + (np.int64(1) << (bits - 1))) >> bits
        sums = packed - (number << bits)
    else:
        number = np.add.reduceat(to_left, starts, axis=1, dtype=np.int64)
        sums = np.add.reduceat(to_left * targets, starts, axis=1)
    return np.stack([number - sums, sums], axis=2)


def choose(sums: CandidateSums, counts: RowCounts, leaf: int, *, numbers: bool = False) -> Places:
    """Return the best candidate of each node; -1 where none has enough rows on both sides.

    Of equally good ones it is the first.

    Parameters
    ----------
    sums
        Sums of the candidates.
    counts
        Rows of each class in the nodes, shape (nodes, classes); see `RowData`.
    leaf
        The least number of rows on either side.
    numbers
        Whether numbers are predicted. A candidate that is no better than no split is not chosen
        then: all targets of a node may be equal, which its counts do not tell.
    """
    left = sums.left
    right = counts - left
    rows_left, rows_right = left.sum(axis=2), right.sum(axis=2)
    is_valid = (rows_left >= leaf) & (rows_right >= leaf)
    if numbers:
        apart = left[..., 1] / np.maximum(rows_left, 1) - right[..., 1] / np.maximum(rows_right, 1)
        good = apart * apart * (rows_left * rows_right)
        is_valid &= good > 0
    else:
        good = _purity(left, rows_left) + _purity(right, rows_right)
    best = np.where(is_valid, good, -1.0).argmax(axis=0)
    found: Places = np.where(is_valid.any(axis=0), best, -1)
    return found


def _purity(counts: Counts, rows: Counts) -> npt.NDArray[np.float64]:
    """Return the squared counts of the classes, divided by the rows."""
    found: npt.NDArray[np.float64] = (counts * counts).sum(axis=2) / np.maximum(rows, 1)
    return found


def ranges(starts: Places, sizes: Places) -> Places:
    """Return the numbers from each start on, one range after the other."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    found: Places = np.arange(total) + np.repeat(starts - (ends - sizes), sizes)
    return found


def parts_of(nodes: Places, sizes: Places, entries: int) -> Iterator[Places]:
    """Cut nodes into parts with about so many rows; a larger node is a part by itself."""
    if len(nodes):
        number = np.cumsum(sizes) // max(1, entries)
        yield from np.split(nodes, np.flatnonzero(np.diff(number)) + 1)
