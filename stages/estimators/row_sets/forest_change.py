"""Trees after some of their rows came or went.

Only the nodes on the paths of these rows can change. A node with sums of its candidates has the
sums changed. If the best candidate is another one, or its cut moved, the subtree is grown again
from its rows. Nodes with few rows have no sums, and are grown again.
"""

from dataclasses import dataclass

import numpy as np
from unlearn.stages.estimators.row_sets.draws import Words
from unlearn.stages.estimators.row_sets.forest_draws import ForestDraws
from unlearn.stages.estimators.row_sets.forest_growth import Growth, Limits, Roots
from unlearn.stages.estimators.row_sets.forest_nodes import (
    PER_SUMS,
    Ints,
    Mask,
    Nodes,
    Places,
    goes_left,
    join,
    next_nodes,
    positions,
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


@dataclass(frozen=True)
class Moved:
    """Rows that came or went, once for each tree that they are in.

    Parameters
    ----------
    data
        The rows.
    rows
        Which row.
    trees
        Which of the trees at hand.
    sign
        1 for rows that came, -1 for rows that went.
    """

    data: RowData
    rows: Places
    trees: Places
    sign: int


@dataclass(frozen=True)
class _Paths:
    """The nodes on the paths of rows.

    Parameters
    ----------
    nodes
        By depth and moved row; -1 below the leaf.
    visited
        All of these nodes, each once and in their order.
    states, depths
        Of these: their generators' states, and their depths.
    """

    nodes: Places
    visited: Places
    states: Words
    depths: Places


class TreeChange:
    """Changes trees.

    Parameters
    ----------
    draws
        What is drawn.
    limits
        Which nodes may be split.
    data
        The rows that the trees have in the end.
    """

    def __init__(self, draws: ForestDraws, limits: Limits, data: RowData) -> None:
        self._draws = draws
        self._limits = limits
        self._data = data

    def apply(
        self, trees: list[Nodes], states: Words, moved: Moved, orders: list[Ints]
    ) -> tuple[list[Nodes], int]:
        """Return the trees after rows moved, and how many rows the subtrees have that are regrown.

        Parameters
        ----------
        trees
            The trees.
        states
            The generators' states at their roots.
        moved
            What came or went.
        orders
            For each tree, the rows that it has in the end, in the order of its leaves. They are put
            into the order of the new leaves.
        """
        order = np.concatenate(orders)
        nodes, paths, again = self._count_moved(trees, states, moved, order)
        rows_again = int(nodes.counts[paths.visited[again]].sum())
        ends = np.cumsum([len(tree) for tree in trees])
        nodes, ends = self._grow(nodes, ends, paths, again, order)
        at = 0
        for rows in orders:
            rows[:] = order[at : at + len(rows)]
            at += len(rows)
        return nodes.trees(ends), rows_again

    def rows_to_grow(
        self, trees: list[Nodes], states: Words, moved: Moved, orders: list[Ints]
    ) -> int:
        """Return how many rows the subtrees have that `apply` grows again; it changes nothing."""
        nodes, paths, again = self._count_moved(trees, states, moved, np.concatenate(orders))
        return int(nodes.counts[paths.visited[again]].sum())

    def _count_moved(
        self, trees: list[Nodes], states: Words, moved: Moved, order: Ints
    ) -> tuple[Nodes, _Paths, Places]:
        """Return copies of the nodes with new counts and sums, and which visited ones to regrow."""
        ends = np.cumsum([len(tree) for tree in trees])
        roots = ends - [len(tree) for tree in trees]
        nodes = join(trees)
        paths = self._paths(nodes, roots, states, moved)
        is_split_before = nodes.features[paths.visited] >= 0
        self._count(nodes, paths, moved)
        is_other = self._change_sums(nodes, paths, moved, order, is_split_before)
        again = np.flatnonzero(is_other)
        again = again[_topmost(paths.visited[again], nodes.sizes[paths.visited[again]])]
        return nodes, paths, again

    def _paths(self, nodes: Nodes, roots: Places, states: Words, moved: Moved) -> _Paths:
        at, own = roots[moved.trees], states[moved.trees]
        levels: list[Places] = []
        found: list[tuple[Places, Words, Places]] = []
        moving = np.arange(len(at))
        while moving.size:
            level = np.full(len(moved.rows), -1, np.intp)
            level[moving] = at
            levels.append(level)
            found.append((at, own, np.full(len(at), len(found))))
            inner = nodes.features[at] >= 0
            moving, at, own = moving[inner], at[inner], own[inner]
            to_left = goes_left(nodes, at, moved.data.codes, moved.rows[moving])
            at, own = next_nodes(nodes, at, to_left), self._draws.children(own, to_left)
        every, own, depths = (np.concatenate(parts) for parts in zip(*found, strict=True))
        visited, first = np.unique(every, return_index=True)
        return _Paths(np.stack(levels), visited, own[first], depths[first])

    def _count(self, nodes: Nodes, paths: _Paths, moved: Moved) -> None:
        depth, row = np.nonzero(paths.nodes >= 0)
        at = (paths.nodes[depth, row],)
        moved.data.add_to(nodes.counts, at, moved.rows[row], moved.sign)

    def _change_sums(
        self, nodes: Nodes, paths: _Paths, moved: Moved, order: Ints, is_split: Mask
    ) -> Mask:
        """Change sums, and return which visited nodes have to be grown again."""
        visited = paths.visited
        is_open = self._limits.open(nodes.counts[visited], paths.depths)
        has_sums = is_open & (nodes.counts[visited].sum(axis=1) >= self._limits.sums_from)
        had_sums = nodes.has_sums[visited]
        # Without sums: small nodes. They stay as they are where they were leaves and are closed.
        is_other = np.where(has_sums | had_sums, has_sums != had_sums, is_split | is_open)
        stay = np.flatnonzero(has_sums & had_sums)
        if stay.size:
            work = _Sums(self._draws, nodes, visited[stay], paths.states[stay])
            work.move(paths, moved)
            work.look_again(self._data, order, nodes.starts)
            is_other[stay] = work.write(self._limits)
        return is_other

    def _grow(
        self, nodes: Nodes, ends: Places, paths: _Paths, again: Places, order: Ints
    ) -> tuple[Nodes, Places]:
        """Return the trees with some subtrees grown again, and where each tree ends."""
        if not again.size:
            return nodes, ends
        tops = paths.visited[again]
        starts, rows = nodes.starts[tops], nodes.counts[tops].sum(axis=1)
        growth = Growth(self._draws, self._limits, self._data)
        grown, sizes = growth.grow(
            order, Roots(starts, rows, paths.states[again], paths.depths[again])
        )
        before = nodes.sizes[tops].astype(np.intp)
        _resize(nodes, paths, again, sizes - before)
        kept = np.append(0, tops + before), np.append(tops, len(nodes))
        new = np.append(len(nodes) + np.cumsum(sizes) - sizes, 0), np.append(sizes, 0)
        places = ranges(
            np.stack([kept[0], new[0]], axis=1).reshape(-1),
            np.stack([kept[1] - kept[0], new[1]], axis=1).reshape(-1),
        )
        tree = np.searchsorted(ends, tops, "right")
        change = np.bincount(tree, weights=sizes - before, minlength=len(ends)).astype(np.intp)
        return join([nodes, grown]).take(places), ends + np.cumsum(change)


class _Sums:
    """The sums of some nodes, while rows move."""

    def __init__(self, draws: ForestDraws, nodes: Nodes, at: Places, states: Words) -> None:
        self._nodes = nodes
        self._at = at
        self._drawn = draws.candidates(states)
        self._entries = (np.cumsum(nodes.has_sums) - 1)[at]
        lows, highs, at_low, at_high, left = (
            np.moveaxis(getattr(nodes, name)[self._entries], 0, 1) for name in PER_SUMS
        )
        self._sums = CandidateSums(
            lows, highs, at_low.astype(np.int64), at_high.astype(np.int64), left.astype(np.int64)
        )
        self._is_old: Mask = np.zeros(self._sums.lows.shape, bool)

    def move(self, paths: _Paths, moved: Moved) -> None:
        """Change sums by the rows that moved; note where they no longer tell the ends."""
        sums, drawn = self._sums, self._drawn
        place = np.searchsorted(self._at, paths.nodes)
        place[place == len(self._at)] = 0
        depth, row = np.nonzero(self._at[place] == paths.nodes)
        node, which = place[depth, row], moved.rows[row]
        values = positions(
            moved.data.codes[which, drawn.features[:, node]],
            drawn.factors[:, node],
            drawn.offsets[:, node],
        )
        lows, highs = sums.lows[:, node], sums.highs[:, node]
        to_left = values <= drawn.cuts(sums.lows, sums.highs)[:, node]
        candidate = np.arange(len(values))[:, None]
        moved.data.add_to(sums.left, (candidate, node), which, moved.sign * to_left)
        at_low, at_high = sums.at_low, sums.at_high
        np.add.at(at_low, (candidate, node), moved.sign * (values == lows))
        np.add.at(at_high, (candidate, node), moved.sign * (values == highs))
        outside = np.nonzero((values < lows) | (values > highs))
        self._is_old |= (at_low == 0) | (at_high == 0)
        self._is_old[outside[0], node[outside[1]]] = True

    def look_again(self, data: RowData, order: Ints, starts: Places) -> None:
        """Compute sums from the rows where the ends moved."""
        candidates, nodes = np.nonzero(self._is_old)
        sizes = self._nodes.counts[self._at].sum(axis=1)
        for part in parts_of(np.arange(len(nodes)), sizes[nodes], ENTRIES):
            here, own = nodes[part], candidates[part]
            firsts = starts[self._at[here]]
            rows = order[ranges(firsts, sizes[here])].astype(np.intp)
            found, _ = sum_candidates(
                data,
                rows,
                np.cumsum(sizes[here]) - sizes[here],
                self._drawn.chosen(own, here),
                ends=True,
            )
            for name in PER_SUMS:
                getattr(self._sums, name)[own, here] = getattr(found, name)[0]

    def write(self, limits: Limits) -> Mask:
        """Put the sums into the nodes, and return which nodes have another split now."""
        nodes, sums = self._nodes, self._sums
        for name in PER_SUMS:
            getattr(nodes, name)[self._entries] = np.moveaxis(getattr(sums, name), 0, 1)
        best = choose(sums, nodes.counts[self._at], limits.leaf, numbers=limits.numbers)
        cuts = self._drawn.cuts(sums.lows, sums.highs)[best, np.arange(len(best))]
        is_same = best == nodes.choices[self._at]
        is_same &= (best < 0) | (cuts == nodes.cuts[self._at])
        found: Mask = ~is_same
        return found


def _topmost(nodes: Places, sizes: Ints) -> Mask:
    """Return which of some nodes, in preorder, are below none of the others."""
    ends = np.maximum.accumulate(nodes + sizes)
    return np.append(True, nodes[1:] >= ends[:-1])[: len(nodes)]


def _resize(nodes: Nodes, paths: _Paths, again: Places, change: Places) -> None:
    """Change the sizes of all subtrees that contain those that were grown again."""
    tops, depths = paths.visited[again], paths.depths[again]
    for depth in np.unique(depths):
        here = np.flatnonzero(depths == depth)
        level = paths.nodes[depth]
        # Any moved row that came by: the nodes above are those of its path.
        passing = np.argsort(level, kind="stable")
        row = passing[np.searchsorted(level[passing], tops[here])]
        above = paths.nodes[:depth, row]
        np.add.at(nodes.sizes, above, np.broadcast_to(change[here], above.shape))
