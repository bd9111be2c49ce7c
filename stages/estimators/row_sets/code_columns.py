"""How a feature becomes codes, by what is pinned of it alone.

A code is 0 for a missing value. Most features have one column of codes.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.estimators.date_parts import MONTHS, WEEKDAYS, weekday_and_month
from unlearn.stages.estimators.hashed_text import present
from unlearn.stages.estimators.row_sets.row_set import Codes

#: Bins of a numeric feature. Their codes are 1 to BINS, so that all codes have 12 bits.
BINS = 4095

#: Codes of a feature whose categories are not pinned, without that of missing values.
BUCKETS = 254


@dataclass(frozen=True)
class NumericColumn:
    """A numeric feature.

    Parameters
    ----------
    low, high
        The pinned ends; low is less than high.
    """

    low: float
    high: float
    categorical: ClassVar[tuple[bool, ...]] = (False,)

    @property
    def codes(self) -> int:
        """Number of codes, with that of missing values."""
        return BINS + 1

    def encode(self, values: npt.NDArray[np.float64]) -> Codes:
        """Return codes of numbers; NaN is missing."""
        with np.errstate(over="ignore", invalid="ignore"):
            bins = np.floor((values - self.low) / (self.high - self.low) * BINS)
            found = np.clip(bins, 0, BINS - 1) + 1
        found[np.isnan(values)] = 0
        return found.astype(np.uint16)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each column of codes: there is one."""
        return (self.codes,)

    def write(self, values: pa.ChunkedArray, out: Codes) -> None:
        """Write the codes of numbers into an array, shape (rows, 1)."""
        out[:, 0] = self.encode(_numbers(values))


@dataclass(frozen=True)
class CategoricalColumn:
    """A categorical feature.

    Parameters
    ----------
    categories
        The pinned categories.
    """

    categories: tuple[str, ...]
    categorical: ClassVar[tuple[bool, ...]] = (True,)

    @property
    def codes(self) -> int:
        """Number of codes, with those of missing and unknown values."""
        return len(self.categories) + 2

    def encode(self, values: pa.ChunkedArray) -> Codes:
        """Return codes of texts; null is missing."""
        index = pc.index_in(values, pa.array(self.categories, pa.string()))
        index = pc.add(pc.cast(pc.fill_null(index, len(self.categories)), pa.int64()), 1)
        index = pc.if_else(pc.is_null(values), 0, index)
        return np.asarray(index.to_numpy(), np.uint16)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each column of codes: there is one."""
        return (self.codes,)

    def write(self, values: pa.ChunkedArray, out: Codes) -> None:
        """Write the codes of values into an array, shape (rows, 1)."""
        out[:, 0] = self.encode(pc.cast(values, pa.string()))


@dataclass(frozen=True)
class HashedColumn:
    """A categorical feature whose categories are not pinned: a keyed hash gives each its code.

    Parameters
    ----------
    secret
        What the hash is keyed with, in hex: a subkey, from which nothing else can be derived.
    """

    secret: str
    categorical: ClassVar[tuple[bool, ...]] = (True,)

    @property
    def codes(self) -> int:
        """Number of codes, with that of missing values."""
        return BUCKETS + 1

    def encode(self, values: pa.ChunkedArray) -> Codes:
        """Return codes of texts; null is missing."""
        known, secret = pc.unique(values.drop_null()), bytes.fromhex(self.secret)
        buckets = pa.array([_bucket(secret, text) for text in known.to_pylist()], pa.int64())
        index = pc.take(buckets, pc.index_in(values, known))
        return np.asarray(pc.fill_null(index, 0).to_numpy(), np.uint16)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each column of codes: there is one."""
        return (self.codes,)

    def write(self, values: pa.ChunkedArray, out: Codes) -> None:
        """Write the codes of values into an array, shape (rows, 1)."""
        out[:, 0] = self.encode(values)


@dataclass(frozen=True)
class CalendarColumn:
    """Dates: bins of the number that they are, the weekday and the month.

    Parameters
    ----------
    low, high
        The pinned ends of the bins, in seconds since 1970; low is less than high.
    """

    low: float
    high: float
    categorical: ClassVar[tuple[bool, ...]] = (False, True, True)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each column of codes."""
        return (BINS + 1, WEEKDAYS + 1, MONTHS + 1)

    def write(self, values: pa.ChunkedArray, out: Codes) -> None:
        """Write the codes of dates into an array, shape (rows, 3)."""
        seconds = _numbers(values)
        out[:, 0] = NumericColumn(self.low, self.high).encode(seconds)
        weekday, month = weekday_and_month(seconds)
        out[:, 1], out[:, 2] = weekday + 1, month + 1


@dataclass(frozen=True)
class OrdinalColumn:
    """Values with an order.

    Parameters
    ----------
    categories
        All values, from the least to the greatest.
    """

    categories: tuple[str, ...]
    categorical: ClassVar[tuple[bool, ...]] = (False,)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes, with that of missing values."""
        return (len(self.categories) + 1,)

    def write(self, values: pa.ChunkedArray, out: Codes) -> None:
        """Write the codes of values into an array, shape (rows, 1)."""
        index = pc.cast(pc.index_in(values, pa.array(self.categories, pa.string())), pa.int64())
        out[:, 0] = pc.fill_null(pc.add(index, 1), 0).to_numpy()


@dataclass(frozen=True)
class WordsColumn:
    """A text: whether it has a word of each column that words are hashed to.

    Parameters
    ----------
    columns
        How many.
    """

    columns: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each column: missing, without such a word, with one."""
        return (3,) * self.columns

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Whether codes have no order: they have one."""
        return (False,) * self.columns

    def write(self, values: pa.ChunkedArray, out: Codes) -> None:
        """Write the codes of texts into an array, shape (rows, columns)."""
        out[:] = present(values, self.columns)
        out += 1
        out[values.is_null().to_numpy()] = 0


Column = (
    NumericColumn | CategoricalColumn | HashedColumn | CalendarColumn | OrdinalColumn | WordsColumn
)


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(pc.fill_null(pc.cast(values, pa.float64()), np.nan).to_numpy())


def _bucket(secret: bytes, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=secret).digest()
    return int.from_bytes(digest, "big") % BUCKETS + 1
