"""Models to compare with that need no training: parts of a forest, and models of sums.

A row is in some trees of a forest only. The trees that it is in are compared with as many trees
that it is not in. A forest that forgot the row, or never had it, answers with all of them alike.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.row_sets.forest import ExactForest
from unlearn.stages.estimators.row_sets.forest_model import ForestModel
from unlearn.stages.estimators.row_sets.row_set import first_words
from unlearn.stages.estimators.row_sets.target_grid import STEPS
from unlearn.stages.estimators.spec import RowSetTraining
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import ShardRows
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.verify.membership.answers import ReferenceLogits
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.calibrated import MIN_REFERENCES


def has_parts(recipe: Recipe) -> bool:
    """Return whether models of these settings have enough parts that a row is not in."""
    training = find_spec(recipe.train.model).training
    if not isinstance(training, RowSetTraining):
        return False
    estimator = ShardRows(recipe, "").estimator
    if not isinstance(estimator, ExactForest):
        return False
    return int(np.diff(estimator.draws.first_trees).min()) > MIN_REFERENCES


def cheap_references(recipe: Recipe) -> int:
    """Return how many reference models are trained where params.yaml asks for none."""
    training = find_spec(recipe.train.model).training
    return training.references if isinstance(training, RowSetTraining) else 0


def parts_of(recipe: Recipe, shard: str, folder: Path) -> "Parts":
    """Return the parts of a shard's forest.

    Parameters
    ----------
    recipe, shard
        The settings, for which `has_parts`, and the shard's name.
    folder
        The shard model's folder.
    """
    own = ShardRows(recipe, shard)
    weights = read_shard_model(folder, shard).weights
    if weights is None or not isinstance(own.estimator, ExactForest):
        raise TypeError("only a forest with rows has parts")
    return Parts(own, own.estimator, own.estimator.predictor(weights))


@dataclass(frozen=True)
class Parts:
    """Sub-forests of a shard's forest; see `Comparison`.

    Parameters
    ----------
    shard
        Reads rows as the forest does.
    estimator, model
        The forest.
    """

    shard: ShardRows
    estimator: ExactForest
    model: ForestModel

    def compare(self, rows: pa.Table, *, trained: bool) -> ReferenceLogits:
        """Return the logits of the trees that a row is in, and of as many other trees.

        Where numbers are predicted, these are residuals; see `ComparedRows`.

        Parameters
        ----------
        rows
            A table of the recipe's layout.
        trained
            Makes no difference: for rows outside of the shard, the trees count that they would be
            in.
        """
        del trained
        digests, codes, targets = self.shard.in_order(rows)
        places, grid = np.arange(len(codes)), self.model.shape.target
        trees = [
            self.model.tree_probabilities(codes, tree)[places, targets]
            if grid is None
            else (self.model.tree_steps(codes, tree) - targets) / STEPS
            for tree in range(len(self.model.ends))
        ]
        sub_forests = self.estimator.draws.sub_forests(first_words(digests))
        by_tree = np.stack(trees, axis=1) if len(codes) else np.zeros((0, len(trees)))
        found = by_tree[places[:, None, None], sub_forests]
        logits = _logits(found) if grid is None else found.mean(axis=-1)
        usable = np.ones((len(codes), logits.shape[1] - 1), dtype=bool)
        return ReferenceLogits(logits[:, 1:], usable, logits[:, 0])


def _logits(right: Floats) -> Floats:
    """Return the logit of the mean probability of few trees, with half a tree for either answer.

    Few trees often agree: without it, many logits would be infinite.
    """
    trees = right.shape[-1]
    found: Floats = right.sum(axis=-1) + 0.5
    scaled: Floats = np.log(found) - np.log(trees + 1 - found)
    return scaled
