"""What boosting draws from the key: cuts of numbers, candidate splits, and dither."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting_cuts import CommonCodes, Flags
from unlearn.stages.estimators.row_sets.draws import Words, below, secret_words, words_of
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.rows.tokens import Key

#: Codes in 8 bits, shape (features, rows); see `narrow`.
Narrow = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

#: Narrow codes of a feature.
WIDTH = 256

#: Cuts that are drawn for a feature with an order, and how many trees share them. With few, all
#: trees would be blind between the same two cuts.
_CUTS, _TREES_PER_CUTS = 250, 20

#: How many of them follow from the key alone, at least.
_LEAST_DRAWN = 100

#: Half of all narrow codes: how many a random set of categories has.
_HALF_OF_CODES = 127

_CUT, _FEATURES, _CANDIDATES, _LEAVES, _GUIDE, _BASE = (
    "cuts",
    "features",
    "candidates",
    "leaves",
    "guide",
    "base",
)


@dataclass(frozen=True)
class Splits:
    """Splits of rows into left and right, each array of one shape.

    A row goes left if `code * factor - shift`, modulo 256, is at most `width`. So one form has the
    codes up to a cut, with or without missing values, a single category, and a random half of them.

    Parameters
    ----------
    features
        The feature.
    factors, shifts, widths
        As above.
    """

    features: Places
    factors: Narrow
    shifts: Narrow
    widths: Narrow

    def chosen(self, candidates: Places) -> "Splits":
        """Return one candidate of each level of each tree, shape (trees, depth).

        Parameters
        ----------
        candidates
            Their numbers, shape (trees, depth). Arrays here have the shape
            (trees, depth, candidates).
        """
        trees, levels = np.ogrid[: candidates.shape[0], : candidates.shape[1]]
        at = (trees, levels, candidates)
        return Splits(self.features[at], self.factors[at], self.shifts[at], self.widths[at])

    def go_left(self, codes: Narrow) -> npt.NDArray[np.bool_]:
        """Tell for codes, one for each split or broadcast, whether they go left."""
        left: npt.NDArray[np.bool_] = codes * self.factors - self.shifts <= self.widths
        return left


class BoostingDraws:
    """Everything that is drawn for one model; models of all classes share splits.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    options
        The settings.
    """

    def __init__(self, key: Key, shape: Shape, options: ExactBoostingOptions) -> None:
        self._key = key
        self._options = options
        self._sizes = np.array(shape.sizes, np.int64)
        self._categorical = np.array(shape.categorical, bool)
        #: Features of a tree, each with as many candidates in a level.
        self.slots = min(options.features, shape.features)
        #: For each tree, which cuts it has. They are the same in all trees of a stage.
        self.cuts_of_trees = _cuts_of_trees(options)
        #: Which codes have cuts on both sides.
        self.common = CommonCodes(key, shape)
        #: Cuts between codes that follow from the key alone, shape (number, features, cuts).
        self._drawn = self._draw_cuts(shape.features)
        #: Candidates of each level of each tree, shape (trees, depth, slots * candidates).
        self.candidates = self._draw_candidates(shape.features)

    @property
    def shape_of_cuts(self) -> tuple[int, ...]:
        """How many sets of cuts, features, and cuts of a feature."""
        return self._drawn.shape

    def cuts(self, is_common: Flags) -> Codes:
        """Return cuts between codes, shape (number, features, cuts).

        Parameters
        ----------
        is_common
            What `CommonCodes.among` returns.
        """
        found = self._drawn.copy()
        for feature, edges in self.common.edges(is_common).items():
            if len(edges):
                # Few are repeated, so that they are candidates as often as many are.
                found[:, feature, _LEAST_DRAWN:] = np.resize(edges, _CUTS - _LEAST_DRAWN)
        found.sort(axis=2)
        return found

    def narrow(self, columns: Codes, cuts: Codes) -> Narrow:
        """Return codes in 8 bits by one set of cuts; see `narrow`."""
        return narrow(columns, cuts, self._categorical)

    def dither(self, number: int) -> tuple[Floats, Floats, float]:
        """Return what is added before values are rounded down, from 0 to below 1.

        Parameters
        ----------
        number
            The class whose model it is.

        Returns
        -------
        tuple
            For leaves, shape (trees, leaves), for nodes of the guide, shape (stages, leaves) of
            which it uses the first, and for the score that all rows start from.
        """
        leaves, trees = 2**self._options.depth, self._options.trees
        stages = -(-trees // self._options.stage)
        return (
            _fractions(self._words((trees, leaves), _LEAVES, number)),
            _fractions(self._words((stages, leaves), _GUIDE, number)),
            float(_fractions(self._words((1,), _BASE, number))[0]),
        )

    def _words(self, shape: tuple[int, ...], *parts: str | int) -> Words:
        state = secret_words(self._key, 1, "exact_boosting", *parts)
        count = int(np.prod(shape))
        return words_of(state, np.arange(1, count + 1, dtype=np.uint64)).reshape(shape)

    def _draw_cuts(self, features: int) -> Codes:
        """Draw cuts: half of them evenly, the others near the ends, where many values may be.

        How far these are from an end is drawn on a scale of powers of two.
        """
        number = int(self.cuts_of_trees[-1]) + 1
        words = self._words((number, features, _CUTS, 3), _CUT)
        most = np.maximum(self._sizes - 2, 1)[:, None].astype(np.uint64)
        even = below(words[..., 0], most)
        bits = np.array([int(size).bit_length() for size in most[:, 0]], np.uint64)[:, None]
        power = np.uint64(1) << below(words[..., 1], bits)
        near = np.minimum(power - np.uint64(1) + below(words[..., 0], power), most - np.uint64(1))
        kind = below(words[..., 2], 4)
        low = np.where(kind < np.uint64(2), even, near)
        # The least cut is above code 1: code 0 is a missing value.
        cuts = np.where(kind == np.uint64(3), most - low, low + np.uint64(1))
        found: Codes = cuts.astype(np.uint16)
        return found

    def _draw_candidates(self, features: int) -> Splits:
        options = self._options
        places = (options.trees, options.depth)
        # A tree has the same features in all levels, so that a level's sums give half of the next.
        order = np.argsort(self._words((places[0], features), _FEATURES), axis=-1, kind="stable")
        of_trees = np.repeat(order[:, : self.slots], options.candidates, axis=-1)
        slots = np.repeat(of_trees[:, None], options.depth, axis=1)
        words = self._words((*slots.shape, 2), _CANDIDATES)
        flags = words[..., 1]
        is_category = self._categorical[slots]
        codes = np.minimum(self._sizes, WIDTH)[slots].astype(np.uint64)
        category = below(words[..., 0], codes).astype(np.uint8)
        # One of the bits above those that any number below uses.
        flag = (flags & np.uint64(1)).astype(bool)
        factors = np.where(is_category & flag, (flags >> np.uint64(8)).astype(np.uint8) | 1, 1)
        shift_of_set = (flags >> np.uint64(16)).astype(np.uint8)
        shifts = np.where(is_category, np.where(flag, shift_of_set, category), flag)
        cut = 1 + below(words[..., 0], _CUTS).astype(np.uint8)
        widths = np.where(is_category, np.where(flag, _HALF_OF_CODES, 0), cut - flag)
        return Splits(
            slots.astype(np.intp),
            factors.astype(np.uint8),
            shifts.astype(np.uint8),
            widths.astype(np.uint8),
        )


def _cuts_of_trees(options: ExactBoostingOptions) -> Places:
    stages = np.arange(options.trees) // options.stage
    return (stages // max(1, _TREES_PER_CUTS // options.stage)).astype(np.intp)


def narrow(columns: Codes, cuts: Codes, categorical: npt.NDArray[np.bool_]) -> Narrow:
    """Return codes in 8 bits, shape (features, rows).

    Parameters
    ----------
    columns
        Codes of rows on the pinned grid, shape (features, rows).
    cuts
        Cuts of the features with an order, shape (features, cuts).
    categorical
        Which features have none. Those of more than 256 codes share some.
    """
    found: Narrow = np.empty(columns.shape, np.uint8)
    for at, (column, own) in enumerate(zip(columns, cuts, strict=True)):
        if categorical[at]:
            found[at] = column
            if int(column.max(initial=0)) >= WIDTH:
                found[at] = np.where(column < WIDTH, column, 1 + (column - 1) % (WIDTH - 1))
        else:
            # Each code once, or each row.
            most = int(column.max(initial=0)) + 1
            every = column if len(column) < most else np.arange(most, dtype=np.uint16)
            table = np.searchsorted(own, every, "left") + 1
            table[every == 0] = 0
            narrowed = table.astype(np.uint8)
            found[at] = narrowed if every is column else np.take(narrowed, column)
    return found


def _fractions(words: Words) -> Floats:
    return (words >> np.uint64(11)).astype(np.float64) / 2.0**53
