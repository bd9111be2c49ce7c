"""The model of one class against the others, or of numbers: fitted, and changed as rows come or go.

Two chains of trees share their splits. The *guide* has one tree a stage, with coarse values; the
gradients at its scores choose the splits of all trees of the next stage. The *leaf values* of all
trees are each fitted at the scores of the trees before. So a leaf value that changes moves no
split, and a split that moves changes leaf values, but other splits only if it is of the guide.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.boosting_draws import (
    BoostingDraws,
    Floats,
    Narrow,
)
from unlearn.stages.estimators.row_sets.boosting_growth import (
    Growth,
    Structure,
    gains_of,
    leaves_of,
    totals_of_path,
)
from unlearn.stages.estimators.row_sets.boosting_loss import LogisticLoss, Loss, SquaredLoss
from unlearn.stages.estimators.row_sets.boosting_state import (
    ClassRows,
    ClassState,
    Moves,
    empty_state,
)
from unlearn.stages.estimators.row_sets.boosting_sums import (
    Integers,
    Pairs,
    pairs_of_blocks,
    rounded_values,
    sums_by,
)

#: How much the guide's trees are shrunk, and values of its leaves per unit of log-odds.
_GUIDE_RATE, _GUIDE_STEPS = 0.6, 8

#: Levels of a stage's first tree that belong to the guide.
_GUIDE_DEPTH = 3


class ClassModel:
    """Fits and changes the model of one class.

    Parameters
    ----------
    draws
        The candidates, and the dither.
    options
        The settings.
    number
        The class; 0 where numbers are predicted.
    kind
        The loss.
    """

    def __init__(
        self,
        draws: BoostingDraws,
        options: ExactBoostingOptions,
        number: int,
        kind: type[LogisticLoss | SquaredLoss],
    ) -> None:
        self._draws = draws
        self._options = options
        self.trees, self.depth, self._stage = options.trees, options.depth, options.stage
        self.stages = -(-options.trees // options.stage)
        self._cuts = draws.cuts_of_trees
        *self._dither, start = draws.dither(number)
        self.loss: Loss = kind(options, start)
        self._layout = self.loss.layout
        # With few candidates, the splits of the guide seldom move, and all others follow it.
        self._barred = np.arange(draws.slots * options.candidates) % options.candidates != 0
        self._guide_depth = min(options.depth, _GUIDE_DEPTH)
        self._growth = Growth(draws, options.smoothing, self._bars, self._layout)

    @property
    def first_trees(self) -> Integers:
        """The first tree of each stage, which is the guide's."""
        return np.arange(0, self.trees, self._stage)

    def empty(self) -> ClassState:
        """Return a state with arrays of the right shapes."""
        candidates = self._draws.candidates.features.shape[-1]
        return empty_state(self._options, candidates, self._guide_depth)

    def fit(self, rows: ClassRows) -> ClassState:
        """Return the state of rows."""
        state = self.empty()
        state.counts[:] = self.loss.count(rows.labels)
        self._grow(state, rows, np.zeros(self.trees, np.int64), -1)
        self._fit_leaves(state, rows, 0)
        return state

    def change(
        self, state: ClassState, moved: ClassRows, sign: int, rows: Callable[[], ClassRows]
    ) -> ClassState:
        """Return the state after rows came or went.

        Parameters
        ----------
        state
            The state before; its arrays are changed.
        moved
            These rows.
        sign
            1 if they came, -1 if they went.
        rows
            Returns the rows in the end; it is called only if something moves.
        """
        before = self._start(state)
        counts = state.counts + sign * self.loss.count(moved.labels)
        numbers = range(int(self._cuts[-1]) + 1)
        codes = np.stack([moved.codes(number) for number in numbers])
        for at, label in enumerate(moved.labels):
            self._shift(state, codes[:, :, at], int(label), sign)
        state.counts[:] = counts
        if self._start(state) != before:
            return self.fit(rows())
        moves = self._moves(state)
        is_still = (moves.levels == self.depth) & ~moves.leaves
        guide_moves = moves.guide | (moves.levels[self.first_trees] < self._guide_depth)
        # No splits follow the guide's last tree.
        guide_moves[-1] = False
        state.guide_values[-1] = self._guide_values(state.guide_sums[-1], -1)
        # In the stages after this one, all splits are chosen by other gradients.
        last = int(np.argmax(guide_moves)) if guide_moves.any() else self.stages
        stages = np.arange(self.trees) // self._stage
        levels = np.where(stages > last, 0, moves.levels)
        if (levels < self.depth).any():
            self._grow(state, rows(), levels, last)
        is_still &= levels == self.depth
        if not is_still.all():
            self._fit_leaves(state, rows(), int(np.argmin(is_still)))
        return state

    def refit(
        self, state: ClassState, rows: ClassRows, trees: Sequence[int]
    ) -> Iterator[dict[str, Integers]]:
        """Fit trees again, each given the trees before it as the state has them.

        Parameters
        ----------
        state
            The state.
        rows
            All rows.
        trees
            Numbers of the trees, ascending.

        Returns
        -------
        iterator
            What `tree` would return for each of them.
        """
        found, splits = self.empty(), self._draws.candidates.chosen(state.structure.choices)
        found.counts[:] = self.loss.count(rows.labels)
        guide, current = self._index(found, rows), self._index(found, rows)
        # The scores of the guide move once a stage, those of the leaf values with each tree.
        steps = np.zeros_like(guide)
        for tree in range(trees[-1] + 1 if trees else 0):
            stage, number = divmod(tree, self._stage)
            codes = rows.codes(int(self._cuts[tree]))
            own = leaves_of(codes, splits, tree)
            if number == 0:
                guide += steps
                steps = np.take(state.guide_values[stage], own >> (self.depth - self._guide_depth))
            if tree in trees:
                weights = self.loss.weights(guide, rows.labels)
                roots = self._growth.roots(codes, weights)
                leaves = self._growth.grow(tree, found.structure, (codes, weights), roots)
                own_weights = self.loss.weights(current, rows.labels)
                found.leaf_sums[tree] = self._sums_by(leaves, own_weights, 2**self.depth)
                found.roots[stage] = int(self._sums_by(_all_one(rows), weights, 1)[0])
                if number == 0:
                    leaves >>= self.depth - self._guide_depth
                    found.guide_sums[stage] = self._sums_by(leaves, weights, 2**self._guide_depth)
                yield self.tree(found, tree)
            current += np.take(state.leaf_values[tree], own)

    def tree(self, state: ClassState, tree: int) -> dict[str, Integers]:
        """Return what a state has of a tree, and of the guide where it is the guide's."""
        stage, number = divmod(tree, self._stage)
        found = {
            "counts": state.counts,
            "choices": state.structure.choices[tree].astype(np.int64),
            "left": state.structure.left[tree],
            "root": state.roots[stage : stage + 1],
            "leaf_sums": state.leaf_sums[tree],
        }
        return found | ({"guide_sums": state.guide_sums[stage]} if number == 0 else {})

    def restore(self, state: ClassState) -> ClassState:
        """Fill in gains and values, which follow from the sums."""
        structure = state.structure
        totals = np.repeat(state.roots, self._stage)[: self.trees, None]
        for level in range(self.depth):
            left = structure.left[:, 2**level - 1 : 2 ** (level + 1) - 1]
            gains = gains_of(left, totals, self._options.smoothing, self._layout)
            structure.gains[:, level] = gains.sum(axis=1)
            choices = structure.choices[:, level, None, None]
            chosen = np.take_along_axis(left, choices, axis=2)[..., 0]
            totals = np.stack([chosen, totals - chosen], axis=2).reshape(self.trees, -1)
        self._bar(structure)
        state.guide_values[:] = self.guide_values(state.guide_sums)
        state.leaf_values[:] = self.values(state.leaf_sums)
        return state

    def values(self, sums: Pairs) -> Integers:
        """Return the values of leaves."""
        return self._values(sums, np.s_[:])

    def guide_values(self, sums: Pairs) -> Integers:
        """Return the values of the guide's leaves."""
        return self._guide_values(sums, np.s_[:])

    def _start(self, state: ClassState) -> int:
        return self.loss.start(state.counts)

    def _shift(self, state: ClassState, codes: Narrow, label: int, sign: int) -> None:
        """Add or subtract one row in all sums, as if nothing moved.

        Parameters
        ----------
        state
            The state.
        codes, label
            Narrow codes of the row by each set of cuts, and its label; see `ClassRows`.
        sign
            1 to add, -1 to subtract.
        """
        structure, trees = state.structure, np.arange(self.trees)
        splits = self._draws.candidates
        goes_left = splits.go_left(codes[self._cuts[:, None, None], splits.features])
        choices = structure.choices[..., None]
        turns = ~np.take_along_axis(goes_left, choices, axis=2)[..., 0]
        nodes = np.zeros((self.trees, self.depth + 1), np.intp)
        for level in range(self.depth):
            nodes[:, level + 1] = 2 * nodes[:, level] + turns[:, level]
        leaves, nodes = nodes[:, -1], nodes[:, :-1] + 2 ** np.arange(self.depth) - 1
        guide, current = self._pairs_of_row(state, leaves, label, sign)
        by_tree = np.repeat(guide, self._stage)[: self.trees]
        # Only the nodes of the row's path are different.
        left = structure.left[trees[:, None], nodes]
        roots = np.repeat(state.roots, self._stage)[: self.trees]
        totals = totals_of_path(roots, left, turns, structure.choices)
        smoothing = self._options.smoothing
        before = gains_of(left, totals, smoothing, self._layout)
        left += goes_left * by_tree[:, None, None]
        structure.left[trees[:, None], nodes] = left
        after = gains_of(left, totals + by_tree[:, None], smoothing, self._layout)
        structure.gains += after - before
        self._bar(structure)
        state.roots += guide
        state.guide_sums[np.arange(self.stages), self._guide_nodes(leaves)] += guide
        state.leaf_sums[trees, leaves] += current

    def _bar(self, structure: Structure) -> None:
        """Keep the guide from choosing candidates that it may not."""
        own = structure.gains[self.first_trees, : self._guide_depth]
        own[:, :, self._barred] = -1
        structure.gains[self.first_trees, : self._guide_depth] = own

    def _bars(self, tree: int, level: int) -> npt.NDArray[np.bool_] | None:
        """Return the candidates that a level of a tree may not choose."""
        is_guide = tree % self._stage == 0 and level < self._guide_depth
        return self._barred if is_guide else None

    def _guide_nodes(self, leaves: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return the guide's node of a row in each stage, given its leaf in each tree."""
        return leaves[self.first_trees] >> (self.depth - self._guide_depth)

    def _pairs_of_row(
        self, state: ClassState, leaves: npt.NDArray[np.intp], label: int, sign: int
    ) -> tuple[Pairs, Pairs]:
        """Return the pair of a row at the guide's scores, by stage, and at those of each tree."""
        labels = np.array([label])
        first = self.loss.begin(labels, self._start(state))
        guide = state.guide_values[np.arange(self.stages), self._guide_nodes(leaves)]
        values = state.leaf_values[np.arange(self.trees), leaves]
        pairs = []
        for steps in (guide, values):
            scores = first + np.cumsum(steps) - steps
            weights = self.loss.weights(scores, labels)
            pairs.append(sign * pairs_of_blocks(weights, self._layout))
        return pairs[0], pairs[1]

    def _moves(self, state: ClassState) -> Moves:
        structure = state.structure
        moved = structure.gains.argmax(axis=2) != structure.choices
        levels = np.where(moved.any(axis=1), moved.argmax(axis=1), self.depth)
        return Moves(
            levels,
            (self.guide_values(state.guide_sums) != state.guide_values).any(axis=1),
            (self.values(state.leaf_sums) != state.leaf_values).any(axis=1),
        )

    def _grow(self, state: ClassState, rows: ClassRows, levels: Integers, last: int) -> None:
        """Choose splits again, and the guide's values from a stage on.

        Parameters
        ----------
        state
            The state, whose sums are right up to stage `last`.
        rows
            All rows.
        levels
            The first level of each tree to choose; `depth` for none.
        last
            The first stage whose guide moves, or -1; sums of later stages are computed again.
        """
        splits = self._draws.candidates
        index = self._index(state, rows)
        needed = np.flatnonzero(levels < self.depth)
        last_needed = int(needed[-1]) // self._stage
        for stage in range(last_needed + 1):
            first = stage * self._stage
            trees = range(first, min(first + self._stage, self.trees))
            codes, leaves = rows.codes(int(self._cuts[first])), None
            is_grown = any(levels[tree] < self.depth for tree in trees)
            weights = self.loss.weights(index, rows.labels) if is_grown else np.empty(0)
            if stage > last:
                state.roots[stage] = int(self._sums_by(_all_one(rows), weights, 1)[0])
            is_whole = any(levels[tree] == 0 for tree in trees)
            roots = self._growth.roots(codes, weights) if is_whole else []
            for tree in trees:
                if levels[tree] < self.depth:
                    found = self._growth.grow(
                        tree, state.structure, (codes, weights), roots, int(levels[tree])
                    )
                    leaves = found if tree == first else leaves
            if leaves is not None:
                leaves >>= self.depth - self._guide_depth
                state.guide_sums[stage] = self._sums_by(leaves, weights, 2**self._guide_depth)
            state.guide_values[stage] = self._guide_values(state.guide_sums[stage], stage)
            if stage < last_needed:
                if leaves is None:
                    own = splits.chosen(state.structure.choices)
                    leaves = leaves_of(codes, own, first, self._guide_depth)
                index += np.take(state.guide_values[stage], leaves)

    def _fit_leaves(self, state: ClassState, rows: ClassRows, first: int) -> None:
        """Compute the leaf values again from a tree on."""
        splits = self._draws.candidates.chosen(state.structure.choices)
        index = self._index(state, rows)
        for tree in range(self.trees):
            leaves = leaves_of(rows.codes(int(self._cuts[tree])), splits, tree)
            if tree >= first:
                weights = self.loss.weights(index, rows.labels)
                state.leaf_sums[tree] = self._sums_by(leaves, weights, 2**self.depth)
                state.leaf_values[tree] = self._values(state.leaf_sums[tree], tree)
            index += np.take(state.leaf_values[tree], leaves)

    def _index(self, state: ClassState, rows: ClassRows) -> Integers:
        """Return the index of each row for its derivatives, at the score of the start."""
        return self.loss.begin(rows.labels, self._start(state))

    def _sums_by(self, numbers: npt.NDArray[np.uint8], weights: Floats, size: int) -> Pairs:
        return sums_by(numbers, weights, size, self._layout)

    def _values(self, sums: Pairs, at: int | slice) -> Integers:
        options = self._options
        return rounded_values(
            sums,
            options.rate,
            options.steps,
            options.smoothing,
            self._dither[0][at],
            self._layout,
        )

    def _guide_values(self, sums: Pairs, at: int | slice) -> Integers:
        steps = self._options.steps
        values = rounded_values(
            sums,
            _GUIDE_RATE,
            _GUIDE_STEPS,
            self._options.smoothing,
            self._dither[1][at, : 2**self._guide_depth],
            self._layout,
        )
        return values * steps // _GUIDE_STEPS


def _all_one(rows: ClassRows) -> npt.NDArray[np.uint8]:
    return np.zeros(len(rows.labels), np.uint8)
