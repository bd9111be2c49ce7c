"""The different texts of a column in one batch, found once for all that `init` asks about them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class DistinctValues:
    """The different texts of a column, and which row has which.

    Attributes
    ----------
    texts
        In the order in which they first appear; missing values are left out.
    places
        Position in `texts` by row, shape (rows,); -1 where the value is missing.
    """

    texts: pa.Array
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, column: pa.ChunkedArray, missing: pa.Array) -> "DistinctValues":
        """Return the different values of a column of text.

        Parameters
        ----------
        column
            Text.
        missing
            Texts that mean a missing value, also with spaces around them.
        """
        encoded = column.combine_chunks().dictionary_encode()
        texts = encoded.dictionary
        places = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
        return cls(texts, places).without(pc.is_in(pc.utf8_trim_whitespace(texts), missing))

    def without(self, gone: pa.BooleanArray) -> "DistinctValues":
        """Return the values with some of `texts` as missing ones: those where `gone` is true."""
        if not pc.any(gone).as_py():
            return self
        kept = pc.invert(gone).to_numpy(zero_copy_only=False)
        # The last one is for the place -1.
        moved = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
        return DistinctValues(self.texts.filter(pa.array(kept)), moved[self.places])

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows have each of `texts`."""
        return np.bincount(self.places[self.places >= 0], minlength=len(self.texts))

    def count(self, some: pa.Array) -> int:
        """Return how many rows have one of some of `texts`."""
        counts = self.counts
        if len(some) < len(self.texts):
            counts = counts[pc.is_in(self.texts, some).to_numpy(zero_copy_only=False)]
        return int(counts.sum())

    def first_row(self, place: int) -> int:
        """Return the first row that has the text at a place, counted from 0."""
        return int(np.argmax(self.places == place))
