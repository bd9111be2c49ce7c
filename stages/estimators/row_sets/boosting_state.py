"""Sums over rows that the model of one class follows from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.boosting_draws import Narrow
from unlearn.stages.estimators.row_sets.boosting_growth import Structure
from unlearn.stages.estimators.row_sets.boosting_sums import Integers, Pairs
from unlearn.stages.estimators.row_sets.row_set import Bytes, Codes


@dataclass(frozen=True)
class ClassRows:
    """Rows as the model of one class reads them.

    Parameters
    ----------
    codes
        Returns narrow codes by one set of cuts, given its number.
    labels
        1 for rows of the class, 0 for others, or the numbers to predict, shape (rows,).
    """

    codes: Callable[[int], Narrow]
    labels: Integers


@dataclass
class ClassState:
    """Sums over rows from which a model follows. Its arrays are changed in place.

    Parameters
    ----------
    counts
        Rows that are not of the class, and rows that are; or of numbers, the rows and the sum.
    structure
        The splits of all trees.
    roots
        Sums over all rows at the guide's scores, shape (stages,).
    guide_sums, guide_values
        Of the guide's leaves, shape (stages, nodes); values in steps of the leaf values.
    leaf_sums, leaf_values
        Of the leaves, shape (trees, leaves).
    """

    counts: Integers
    structure: Structure
    roots: Pairs
    guide_sums: Pairs
    guide_values: Integers
    leaf_sums: Pairs
    leaf_values: Integers


@dataclass(frozen=True)
class Moves:
    """What a change of sums moves.

    Parameters
    ----------
    levels
        The first level of each tree whose split moves; `depth` where none does, shape (trees,).
    guide
        Whether the guide's values move, by stage.
    leaves
        Whether leaf values move, by tree.
    """

    levels: Integers
    guide: npt.NDArray[np.bool_]
    leaves: npt.NDArray[np.bool_]


def empty_state(options: ExactBoostingOptions, candidates: int, guide_depth: int) -> ClassState:
    """Return a state with arrays of the right shapes.

    Parameters
    ----------
    options
        The settings.
    candidates
        Candidates of a level.
    guide_depth
        Levels of the guide's trees.
    """
    trees, leaves = options.trees, 2**options.depth
    guide = (-(-trees // options.stage), 2**guide_depth)
    return ClassState(
        np.zeros(2, np.int64),
        Structure(
            np.zeros((trees, options.depth), np.intp),
            np.zeros((trees, leaves - 1, candidates), np.int64),
            np.zeros((trees, options.depth, candidates), np.int64),
        ),
        np.zeros(guide[0], np.int64),
        np.zeros(guide, np.int64),
        np.zeros(guide, np.int64),
        np.zeros((trees, leaves), np.int64),
        np.zeros((trees, leaves), np.int64),
    )


@dataclass(frozen=True)
class BoostingState:
    """Sums over a set of rows.

    Parameters
    ----------
    digests
        Sorted digests of the rows, shape (rows, 16).
    code_counts
        How many rows have each code; see `CommonCodes.count`.
    cuts
        Cuts between codes, which follow from the counts; see `BoostingDraws.cuts`. They are not
        saved with the state.
    classes
        The state of each class's model; with two classes there is one, that of the second.
    reads
        Rows that the last change read; see `ReadsOthers`. It is not saved.
    """

    digests: Bytes
    code_counts: Integers
    cuts: Codes
    classes: list[ClassState]
    reads: int = 0
