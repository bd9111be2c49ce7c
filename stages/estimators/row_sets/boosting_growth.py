"""Growing trees on pairs of sums, and finding the leaves of rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.boosting_draws import (
    WIDTH,
    BoostingDraws,
    Floats,
    Narrow,
    Places,
    Splits,
)
from unlearn.stages.estimators.row_sets.boosting_sums import (
    BLOCK,
    Integers,
    Layout,
    Pairs,
    pairs_of_blocks,
    purity,
)


@dataclass
class Structure:
    """The splits of all trees, and the sums that decided them. Its arrays are changed in place.

    Parameters
    ----------
    choices
        The chosen candidate of each level of each tree, shape (trees, depth).
    left
        Sums over the rows that each candidate sends left, by node, shape
        (trees, nodes, candidates). Nodes are numbered level by level.
    gains
        How good each candidate is, shape (trees, depth, candidates); -1 for those that may not be
        chosen.
    """

    choices: Places
    left: Pairs
    gains: Integers


class Growth:
    """Grows trees.

    Parameters
    ----------
    draws
        The candidates.
    smoothing
        Is added to sums of second derivatives.
    bars
        Returns the candidates that a level of a tree may not choose, shape (candidates,), if any.
    layout
        Of pairs.
    """

    def __init__(
        self,
        draws: BoostingDraws,
        smoothing: float,
        bars: Callable[[int, int], npt.NDArray[np.bool_] | None],
        layout: Layout,
    ) -> None:
        self._draws = draws
        self._smoothing = smoothing
        self._bars = bars
        self._layout = layout

    def roots(self, codes: Narrow, weights: Floats) -> list[Floats]:
        """Return the sums by code of each feature, for each block of rows."""
        return [
            np.stack([np.bincount(own[part], weights[part], WIDTH) for own in codes])
            for part in _blocks(len(weights))
        ]

    def grow(
        self,
        tree: int,
        found: Structure,
        rows: tuple[Narrow, Floats],
        roots: list[Floats],
        first: int = 0,
    ) -> npt.NDArray[np.uint8]:
        """Choose the splits of a tree, and return the leaf of each row.

        Parameters
        ----------
        tree
            The tree's number.
        found
            Where the splits go, and the sums that decide them.
        rows
            Narrow codes of the rows, and their weights.
        roots
            What `roots` returns for them; it is read only if `first` is 0.
        first
            The first level to choose; splits of those above it stay.
        """
        codes, _ = rows
        candidates = self._draws.candidates
        leaves = np.zeros(codes.shape[1], np.uint8)
        above = roots if first == 0 else None
        for level in range(candidates.features.shape[1]):
            if level >= first:
                above = self._sums_by_code(
                    tree, level, leaves, rows, roots if level == 0 else above
                )
                left, totals = self._sums(tree, level, above)
                start = 2**level - 1
                found.left[tree, start : 2 * start + 1] = left
                gains = gains_of(left, totals, self._smoothing, self._layout).sum(axis=0)
                if (barred := self._bars(tree, level)) is not None:
                    gains[barred] = -1
                found.gains[tree, level] = gains
                found.choices[tree, level] = np.argmax(gains)
            move_down(leaves, codes, candidates, (tree, level, found.choices[tree, level]))
        return leaves

    def _sums_by_code(
        self,
        tree: int,
        level: int,
        leaves: npt.NDArray[np.uint8],
        rows: tuple[Narrow, Floats],
        above: list[Floats] | None,
    ) -> list[Floats]:
        """Return sums by feature, node and code, shape (slots, nodes, 256), for each block of rows.

        Parameters
        ----------
        tree, level, leaves
            The level, and the node of each row in it.
        rows
            Narrow codes of the rows, and their weights.
        above
            For the first level, the sums by code of all features; for others, what this returned
            for the level above, if it did.
        """
        codes, weights = rows
        splits, slots = self._draws.candidates, self._draws.slots
        features = splits.features[tree, level].reshape(slots, -1)[:, 0]
        if level == 0 and above is not None:
            return [sums[features][:, None, :] for sums in above]
        found = []
        for number, part in enumerate(_blocks(len(weights))):
            block = _Block(codes[:, part], leaves[part], weights[part])
            if above is None:
                found.append(block.sums(features, 2**level))
            else:
                found.append(block.sums_below(features, above[number]))
        return found

    def _sums(self, tree: int, level: int, by_code: list[Floats]) -> tuple[Pairs, Pairs]:
        """Return sums to the left of each candidate and in all, by node of a level."""
        splits, slots = self._draws.candidates, self._draws.slots
        every = np.arange(WIDTH, dtype=np.uint8)[:, None]
        masks = (
            every * splits.factors[tree, level] - splits.shifts[tree, level]
            <= splits.widths[tree, level]
        )
        masks_by_slot = masks.reshape(WIDTH, slots, -1).transpose(1, 0, 2).astype(np.float64)
        nodes = 2**level
        left = np.zeros((nodes, slots, masks_by_slot.shape[2]), np.int64)
        totals = np.zeros(nodes, np.int64)
        for sums in by_code:
            to_left = pairs_of_blocks(np.matmul(sums, masks_by_slot), self._layout)
            left += to_left.transpose(1, 0, 2)
            totals += pairs_of_blocks(sums[0].sum(axis=-1), self._layout)
        return left.reshape(nodes, -1), totals


@dataclass(frozen=True)
class _Block:
    """Some of the rows: narrow codes, the node of each in a level, and weights."""

    codes: Narrow
    leaves: npt.NDArray[np.uint8]
    weights: Floats

    def sums(self, features: Places, nodes: int) -> Floats:
        """Return sums by feature, node and code."""
        first = self.leaves.astype(np.intp) * WIDTH
        at = np.empty_like(first)
        found = np.empty((len(features), nodes, WIDTH))
        for slot, feature in enumerate(features):
            np.add(first, self.codes[feature], out=at)
            sums = np.bincount(at, self.weights, nodes * WIDTH)
            found[slot] = sums.reshape(nodes, WIDTH)
        return found

    def sums_below(self, features: Places, above: Floats) -> Floats:
        """Return sums by feature, node and code, given those of the level above.

        Only the smaller side of the split is added up. The other side has the rest, which no
        rounding changes, since all are integers.
        """
        is_right = (self.leaves & 1).astype(bool)
        side = int(2 * np.count_nonzero(is_right) <= len(is_right))
        chosen = np.flatnonzero(is_right == side)
        nodes = (self.leaves[chosen] >> 1).astype(np.uint8)
        part = _Block(np.take(self.codes, chosen, axis=1), nodes, self.weights[chosen])
        own = part.sums(features, above.shape[1])
        found = np.empty((len(features), 2 * above.shape[1], WIDTH))
        found[:, side::2], found[:, 1 - side :: 2] = own, above - own
        return found


def gains_of(left: Pairs, totals: Pairs, smoothing: float, layout: Layout) -> Integers:
    """Return the gain of each candidate in each node.

    Parameters
    ----------
    left
        Sums on the left, shape (..., candidates).
    totals
        Sums of the nodes, shape (...).
    smoothing
        Is added to sums of second derivatives.
    layout
        Of pairs.
    """
    right = totals[..., None] - left
    return purity(left, smoothing, layout) + purity(right, smoothing, layout)


def totals_of_path(
    roots: Pairs, left: Pairs, turns: npt.NDArray[np.bool_], choices: Places
) -> Pairs:
    """Return the sums of the nodes on a row's path, shape (trees, depth).

    Parameters
    ----------
    roots
        Sums of the trees' roots, shape (trees,).
    left
        Sums to the left of each candidate, by node of the path, shape (trees, depth, candidates).
    turns
        Whether the row goes to the right, shape (trees, depth).
    choices
        The chosen candidates, shape (trees, depth).
    """
    chosen = np.take_along_axis(left, choices[..., None], axis=2)[..., 0]
    found = np.empty(choices.shape, np.int64)
    found[:, 0] = roots
    for level in range(choices.shape[1] - 1):
        above, own = found[:, level], chosen[:, level]
        found[:, level + 1] = np.where(turns[:, level], above - own, own)
    return found


def move_down(
    leaves: npt.NDArray[np.uint8], codes: Narrow, splits: Splits, at: tuple[int, ...]
) -> None:
    """Move rows one level down, in place.

    Parameters
    ----------
    leaves
        The node of each row in its level.
    codes
        Narrow codes of the rows.
    splits, at
        The split is here.
    """
    positions = codes[splits.features[at]]
    # Numbers, of which there are most, need neither.
    if splits.factors[at] != 1:
        positions = positions * splits.factors[at]
    if splits.shifts[at] != 0:
        positions = positions - splits.shifts[at]
    # A sum is ten times faster than a shift by one bit.
    leaves += leaves
    leaves |= (positions > splits.widths[at]).view(np.uint8)


def leaves_of(
    codes: Narrow, splits: Splits, tree: int, depth: int | None = None
) -> npt.NDArray[np.uint8]:
    """Return the leaf of each row in a tree, or its node in a level.

    Parameters
    ----------
    codes
        Narrow codes of the rows.
    splits
        The splits of all trees, shape (trees, depth).
    tree
        The tree.
    depth
        The level; all levels by default.
    """
    leaves = np.zeros(codes.shape[1], np.uint8)
    for level in range(splits.features.shape[1] if depth is None else depth):
        move_down(leaves, codes, splits, (tree, level))
    return leaves


def _blocks(count: int) -> list[slice]:
    return [slice(first, min(count, first + BLOCK)) for first in range(0, count, BLOCK)]
