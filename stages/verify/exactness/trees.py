"""Whether a model of trees is that of its rows, by fitting some of its trees again.

A tree is fitted given the trees before it as the state has them, so that a check costs a share of a
training. What follows from the trees, which is all else, is made again and compared to the byte.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.row_sets.base import TreeEstimator
from unlearn.stages.estimators.spec import RowSetTraining
from unlearn.stages.training.lineage import Lineage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import ShardRows, fitted_of, state_files
from unlearn.stages.training.slices import plan_shard, shard_of_set


@dataclass(frozen=True)
class TreesFound:
    """What came of it.

    Parameters
    ----------
    matched
        Trees that came out the same.
    problems
        A sentence for each mismatch.
    seconds
        How long fitting them took.
    """

    matched: int
    problems: tuple[str, ...]
    seconds: float = 0.0


#: Checks a shard model by fitting trees of it again; see `check_trees`.
Refit = Callable[[Recipe, Lineage, pa.Table, Path, list[int]], TreesFound]


def trees_of(recipe: Recipe) -> int:
    """Return how many trees each model of these settings has; 0 if it has none."""
    if not isinstance(find_spec(recipe.train.model).training, RowSetTraining):
        return 0
    estimator = ShardRows(recipe, "").estimator
    return estimator.tree_count if isinstance(estimator, TreeEstimator) else 0


def check_trees(
    recipe: Recipe, lineage: Lineage, rows: pa.Table, folder: Path, trees: list[int]
) -> TreesFound:
    """Fit trees of a shard model again, and compare all of its files.

    Parameters
    ----------
    recipe
        The settings.
    lineage
        Of the shard model.
    rows
        The rows that it should be of.
    folder
        The shard model's folder.
    trees
        Numbers of the trees, ascending; if these are all trees, the model is fitted as a whole.
    """
    shard = folder.name
    own = ShardRows(recipe, shard)
    estimator, wanted = own.estimator, own.of(rows)
    if not isinstance(estimator, TreeEstimator):
        raise TypeError("only models of trees are checked tree by tree")
    try:
        state = estimator.load(state_files(folder, lineage))
    except InputError as error:
        return TreesFound(0, (f"{shard}: its state: {error.message}",))
    if not np.array_equal(estimator.row_digests(state), wanted.digests):
        problem = f"{shard}: its state is not of its rows without the forgotten ones"
        return TreesFound(0, (problem,))
    if not estimator.counts_rows(state, wanted):
        return TreesFound(0, (f"{shard}: its trees do not have the rows that they should have",))
    started = time.perf_counter()
    whole = estimator.fit(wanted) if len(trees) == estimator.tree_count else None
    again = (
        estimator.refit_trees(state, wanted, trees)
        if whole is None
        else ((tree, estimator.tree_bytes(whole, tree)) for tree in trees)
    )
    matched = sum(content == estimator.tree_bytes(state, tree) for tree, content in again)
    seconds = time.perf_counter() - started
    problems = []
    if matched < len(trees):
        problems.append(f"{shard}: fitting trees again from its rows gives other trees")
    work = plan_shard(recipe, shard, rows, folder=None)
    made = shard_of_set(recipe, work, fitted_of(recipe, own, state if whole is None else whole))
    if not all(_holds(folder / name, content) for name, content in made.files.items()):
        problems.append(f"{shard}: its files are not those that its rows and its trees give")
    return TreesFound(matched, tuple(problems), seconds)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
