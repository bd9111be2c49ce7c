"""What a forest draws from the key: which trees a row is in, and the candidate splits of a node."""

from dataclasses import dataclass

import numpy as np
from unlearn.stages.config.row_sets import ExactForestOptions
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.draws import Words, below, secret_words, words_of
from unlearn.stages.estimators.row_sets.forest_nodes import RING, Ints, Mask, Places
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.rows.tokens import Key

#: Words of a node's generator: those of its children, then two for each candidate.
_LEFT, _RIGHT, _CANDIDATES = 1, 2, 3


@dataclass(frozen=True)
class Candidates:
    """Splits that were drawn for nodes, each array of shape (candidates, nodes).

    Parameters
    ----------
    features
        The feature.
    factors, offsets
        How its codes become positions; see `forest_nodes.positions`.
    shares
        Where the cut is between the least and the greatest position of the node's rows, in 2**-32.
    """

    features: Places
    factors: Codes
    offsets: Codes
    shares: Words

    def cuts(self, lows: Codes, highs: Codes) -> Codes:
        """Return the cuts, given the ends; both sides have rows where the ends differ."""
        return cuts_between(self.shares, lows, highs)

    def chosen(self, candidates: Places, nodes: Places) -> "Candidates":
        """Return single ones as candidates of as many nodes, one of each."""
        return Candidates(
            self.features[candidates, nodes][None, :],
            self.factors[candidates, nodes][None, :],
            self.offsets[candidates, nodes][None, :],
            self.shares[candidates, nodes][None, :],
        )


def cuts_between(shares: Words, lows: Codes, highs: Codes) -> Codes:
    """Return cuts: at least the low end, and below the high end where that is another."""
    widths = (highs - lows).astype(np.uint64)
    return lows + ((shares * widths) >> np.uint64(32)).astype(np.uint16)


class ForestDraws:
    """Everything that is drawn for a forest.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    options
        The forest's settings.
    """

    def __init__(self, key: Key, shape: Shape, options: ExactForestOptions) -> None:
        self._shape = shape
        #: Candidate splits of a node.
        self.per_node = options.candidates
        # Trees are in as many groups as a row has trees; a row is in one tree of each group.
        self.groups = int(np.ceil(options.share * options.trees))
        self.first_trees = np.arange(self.groups + 1) * options.trees // self.groups
        #: The generators' states at the roots, shape (trees,).
        self.roots = secret_words(key, options.trees, "exact_forest", "tree")
        self._of_groups = secret_words(key, self.groups, "exact_forest", "rows")
        self._categorical = np.array(shape.categorical, bool)

    def trees_of(self, words: Words, group: int) -> Places:
        """Return the one tree of a group that each row is in.

        Parameters
        ----------
        words
            The first bytes of the rows' digests; see `RowSet.words`.
        group
            The group's number.
        """
        first, last = int(self.first_trees[group]), int(self.first_trees[group + 1])
        return first + below(words_of(words ^ self._of_groups[group], 1), last - first).astype(
            np.intp
        )

    def all_trees_of(self, words: Words) -> Places:
        """Return all trees that each row is in, shape (rows, groups)."""
        numbers = below(words_of(words[:, None] ^ self._of_groups, 1), np.diff(self.first_trees))
        found: Places = self.first_trees[:-1] + numbers.astype(np.intp)
        return found

    def sub_forests(self, words: Words) -> Places:
        """Return sub-forests for each row, each with one tree of each group.

        The first is of the trees that the row is in, and the others are of trees that it is not in.
        Which is the first follows from the row's digest alone: for a row that no tree has seen, all
        of them are alike.

        Parameters
        ----------
        words
            The first bytes of the rows' digests; see `RowSet.words`.

        Returns
        -------
        numpy.ndarray
            Numbers of trees, shape (rows, sub-forests, groups). There are as many sub-forests as
            the smallest group has trees.
        """
        firsts, sizes = self.first_trees[:-1], np.diff(self.first_trees)
        own = self.all_trees_of(words) - firsts
        steps = np.arange(int(sizes.min()))[:, None]
        found: Places = firsts + (own[:, None] + steps) % sizes
        return found

    def rows_of(self, words: Words, tree: int) -> Ints:
        """Return the rows of a tree, in their order."""
        group = int(np.searchsorted(self.first_trees, tree, "right")) - 1
        return np.flatnonzero(self.trees_of(words, group) == tree).astype(np.int32)

    def children(self, states: Words, to_left: Mask) -> Words:
        """Return the states at the children of nodes, on one side of each."""
        return words_of(states, np.where(to_left, _LEFT, _RIGHT).astype(np.uint64))

    def candidates(self, states: Words) -> Candidates:
        """Return the candidate splits of nodes, given their generators' states."""
        numbers = np.arange(self.per_node, dtype=np.uint64)[:, None] * np.uint64(2)
        first = words_of(states, numbers + np.uint64(_CANDIDATES))
        second = words_of(states, numbers + np.uint64(_CANDIDATES + 1))
        features = below(first, self._shape.features).astype(np.intp)
        is_category = self._categorical[features]
        low_bits = second.astype(np.uint16)
        other_bits = (second >> np.uint64(16)).astype(np.uint16)
        return Candidates(
            features,
            np.where(is_category, low_bits | np.uint16(1), np.uint16(1)),
            np.where(is_category, other_bits, (other_bits & np.uint16(1)) * RING),
            first & np.uint64(0xFFFFFFFF),
        )
