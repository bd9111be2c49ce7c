"""A boosting model, ready to answer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting_draws import Splits, narrow
from unlearn.stages.estimators.row_sets.boosting_growth import leaves_of
from unlearn.stages.estimators.row_sets.boosting_sums import Integers, probabilities
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.estimators.row_sets.target_grid import STEPS

#: Arrays of a model.
MODEL_KINDS = {
    "nonce": ("uint8", 1),
    "cuts": ("uint16", 3),
    "cuts_of_trees": ("int64", 1),
    "features": ("uint16", 3),
    "factors": ("uint8", 3),
    "shifts": ("uint8", 3),
    "widths": ("uint8", 3),
    "starts": ("int64", 1),
    "values": ("int16", 3),
    "importances": ("int64", 1),
}

_TWO = 2


@dataclass(frozen=True)
class BoostingModel:
    """A boosting model, ready to answer.

    Parameters
    ----------
    shape
        What rows look like.
    steps
        Different values of a leaf per unit of log-odds, or of the target's scale.
    cuts, cuts_of_trees
        Sets of cuts of the features, shape (number, features, cuts), and which one a tree has.
    splits
        The splits, by class: each of shape (trees, depth).
    starts
        The score that rows start from, by class.
    leaf_values
        Values of leaves, shape (models, trees, leaves).
    decreases
        How much each feature decreases the loss, shape (features,).
    """

    shape: Shape
    steps: int
    cuts: Codes
    cuts_of_trees: Integers
    splits: list[Splits]
    starts: Integers
    leaf_values: npt.NDArray[np.int16]
    decreases: Integers

    def probabilities(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return class probabilities; with more than two classes, scaled to a sum of 1."""
        if self.shape.classes < _TWO:
            return np.ones((len(codes), self.shape.classes))
        found = probabilities(self.scores(codes), self.steps)
        if self.shape.classes == _TWO:
            return np.hstack([1 - found, found])
        # No score is so low that a probability is 0.
        shares: npt.NDArray[np.float64] = found / found.sum(axis=1, keepdims=True)
        return shares

    def values(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, in the units of the dataset, shape (n,)."""
        if self.shape.target is None:
            raise TypeError("the model predicts classes")
        steps = self.scores(codes)[:, 0].astype(np.float64) * (STEPS / self.steps)
        return self.shape.target.decode(steps)

    def scores(self, codes: Codes) -> Integers:
        """Return log-odds, or numbers in their scale, times `steps`, shape (rows, models)."""
        categorical = np.array(self.shape.categorical, bool)
        found = np.tile(self.starts, (len(codes), 1))
        for number, cuts in enumerate(self.cuts):
            own = narrow(codes.T, cuts, categorical)
            for tree in np.flatnonzero(self.cuts_of_trees == number):
                for model, splits in enumerate(self.splits):
                    values = self.leaf_values[model, tree].astype(np.int64)
                    found[:, model] += values[leaves_of(own, splits, int(tree))]
        return found

    def importances(self) -> npt.NDArray[np.float64]:
        """Return the share of each feature in all decreases of the loss, shape (features,)."""
        total = int(self.decreases.sum())
        found: npt.NDArray[np.float64] = self.decreases / max(total, 1)
        return found
