"""What a forest keeps for changes, and what a change begins with."""

from dataclasses import dataclass

import numpy as np
from unlearn.stages.estimators.row_sets.draws import Words
from unlearn.stages.estimators.row_sets.forest_change import Moved, TreeChange
from unlearn.stages.estimators.row_sets.forest_nodes import Ints, Nodes, Places
from unlearn.stages.estimators.row_sets.row_set import Bytes, RowSet, find_rows


@dataclass(frozen=True)
class ForestState:
    """A forest and what changes need.

    Parameters
    ----------
    digests
        Sorted digests of the rows, shape (rows, 16).
    trees
        The trees.
    orders
        For each tree, the numbers of its rows, in the order of its leaves; None where they have not
        been looked up. They follow from the rest, and are not saved.
    numbers
        A number for each row, by which `orders` names it. Other rows keep theirs when one goes.
    reads
        Rows that the last change read; see `ReadsOthers`. It is not saved.
    """

    digests: Bytes
    trees: list[Nodes]
    orders: list[Ints | None]
    numbers: Ints
    reads: int = 0


@dataclass(frozen=True)
class Begun:
    """A change before anything is changed.

    Parameters
    ----------
    change
        What changes the trees.
    touched, trees, roots
        Which trees the rows are in, these trees, and the generators' states at their roots.
    pairs
        The rows, once for each of their trees.
    orders
        For each tree, the rows that it has in the end, in the order of the leaves before.
    numbers, places
        Numbers of the rows in the end, and the place of each number; -1 for rows that go.
    """

    change: TreeChange
    touched: Places
    trees: list[Nodes]
    roots: Words
    pairs: Moved
    orders: list[Ints]
    numbers: Ints
    places: Places


def numbers_of(state: ForestState, moved: RowSet, rows: RowSet, sign: int) -> Ints:
    """Return the numbers of the rows in the end: old ones keep theirs."""
    if sign < 0:
        stays = np.ones(len(state.digests), bool)
        stays[find_rows(state.digests, moved.digests)] = False
        return state.numbers[stays]
    is_old = np.ones(len(rows), bool)
    is_old[find_rows(rows.digests, moved.digests)] = False
    numbers = np.empty(len(rows), np.int32)
    numbers[is_old] = state.numbers
    first = int(state.numbers.max(initial=-1)) + 1
    numbers[~is_old] = first + counted(len(moved))
    return numbers


def counted(count: int) -> Ints:
    """Return the numbers from 0 on."""
    return np.arange(count, dtype=np.int32)
