"""The nodes of trees, as arrays in preorder: a node, all nodes to its left, all to its right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.row_set import Codes

Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

#: Counts of rows, in 32 bits; or in 64 with sums of their numbers.
RowCounts = npt.NDArray[np.int32] | npt.NDArray[np.int64]

#: Codes and the numbers that they become have 12 bits; see `positions`.
RING = np.uint16(4095)

#: Steps down a tree after which rows that have reached their leaves are removed.
_STEPS = 4


@dataclass(frozen=True)
class Nodes:
    """Nodes of one tree, or of several trees one after the other.

    Rows whose position is at most the cut go to the left; see `positions`. The arrays from `lows`
    on have an entry for each node in which `has_sums` is true: what is known of each candidate
    split, so that a row that comes or goes changes them without a look at the other rows.

    Parameters
    ----------
    sizes
        Nodes of the subtree, with this one.
    features, choices
        The feature of the split and its number among the candidates; -1 in leaves.
    factors, offsets, cuts
        How codes become positions, and the cut; 0 in leaves.
    counts
        Rows of each class, shape (nodes, classes); or where numbers are predicted, the number of
        rows less the sum of their targets, and this sum, shape (nodes, 2).
    has_sums
        Whether the node has sums of its candidates.
    lows, highs
        Least and greatest position of its rows, shape (nodes with sums, candidates).
    at_low, at_high
        Rows that have it.
    left
        Counts of the rows that the candidate sends to the left, shape (nodes with sums,
        candidates, classes or 2).
    """

    sizes: Ints
    features: npt.NDArray[np.int16]
    choices: npt.NDArray[np.int16]
    factors: Codes
    offsets: Codes
    cuts: Codes
    counts: RowCounts
    has_sums: Mask
    lows: Codes
    highs: Codes
    at_low: Ints
    at_high: Ints
    left: RowCounts

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def leaves(self) -> Mask:
        """Which nodes have no split."""
        return self.features < 0

    @property
    def rows(self) -> Ints:
        """Rows of each node."""
        found: Ints = self.counts.sum(axis=1).astype(np.int32)
        return found

    @property
    def starts(self) -> Places:
        """Where the rows of each node begin, if rows are in the order of their leaves."""
        in_leaves = np.where(self.leaves, self.rows, 0)
        found: Places = np.cumsum(in_leaves, dtype=np.intp) - in_leaves
        return found

    def take(self, places: Places) -> "Nodes":
        """Return nodes in another order, or a part of them."""
        of_sums = np.cumsum(self.has_sums) - 1
        with_sums = of_sums[places[self.has_sums[places]]]
        return Nodes(
            **{name: getattr(self, name)[places] for name in PER_NODE},
            **{name: getattr(self, name)[with_sums] for name in PER_SUMS},
        )

    def trees(self, ends: Places) -> "list[Nodes]":
        """Return copies of the trees, given where each one ends."""
        with_sums = np.append(0, np.cumsum(self.has_sums))
        found, first = [], 0
        for last in map(int, ends):
            nodes, sums = slice(first, last), slice(int(with_sums[first]), int(with_sums[last]))
            found.append(
                Nodes(
                    **{name: getattr(self, name)[nodes].copy() for name in PER_NODE},
                    **{name: getattr(self, name)[sums].copy() for name in PER_SUMS},
                )
            )
            first = last
        return found


_NAMES = [field.name for field in fields(Nodes)]
_FIRST_OF_SUMS = _NAMES.index("lows")

#: The arrays that have an entry for each node, and those that have one for each node with sums.
PER_NODE, PER_SUMS = _NAMES[:_FIRST_OF_SUMS], _NAMES[_FIRST_OF_SUMS:]

#: Type and number of dimensions of each array, by name.
Kinds = Mapping[str, tuple[str, int]]

#: Those of nodes that count classes; see `kinds_of`.
KINDS: Kinds = {
    "sizes": ("int32", 1),
    "features": ("int16", 1),
    "choices": ("int16", 1),
    "factors": ("uint16", 1),
    "offsets": ("uint16", 1),
    "cuts": ("uint16", 1),
    "counts": ("int32", 2),
    "has_sums": ("bool", 1),
    "lows": ("uint16", 2),
    "highs": ("uint16", 2),
    "at_low": ("int32", 2),
    "at_high": ("int32", 2),
    "left": ("int32", 3),
}


def kinds_of(shape: Shape) -> Kinds:
    """Return type and number of dimensions of each array: sums of numbers have more digits."""
    if shape.target is None:
        return KINDS
    return {**KINDS, "counts": ("int64", 2), "left": ("int64", 3)}


def join(parts: Sequence[Nodes]) -> Nodes:
    """Return a copy of the nodes of several trees, one after the other."""
    return Nodes(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _NAMES}
    )


def positions(codes: Codes, factors: Codes, offsets: Codes) -> Codes:
    """Return where codes are on the line that a split cuts.

    For numbers the factor is 1 and the offset 0, or 4095, which moves missing values from the
    lower end of the line to the upper one. For categories the factor is any odd number, so that
    codes are in another order at each node.
    """
    found: Codes = codes * factors
    found += offsets
    found &= RING
    return found


def route(nodes: Nodes, roots: Places, codes: Codes, rows: Places) -> Places:
    """Return the leaf of each row.

    Parameters
    ----------
    nodes
        The trees.
    roots
        Where each row's tree begins, shape (rows,).
    codes
        Codes of a set of rows.
    rows
        Which of them, shape (rows,).
    """
    at, codes = roots.copy(), np.ascontiguousarray(codes)
    moving = np.flatnonzero(nodes.features[at] >= 0)
    while moving.size:
        here = at[moving]
        to_left = goes_left(nodes, here, codes, rows[moving])
        here = next_nodes(nodes, here, to_left)
        at[moving] = here
        moving = moving[nodes.features[here] >= 0]
    return at


def find_leaves(nodes: Nodes, of_tree: slice, codes: Codes) -> Places:
    """Return the leaf of each row in one tree, as `route` does, counted from the tree's first node.

    It is faster than `route` for many rows, because rows that have reached their leaves are removed
    only after every few steps.

    Parameters
    ----------
    nodes
        The trees.
    of_tree
        The nodes of the tree.
    codes
        Codes of the rows, shape (rows, features).

    Returns
    -------
    numpy.ndarray
        Shape (rows,).
    """
    features, sizes = nodes.features[of_tree], nodes.sizes[of_tree]
    factors, offsets = nodes.factors[of_tree], nodes.offsets[of_tree]
    cuts = nodes.cuts[of_tree]
    is_split = features >= 0
    split = np.flatnonzero(is_split)
    # A leaf is its own child, so that rows stay in their leaves.
    children = np.repeat(np.arange(len(sizes)), 2)
    children[2 * split] = split + 1
    children[2 * split + 1] = split + 1 + sizes[split + 1]
    columns = np.where(is_split, features, 0).astype(np.intp)
    values = np.ascontiguousarray(codes).reshape(-1)
    found = at = np.zeros(len(codes), np.intp)
    moving, firsts = np.arange(len(codes)), np.arange(len(codes)) * codes.shape[1]
    while True:
        still = np.flatnonzero(is_split.take(at))
        if not still.size:
            return found
        moving, firsts, at = moving.take(still), firsts.take(still), at.take(still)
        for _ in range(_STEPS):
            here = values.take(firsts + columns.take(at))
            beyond = positions(here, factors.take(at), offsets.take(at)) > cuts.take(at)
            at = children.take(2 * at + beyond)
        found[moving] = at


def goes_left(nodes: Nodes, at: Places, codes: Codes, rows: Places) -> Mask:
    """Return whether rows go to the left at nodes that have a split."""
    # `take` is several times faster than an index of two arrays.
    values = codes.take(rows * codes.shape[1] + nodes.features.take(at))
    factors, offsets = nodes.factors.take(at), nodes.offsets.take(at)
    found: Mask = positions(values, factors, offsets) <= nodes.cuts.take(at)
    return found


def next_nodes(nodes: Nodes, at: Places, to_left: Mask) -> Places:
    """Return the children of nodes that have a split, on one side of each."""
    found: Places = at + 1
    return found + np.where(to_left, 0, nodes.sizes.take(found))
