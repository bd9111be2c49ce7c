"""A forest, ready to answer."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.forest_nodes import Nodes, Places, find_leaves
from unlearn.stages.estimators.row_sets.row_set import Codes


@dataclass(frozen=True)
class ForestModel:
    """A forest, ready to answer.

    Parameters
    ----------
    shape
        What rows look like.
    nodes
        The nodes of all trees.
    ends
        Where each tree ends.
    """

    shape: Shape
    nodes: Nodes
    ends: npt.NDArray[np.int64]

    def probabilities(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return the shares of the classes in a row's leaves, averaged over the trees."""
        found = np.zeros((len(codes), self.shape.classes))
        for tree in range(len(self.ends)):
            found += self.tree_probabilities(codes, tree)
        return found / len(self.ends)

    def tree_probabilities(self, codes: Codes, tree: int) -> npt.NDArray[np.float64]:
        """Return the shares of the classes in a row's leaf of one tree."""
        nodes, leaves = self._leaves(codes, tree)
        counts = self.nodes.counts[nodes]
        sizes = counts.sum(axis=1, keepdims=True)
        even = 1 / self.shape.classes
        # There are fewer nodes than rows, so the division is by node.
        shares: npt.NDArray[np.float64] = np.where(sizes > 0, counts / np.maximum(sizes, 1), even)
        return shares.take(leaves, axis=0)

    def values(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return the mean numbers in a row's leaves, averaged over the trees, shape (n,)."""
        if self.shape.target is None:
            raise TypeError("the model predicts classes")
        found = np.zeros(len(codes))
        for tree in range(len(self.ends)):
            found += self.tree_steps(codes, tree)
        return self.shape.target.decode(found / len(self.ends))

    def tree_steps(self, codes: Codes, tree: int) -> npt.NDArray[np.float64]:
        """Return the mean number in a row's leaf of one tree, in steps of the target's grid.

        A tree without rows answers with the pinned centre, which is 0.
        """
        nodes, leaves = self._leaves(codes, tree)
        counts = self.nodes.counts[nodes]
        means: npt.NDArray[np.float64] = counts[:, 1] / np.maximum(counts.sum(axis=1), 1)
        return means.take(leaves)

    def _leaves(self, codes: Codes, tree: int) -> tuple[slice, Places]:
        """Return where the nodes of a tree are, and the leaf of each row among them."""
        first = 0 if tree == 0 else int(self.ends[tree - 1])
        of_tree = slice(first, int(self.ends[tree]))
        return of_tree, find_leaves(self.nodes, of_tree, codes)

    def importances(self) -> npt.NDArray[np.float64]:
        """Return the share of each feature in all decreases of the loss, shape (features,).

        The loss is the Gini impurity, or the squared error of numbers. A decrease counts as often
        as the node has rows.
        """
        nodes = self.nodes
        split = np.flatnonzero(nodes.features >= 0)
        left = split + 1
        if self.shape.target is None:
            decreases = self._decreases_of_impurity(split, left, left + nodes.sizes[left])
        else:
            decreases = self._decreases_of_error(left, left + nodes.sizes[left])
        found = np.array(
            [
                math.fsum(decreases[nodes.features[split] == feature])
                for feature in range(self.shape.features)
            ]
        )
        total = math.fsum(found)
        return found / total if total > 0 else found

    def _decreases_of_impurity(
        self, split: Places, left: Places, right: Places
    ) -> npt.NDArray[np.float64]:
        counts = self.nodes.counts.astype(np.int64)
        rows = np.maximum(counts.sum(axis=1), 1)
        purity: npt.NDArray[np.float64] = (counts * counts).sum(axis=1) / rows
        return purity[left] + purity[right] - purity[split]

    def _decreases_of_error(self, left: Places, right: Places) -> npt.NDArray[np.float64]:
        rows, sums = self.nodes.rows.astype(np.float64), self.nodes.counts[:, 1]
        apart = sums[left] / rows[left] - sums[right] / rows[right]
        found: npt.NDArray[np.float64] = (
            apart * apart * rows[left] * rows[right] / (rows[left] + rows[right])
        )
        return found
