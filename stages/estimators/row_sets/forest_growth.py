"""Growing trees level by level, all nodes of a level at once."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.draws import Words
from unlearn.stages.estimators.row_sets.forest_draws import ForestDraws
from unlearn.stages.estimators.row_sets.forest_nodes import (
    PER_NODE,
    PER_SUMS,
    Ints,
    Kinds,
    Mask,
    Nodes,
    Places,
    RowCounts,
    kinds_of,
)
from unlearn.stages.estimators.row_sets.forest_sums import (
    ENTRIES,
    CandidateSums,
    RowData,
    choose,
    parts_of,
    ranges,
    sum_candidates,
)
from unlearn.stages.estimators.row_sets.row_set import Codes


@dataclass(frozen=True)
class Limits:
    """Which nodes may be split, and which keep sums.

    Parameters
    ----------
    depth, leaf
        See `ExactForestOptions`.
    sums_from
        Nodes with fewer rows keep no sums of candidates: to grow them again takes no longer than to
        change sums.
    numbers
        Whether numbers are predicted.
    """

    depth: int
    leaf: int
    sums_from: int
    numbers: bool

    def open(self, counts: RowCounts, depths: Places) -> Mask:
        """Return which nodes may be split, by their rows of each class and their depths."""
        rows = counts.sum(axis=1)
        enough = (rows >= 2 * self.leaf) & (depths < self.depth)
        # Sums do not tell whether all numbers are equal. No candidate is chosen then.
        found: Mask = enough if self.numbers else enough & (counts.max(axis=1, initial=0) < rows)
        return found


@dataclass(frozen=True)
class Roots:
    """Subtrees to grow, and the rows of each, one after the other in a buffer.

    Parameters
    ----------
    starts, sizes
        Where the rows of each begin in the buffer, and how many there are.
    states
        The generators' states.
    depths
        The depths of their first nodes.
    """

    starts: Places
    sizes: Places
    states: Words
    depths: Places


@dataclass
class Level:
    """All nodes of one depth below the roots; those without a split have the choice -1."""

    starts: Places
    depths: Places
    states: Words
    counts: RowCounts
    choices: Places
    features: Places
    factors: Codes
    offsets: Codes
    cuts: Codes
    left: RowCounts
    has_sums: Mask
    sums: list[tuple[Places, CandidateSums]] = field(default_factory=list)

    @classmethod
    def of(cls, starts: Places, depths: Places, states: Words, counts: RowCounts) -> "Level":
        """Return nodes without splits."""
        none, zero = np.full(len(starts), -1, np.intp), np.zeros(len(starts), np.uint16)
        return cls(
            starts=starts,
            depths=depths,
            states=states,
            counts=counts,
            choices=none,
            features=none.copy(),
            factors=zero,
            offsets=zero.copy(),
            cuts=zero.copy(),
            left=np.zeros_like(counts),
            has_sums=np.zeros(len(starts), bool),
        )


class Growth:
    """Grows trees on one set of rows.

    Parameters
    ----------
    draws
        What is drawn.
    limits
        Which nodes may be split.
    data
        The rows.
    """

    def __init__(self, draws: ForestDraws, limits: Limits, data: RowData) -> None:
        self._draws = draws
        self._limits = limits
        self._data = data
        self._kinds = kinds_of(data.shape)

    def grow(self, buffer: Ints, roots: Roots) -> tuple[Nodes, Places]:
        """Grow subtrees.

        Parameters
        ----------
        buffer
            The rows of all subtrees, in their order. They are put into the order of the leaves.
        roots
            What to grow.

        Returns
        -------
        Nodes
            The subtrees, one after the other.
        Places
            How many nodes each has.
        """
        counts = self._count(buffer, roots)
        level = Level.of(roots.starts, roots.depths, roots.states, counts)
        levels = []
        while len(level.starts):
            self._split(level, buffer)
            levels.append(level)
            level = self._children(level)
        return _in_preorder(levels, (0, self._draws.per_node, self._data.entries), self._kinds)

    def _count(self, buffer: Ints, roots: Roots) -> RowCounts:
        rows = buffer[ranges(roots.starts, roots.sizes)]
        of_root = np.repeat(np.arange(len(roots.starts)), roots.sizes)
        counts = self._data.count(rows, of_root, len(roots.starts))
        return counts.astype(self._kinds["counts"][0])

    def _split(self, level: Level, buffer: Ints) -> None:
        """Split all nodes of a level that may be, and can be."""
        is_open = self._limits.open(level.counts, level.depths)
        sizes = level.counts.sum(axis=1)
        level.has_sums = is_open & (sizes >= self._limits.sums_from)
        at_once = ENTRIES // self._draws.per_node
        # Few rows are split in one go: then calls cost more than ends that nobody needs.
        is_small = int(sizes[is_open].sum()) <= at_once
        groups = [is_open] if is_small else [level.has_sums, is_open & ~level.has_sums]
        for chosen in groups:
            nodes = np.flatnonzero(chosen)
            for part in parts_of(nodes, sizes[nodes], at_once):
                self._split_part(level, buffer, part, sizes[part])

    def _split_part(self, level: Level, buffer: Ints, nodes: Places, sizes: Places) -> None:
        places = ranges(level.starts[nodes], sizes)
        rows = buffer[places]
        starts = np.cumsum(sizes) - sizes
        drawn = self._draws.candidates(level.states[nodes])
        with_sums = np.flatnonzero(level.has_sums[nodes])
        sums, to_left = sum_candidates(
            self._data, rows.astype(np.intp), starts, drawn, ends=len(with_sums) > 0
        )
        if len(with_sums) == len(nodes):
            level.sums.append((nodes, sums))
        elif len(with_sums):
            level.sums.append((nodes[with_sums], sums.of(with_sums)))
        best = choose(sums, level.counts[nodes], self._limits.leaf, numbers=self._limits.numbers)
        split = np.flatnonzero(best >= 0)
        if not split.size:
            return
        at, kept, best = nodes[split], split, best[split]
        level.choices[at] = best
        level.features[at] = drawn.features[best, kept]
        level.factors[at] = drawn.factors[best, kept]
        level.offsets[at] = drawn.offsets[best, kept]
        level.cuts[at] = drawn.cuts(sums.lows, sums.highs)[best, kept]
        level.left[at] = sums.left[best, kept]
        inside = ranges(starts[kept], sizes[kept])
        of_node = np.repeat(np.arange(len(kept)), sizes[kept])
        sides = to_left[best[of_node], inside]
        buffer[places[inside]] = _partition(rows[inside], sides, sizes[kept])

    def _children(self, level: Level) -> Level:
        """Return the nodes below a level: of each split the left one, then the right one."""
        split = np.flatnonzero(level.choices >= 0)
        counts, left = level.counts[split], level.left[split]
        starts, size = level.starts[split], left.sum(axis=1)
        sides = np.tile([True, False], len(split))
        return Level.of(
            np.stack([starts, starts + size], axis=1).reshape(-1),
            np.repeat(level.depths[split] + 1, 2),
            self._draws.children(np.repeat(level.states[split], 2), sides),
            np.stack([left, counts - left], axis=1).reshape(-1, counts.shape[1]),
        )


def _partition(rows: Ints, to_left: Mask, sizes: Places) -> Ints:
    """Return rows with those that go to the left first, node by node, otherwise in their order."""
    starts = np.cumsum(sizes) - sizes
    before: Places = np.cumsum(to_left) - to_left
    rank: Places = before - np.repeat(before[starts], sizes)
    lefts = np.add.reduceat(to_left, starts, dtype=np.intp)
    place = np.arange(len(rows))
    first = np.repeat(starts, sizes)
    target = np.where(to_left, first + rank, np.repeat(lefts, sizes) + place - rank)
    found = np.empty_like(rows)
    found[target] = rows
    return found


def _in_preorder(
    levels: list[Level], no_sums: tuple[int, int, int], kinds: Kinds
) -> tuple[Nodes, Places]:
    """Return the nodes of all levels, subtree by subtree in preorder."""
    sizes = [np.ones(len(level.starts), np.intp) for level in levels]
    splits = [np.flatnonzero(level.choices >= 0) for level in levels]
    for depth in range(len(levels) - 2, -1, -1):
        sizes[depth][splits[depth]] += sizes[depth + 1].reshape(-1, 2).sum(axis=1)
    places = [np.cumsum(sizes[0]) - sizes[0]]
    for depth in range(len(levels) - 1):
        first = places[depth][splits[depth]] + 1
        second = first + sizes[depth + 1][::2]
        places.append(np.stack([first, second], axis=1).reshape(-1))
    order = np.empty(sum(map(len, places)), np.intp)
    order[np.concatenate(places)] = np.arange(len(order))
    nodes = _of_nodes(levels, sizes, order, kinds)
    return Nodes(**nodes, **_sums(levels, order, no_sums, kinds)), sizes[0]


def _of_nodes(
    levels: list[Level], sizes: list[Places], order: Places, kinds: Kinds
) -> dict[str, npt.NDArray[Any]]:
    """Return what is known of each node of all levels, in an order."""
    arrays = {}
    for name in PER_NODE:
        values = sizes if name == "sizes" else [getattr(level, name) for level in levels]
        arrays[name] = np.concatenate(values).astype(kinds[name][0])[order]
    return arrays


def _sums(
    levels: list[Level], order: Places, no_sums: tuple[int, int, int], kinds: Kinds
) -> dict[str, npt.NDArray[Any]]:
    """Return the sums of all nodes that have them, in the order of the nodes."""
    firsts = np.cumsum([0, *(len(level.starts) for level in levels)])
    found = [
        (first + nodes, sums)
        for first, level in zip(firsts[:-1], levels, strict=True)
        for nodes, sums in level.sums
    ]
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    with_sums = np.concatenate([np.empty(0, np.intp), *(nodes for nodes, _ in found)])
    by_place = np.argsort(rank[with_sums])
    arrays = {}
    for name in PER_SUMS:
        kind, dimensions = kinds[name]
        values: list[npt.NDArray[Any]] = [np.empty(no_sums[:dimensions], kind)]
        values += [np.moveaxis(getattr(sums, name), 0, 1) for _, sums in found]
        arrays[name] = np.concatenate(values).astype(kind)[by_place]
    return arrays
