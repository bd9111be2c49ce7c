"""Codes that many rows have, which boosting can split from their neighbours.

Which codes these are is the only thing that cuts learn from rows. It seldom changes: a code has
to pass a limit, and the limits are drawn from the key.
"""

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.draws import Words, secret_words, words_of
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.rows.tokens import Key

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

#: A code is common from a share of all rows on that is drawn for it, from 1 / 2,048 to 1 / 1,024.
_SCALE, _BITS = 11, 16

#: It also has this share of the rows of the codes around it, so many of them on either side. So
#: no code of a smooth distribution is common.
_SHARE_OF_PART, _AROUND = 4, 8

#: Fewer rows never make a code common.
_LEAST_ROWS = 20


class CommonCodes:
    """Which codes of features with an order many rows have.

    Amounts often have values that many rows share, close to each other. Cuts that are drawn without
    a look at the rows are seldom between these.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    """

    def __init__(self, key: Key, shape: Shape) -> None:
        self.features = np.flatnonzero(~np.array(shape.categorical, bool))
        self._sizes = np.array(shape.sizes, np.intp)[self.features]
        self._width = int(self._sizes.max(initial=1))
        state = secret_words(key, 1, "exact_boosting", "common codes")
        count = len(self.features) * self._width
        words = words_of(state, np.arange(1, count + 1, dtype=np.uint64))
        self._words: Words = words.reshape(len(self.features), self._width)
        self._shares = (1 << _BITS) + (self._words >> np.uint64(64 - _BITS)).astype(np.int64)

    @property
    def limits(self) -> npt.NDArray[np.float64]:
        """The share of all rows from which on a code is common, by feature and code."""
        found: npt.NDArray[np.float64] = self._shares / 2.0 ** (_SCALE + _BITS)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of counts: features with an order, and codes."""
        return self._words.shape

    def count(self, codes: Codes) -> Integers:
        """Return how many rows have each code, shape (features with an order, codes).

        Parameters
        ----------
        codes
            Codes of rows, shape (rows, features).
        """
        found = np.empty(self._words.shape, np.int64)
        for at, feature in enumerate(self.features):
            found[at] = np.bincount(codes[:, feature], minlength=self._width)
        return found

    def among(self, counts: Integers, rows: int) -> Flags:
        """Tell which codes are common.

        Parameters
        ----------
        counts
            What `count` returns.
        rows
            Number of rows.
        """
        is_common: Flags = counts << (_SCALE + _BITS) >= rows * self._shares
        is_common &= counts >= _LEAST_ROWS
        # Code 0 is a missing value.
        is_common[:, 0] = False
        # Sums over parts are differences of running sums, which are padded at both ends.
        before = np.pad(np.cumsum(counts[:, 1:], axis=1), ((0, 0), (_AROUND + 2, 0)))
        before = np.pad(before, ((0, 0), (0, _AROUND)), mode="edge")
        around = before[:, 2 * _AROUND + 1 :] - before[:, : -2 * _AROUND - 1]
        is_common &= counts * _SHARE_OF_PART >= around
        return is_common

    def edges(self, is_common: Flags) -> dict[int, Codes]:
        """Return the cuts on both sides of common codes, in a drawn order, by feature."""
        found = {}
        for at, feature in enumerate(self.features):
            codes = np.flatnonzero(is_common[at])
            cuts = np.union1d(codes - 1, codes)
            cuts = cuts[(cuts >= 1) & (cuts < self._sizes[at] - 1)]
            found[int(feature)] = cuts[np.argsort(self._words[at, cuts])].astype(np.uint16)
        return found
