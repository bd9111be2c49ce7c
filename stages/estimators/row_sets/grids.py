"""Pinned grids: values to codes that depend on no row.

A code is 0 for a missing value. Numbers have `BINS` bins of one width between two pinned ends, and
values outside them are in the first or last bin. Categories have one code each, and unknown ones
share a code.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.rows.tokens import Key

#: Bins of a numeric feature. Their codes are 1 to BINS, so that all codes have 12 bits.
BINS = 4095

#: Codes of a feature whose categories are not pinned, without that of missing values.
BUCKETS = 254

#: How many rows have a value at or outside each end of a grid.
OUTSIDE = 20

#: With few rows, the ends of a grid are so many times the middle one of the magnitudes, or more.
_TIMES_MIDDLE = 4

#: Ends of a grid are no farther out, so that its width is a number.
_FARTHEST = 1e307


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


@dataclass(frozen=True)
class CategoricalColumn:
    """A categorical feature.

    Parameters
    ----------
    categories
        The pinned categories.
    """

    categories: tuple[str, ...]

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


@dataclass(frozen=True)
class HashedColumn:
    """A categorical feature whose categories are not pinned: a keyed hash gives each its code.

    Parameters
    ----------
    secret
        What the hash is keyed with, in hex: a subkey, from which nothing else can be derived.
    """

    secret: str

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


Column = NumericColumn | CategoricalColumn | HashedColumn


@dataclass(frozen=True)
class Grid:
    """The grids of all features.

    Parameters
    ----------
    columns
        By feature, in order.
    """

    columns: Mapping[str, Column]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each feature."""
        return tuple(column.codes for column in self.columns.values())

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Which features have codes without an order."""
        return tuple(not isinstance(column, NumericColumn) for column in self.columns.values())

    def encode(self, rows: pa.Table) -> Codes:
        """Return the codes of rows, shape (rows, features).

        Parameters
        ----------
        rows
            A table with all features, as shard files have them.
        """
        found: Codes = np.empty((rows.num_rows, len(self.columns)), np.uint16)
        for at, (name, column) in enumerate(self.columns.items()):
            if isinstance(column, NumericColumn):
                values = pc.fill_null(pc.cast(rows[name], pa.float64()), np.nan)
                found[:, at] = column.encode(values.to_numpy())
            else:
                found[:, at] = column.encode(pc.cast(rows[name], pa.string()))
        return found


def make_grid(
    features: Mapping[str, FeatureKind],
    ends: Mapping[str, Sequence[float]],
    pinned: Mapping[str, Sequence[str]],
    key: Key,
) -> Grid:
    """Return the grids of features, by what is pinned alone.

    Parameters
    ----------
    features
        Kind by feature.
    ends
        Both ends of the grid by feature, for numbers and dates.
    pinned
        Categories by feature; others are hashed.
    key
        The project key.

    Raises
    ------
    ValueError
        If a number has no ends, ends are in the wrong order, or there are too many categories.
    """
    columns: dict[str, Column] = {}
    for name, kind in features.items():
        if kind == "boolean":
            columns[name] = CategoricalColumn(("false", "true"))
        elif kind == "categorical" and name in pinned:
            columns[name] = CategoricalColumn(tuple(pinned[name]))
        elif kind == "categorical":
            columns[name] = HashedColumn(key.digest("row-set categories", name.encode()).hex())
        elif name in ends:
            columns[name] = NumericColumn(float(ends[name][0]), float(ends[name][1]))
        else:
            raise ValueError(f"no range is given for {name!r}")
    check_columns(columns)
    return Grid(columns)


def find_ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return ends of a grid for these values; to be pinned once, before any model is trained.

    They are the 20th smallest and the 20th largest value, rounded to two digits. So no end is
    a value of the row that is smallest or largest.

    Parameters
    ----------
    values
        The values of all rows. Of fewer than 40 finite ones, the ends are a power of ten and its
        negative: the least one that is four times the middle one of the magnitudes. So one row that
        is far from the others does not decide it either. A grid whose ends would be one number is
        one unit wide, or as wide as this number if that is more.
    """
    known = np.clip(values[np.isfinite(values)], -_FARTHEST, _FARTHEST)
    if len(known) < 2 * OUTSIDE:
        middle = np.sort(np.abs(known))[len(known) // 2] if len(known) else 0.0
        bound = min(_power_of_ten(_TIMES_MIDDLE * float(middle)), _FARTHEST)
        return -bound, bound
    ordered = np.sort(known)
    low, high = (two_digits(float(ordered[at])) for at in (OUTSIDE - 1, -OUTSIDE))
    return (low, high) if low < high else (low, low + max(1.0, abs(low)))


def two_digits(value: float) -> float:
    """Return a number rounded to two significant digits."""
    return float(f"{value:.1e}")


def _power_of_ten(value: float) -> float:
    """Return the least power of ten that is at least a value; 1 for 0."""
    exponent = 0
    while float(f"1e{exponent}") < value:
        exponent += 1
    while 0 < value <= float(f"1e{exponent - 1}"):
        exponent -= 1
    return float(f"1e{exponent}")


def _bucket(secret: bytes, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=secret).digest()
    return int.from_bytes(digest, "big") % BUCKETS + 1


def check_columns(columns: Mapping[str, Column]) -> None:
    """Raise ValueError if ends are in the wrong order, or categories are too many or not unique."""
    for name, column in columns.items():
        if isinstance(column, NumericColumn):
            if not (np.isfinite(column.high - column.low) and column.low < column.high):
                raise ValueError(f"grid of {name!r}: low must be less than high")
        elif isinstance(column, CategoricalColumn):
            if column.codes > BINS + 1:
                raise ValueError(f"grid of {name!r}: more than {BINS - 1} categories")
            ordered = sorted(column.categories)
            if any(first == second for first, second in pairwise(ordered)):
                raise ValueError(f"grid of {name!r}: a category is named twice")
