"""Extremely randomised trees that are a function of the key and the set of their rows.

Source: Geurts et al., "Extremely randomized trees", Machine Learning 2006. Here every draw follows
from the key, the tree and the path to the node, and a row is in a share of the trees that its own
digest chooses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from unlearn.stages.config.row_sets import ExactForestOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import (
    STATE_FILE,
    Files,
    Shape,
    Tensor,
    load_tensors,
    save_tensors,
)
from unlearn.stages.estimators.row_sets.forest_change import Moved, TreeChange
from unlearn.stages.estimators.row_sets.forest_draws import ForestDraws
from unlearn.stages.estimators.row_sets.forest_growth import Growth, Limits, Roots
from unlearn.stages.estimators.row_sets.forest_model import ForestModel
from unlearn.stages.estimators.row_sets.forest_nodes import (
    KINDS,
    PER_NODE,
    Ints,
    Nodes,
    Places,
    join,
    kinds_of,
    route,
)
from unlearn.stages.estimators.row_sets.forest_state import (
    Begun,
    ForestState,
    counted,
    numbers_of,
)
from unlearn.stages.estimators.row_sets.forest_sums import RowData
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    RowSet,
    check_split,
    check_union,
    set_nonce,
)
from unlearn.stages.rows.tokens import Key

#: Rows, summed over trees, that are grown at a time: memory for the largest forests.
_ROWS_AT_ONCE = 1 << 22

#: Numbers of rows are given again when they are so many times as large as the number of rows.
_MANY_NUMBERS = 4


@dataclass(frozen=True)
class ForestCosts:
    """When to change trees, and when to grow them again; results do not depend on `refit_from`.

    Parameters
    ----------
    refit_from
        From this share of the rows on, fitting is not slower than changing the trees.
    sums_from
        Least number of rows of a node that keeps sums of its candidates. States have these sums.
    """

    refit_from: float = 0.07
    sums_from: int = 64


class ExactForest:
    """`RowSetEstimator` of forests.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    options
        The settings.
    costs
        When to change trees instead of growing them.
    """

    def __init__(
        self,
        key: Key,
        shape: Shape,
        options: ExactForestOptions,
        costs: ForestCosts = ForestCosts(),
    ) -> None:
        self._key = key
        self._shape = shape
        self._trees = options.trees
        self._limits = Limits(
            options.depth, options.leaf, costs.sums_from, numbers=shape.target is not None
        )
        self._kinds = kinds_of(shape)
        self._refit_from = costs.refit_from
        self._draws = ForestDraws(key, shape, options)

    def fit(self, rows: RowSet) -> ForestState:
        """Grow all trees."""
        trees: list[Nodes] = []
        orders: list[Ints | None] = []
        growth = Growth(self._draws, self._limits, self._data(rows))
        at_once = max(1, _ROWS_AT_ONCE // max(1, len(rows)))
        for first in range(0, self._draws.groups, at_once):
            groups = range(first, min(self._draws.groups, first + at_once))
            buffer, sizes = self._rows_of_groups(rows, groups)
            starts = np.cumsum(sizes) - sizes
            states = self._draws.roots[len(trees) : len(trees) + len(sizes)]
            depths = np.zeros(len(sizes), np.intp)
            nodes, lengths = growth.grow(buffer, Roots(starts, sizes, states, depths))
            trees += nodes.trees(np.cumsum(lengths))
            orders += [order.copy() for order in np.split(buffer, starts[1:])]
        return ForestState(rows.digests, trees, orders, counted(len(rows)))

    @property
    def tree_count(self) -> int:
        """Number of trees."""
        return self._trees

    def tree_bytes(self, state: ForestState, tree: int) -> bytes:
        """Return the nodes of a tree."""
        return _tree_bytes(state.trees[tree])

    def counts_rows(self, state: ForestState, rows: RowSet) -> bool:
        """Compare the counts at the roots of all trees with the rows that are in them."""
        data, every = self._data(rows), np.arange(len(rows))
        expected = np.zeros((self._trees, data.entries), np.int64)
        for group in range(self._draws.groups):
            expected += data.count(every, self._draws.trees_of(rows.words, group), self._trees)
        found = np.stack([tree.counts[0] for tree in state.trees])
        return np.array_equal(found, expected)

    def refit_trees(
        self,
        state: ForestState,  # noqa: ARG002 - no tree depends on the trees before it
        rows: RowSet,
        trees: Sequence[int],
    ) -> Iterator[tuple[int, bytes]]:
        """Grow trees again."""
        for tree in trees:
            yield tree, _tree_bytes(self.fit_tree(rows, tree))

    @property
    def draws(self) -> ForestDraws:
        """What is drawn for the forest, such as the trees that a row is in."""
        return self._draws

    def fit_tree(self, rows: RowSet, tree: int) -> Nodes:
        """Grow one tree: the same as in the forest, for checks."""
        buffer = self._draws.rows_of(rows.words, tree)
        states, zero = self._draws.roots[tree : tree + 1], np.zeros(1, np.intp)
        growth = Growth(self._draws, self._limits, self._data(rows))
        return growth.grow(buffer, Roots(zero, np.array([len(buffer)]), states, zero))[0]

    def forget(self, state: ForestState, gone: RowSet, left: RowSet) -> ForestState:
        """Change the trees that the rows are in."""
        check_split(state.digests, gone, left)
        if len(gone) == 0:
            return state
        if self.refits(len(gone), len(state.digests)):
            return self.fit(left)
        return self._changed(state, gone, left, -1)

    def add(self, state: ForestState, new: RowSet, union: RowSet) -> ForestState:
        """Change the trees that the rows are in."""
        check_union(state.digests, new, union)
        if len(new) == 0:
            return state
        if self.refits(len(new), len(union)):
            return self.fit(union)
        return self._changed(state, new, union, 1)

    def rows_to_read(self, state: ForestState, moved: RowSet, rows: RowSet, sign: int) -> int:
        """Return what `reads` will be if rows come (1) or go (-1), without growing anything."""
        begun = self._begin(state, moved, rows, sign)
        again = begun.change.rows_to_grow(begun.trees, begun.roots, begun.pairs, begun.orders)
        return self._reads(moved, again)

    def refits(self, moved: int, rows: int) -> bool:
        """Return whether growing all trees is not slower than changing them."""
        return moved >= self._refit_from * rows > 0

    def row_digests(self, state: ForestState) -> Bytes:
        """Return the digests of the rows that the forest is of."""
        return state.digests

    def save(self, state: ForestState) -> Files:
        """Return a file for each tree, of which a change rewrites some, and one for the digests."""
        files = {tree_file(number): _tree_bytes(tree) for number, tree in enumerate(state.trees)}
        return {STATE_FILE: save_tensors({"digests": state.digests}), **files}

    def load(self, files: Files) -> ForestState:
        """Return the state that `save` wrote."""
        digests = load_tensors(files.get(STATE_FILE), {"digests": ("uint8", 2)})["digests"]
        trees = [
            _checked(load_tensors(files.get(tree_file(number)), self._kinds), self._shape)
            for number in range(self._trees)
        ]
        orders: list[Ints | None] = [None] * self._trees
        return ForestState(digests.astype(np.uint8), trees, orders, counted(len(digests)))

    def model(self, state: ForestState) -> bytes:
        """Return the nodes of all trees, without sums of candidates and without digests."""
        nodes = join(state.trees)
        tensors = {name: getattr(nodes, name) for name in PER_NODE[:-1]}
        ends = np.cumsum([len(tree) for tree in state.trees]).astype(np.int64)
        nonce = set_nonce(self._key, state.digests)
        return save_tensors({"nonce": nonce, "ends": ends, **tensors})

    def predictor(self, model: bytes) -> ForestModel:
        """Return the forest, ready to answer."""
        of_model = {"nonce": ("uint8", 1), "ends": ("int64", 1)}
        of_model |= {name: self._kinds[name] for name in PER_NODE[:-1]}
        found = load_tensors(model, of_model)
        ends = found.pop("ends").astype(np.int64)
        del found["nonce"]
        size = len(found["sizes"])
        without = {"has_sums": np.zeros(size, bool)}
        without |= {
            name: np.zeros((0,) * dimensions, kind)
            for name, (kind, dimensions) in self._kinds.items()
            if name not in of_model and name != "has_sums"
        }
        return ForestModel(self._shape, _checked(found | without, self._shape), ends)

    def _data(self, rows: RowSet) -> RowData:
        return RowData(rows.codes, rows.targets, self._shape)

    def _rows_of_groups(self, rows: RowSet, groups: range) -> tuple[Ints, Places]:
        """Return the rows of the trees of some groups, tree by tree, and how many each has."""
        firsts = self._draws.first_trees
        buffers, sizes = [], []
        for group in groups:
            trees = (self._draws.trees_of(rows.words, group) - firsts[group]).astype(np.uint16)
            buffers.append(np.argsort(trees, kind="stable").astype(np.int32))
            count = int(firsts[group + 1] - firsts[group])
            sizes.append(np.bincount(trees, minlength=count))
        return np.concatenate(buffers), np.concatenate(sizes)

    def _changed(self, state: ForestState, moved: RowSet, rows: RowSet, sign: int) -> ForestState:
        """Return the state after rows came (1) or went (-1); `rows` are those in the end."""
        begun = self._begin(state, moved, rows, sign)
        changed, again = begun.change.apply(begun.trees, begun.roots, begun.pairs, begun.orders)
        numbers, places = begun.numbers, begun.places
        trees, orders = list(state.trees), list(state.orders)
        for tree, nodes, order in zip(begun.touched, changed, begun.orders, strict=True):
            trees[tree], orders[tree] = nodes, numbers[order]
        if len(places) > _MANY_NUMBERS * (len(rows) + 1):
            orders = [None if order is None else places[order].astype(np.int32) for order in orders]
            numbers = counted(len(rows))
        return ForestState(rows.digests, trees, orders, numbers, self._reads(moved, again))

    def _begin(self, state: ForestState, moved: RowSet, rows: RowSet, sign: int) -> Begun:
        trees_of_rows = self._draws.all_trees_of(moved.words)
        touched, which = np.unique(trees_of_rows, return_inverse=True)
        own_trees = which.reshape(trees_of_rows.shape)
        pairs = Moved(
            self._data(moved),
            np.repeat(np.arange(len(moved)), self._draws.groups),
            own_trees.reshape(-1),
            sign,
        )
        numbers = numbers_of(state, moved, rows, sign)
        places = np.full(int(max(state.numbers.max(initial=-1), numbers.max(initial=-1))) + 1, -1)
        places[numbers] = np.arange(len(numbers))
        return Begun(
            TreeChange(self._draws, self._limits, self._data(rows)),
            touched,
            [state.trees[tree] for tree in touched],
            self._draws.roots[touched],
            pairs,
            [self._order(state, tree, rows, places, sign) for tree in touched],
            numbers,
            places,
        )

    def _reads(self, moved: RowSet, again: int) -> int:
        # Growing the forest reads each row in so many trees.
        return len(moved) + -(-again // self._draws.groups)

    def _order(
        self, state: ForestState, number: int, rows: RowSet, places: Places, sign: int
    ) -> Ints:
        """Return the rows that a tree has in the end, in the order of the leaves before."""
        known = state.orders[number]
        if known is not None and sign < 0:
            found = places[known]
            return found[found >= 0].astype(np.int32)
        # New rows have to be sorted in, so all are looked up.
        members = self._draws.rows_of(rows.words, number).astype(np.intp)
        leaves = route(state.trees[number], np.zeros(len(members), np.intp), rows.codes, members)
        return members[np.argsort(leaves, kind="stable")].astype(np.int32)


def _tree_bytes(tree: Nodes) -> bytes:
    return save_tensors({name: getattr(tree, name) for name in KINDS})


def tree_file(number: int) -> str:
    """Return the name of a tree's file."""
    return f"trees/{number:03d}.safetensors"


def _checked(found: dict[str, Tensor], shape: Shape) -> Nodes:
    """Return nodes from a file whose arrays fit each other, so that no index is out of bounds."""
    nodes = Nodes(**found)
    size, own = len(nodes.sizes), int(nodes.has_sums.sum())
    lengths = {len(getattr(nodes, name)) for name in PER_NODE}
    is_good = lengths == {size} and size > 0 and nodes.counts.shape[1] == shape.entries
    is_good = is_good and bool(((nodes.features < shape.features) & (nodes.features >= -1)).all())
    is_good = is_good and len(nodes.lows) == own and len(nodes.left) == own
    if not is_good:
        raise InputError("a file of an exact forest is damaged or belongs to another model")
    return nodes
