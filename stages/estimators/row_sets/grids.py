"""Pinned grids: values to codes that depend on no row.

A code is 0 for a missing value. Numbers have `BINS` bins of one width between two pinned ends, and
values outside them are in the first or last bin. Categories have one code each, and unknown ones
share a code.
"""

import hashlib
from collections.abc import Mapping
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

#: Codes of a categorical feature whose categories are not pinned, beside that of missing values.
BUCKETS = 254

#: How many rows have a value at or outside each end of a grid.
OUTSIDE = 20


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
        The pinned categories. None: categories have codes by a keyed hash, and some share one.
    """

    categories: tuple[str, ...] | None

    @property
    def codes(self) -> int:
        """Number of codes, with those of missing and unknown values."""
        return BUCKETS + 1 if self.categories is None else len(self.categories) + 2

    def encode(self, values: pa.ChunkedArray, key: Key) -> Codes:
        """Return codes of texts; null is missing."""
        if self.categories is not None:
            index = pc.index_in(values, pa.array(self.categories, pa.string()))
            index = pc.fill_null(index, len(self.categories))
            index = pc.add(pc.cast(index, pa.int64()), 1)
        else:
            known = pc.unique(values.drop_null())
            subkey = key.subkey("row-set categories")
            buckets = pa.array([_bucket(subkey, text) for text in known.to_pylist()], pa.int64())
            index = pc.take(buckets, pc.index_in(values, known))
        index = pc.if_else(pc.is_null(values), 0, index)
        return np.asarray(index.to_numpy(), np.uint16)


Column = NumericColumn | CategoricalColumn


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
        return tuple(isinstance(column, CategoricalColumn) for column in self.columns.values())

    def encode(self, rows: pa.Table, key: Key) -> Codes:
        """Return the codes of rows, shape (rows, features).

        Parameters
        ----------
        rows
            A table with all features, as shard files have them.
        key
            The project key, for categories that are not pinned.
        """
        found: Codes = np.empty((rows.num_rows, len(self.columns)), np.uint16)
        for at, (name, column) in enumerate(self.columns.items()):
            if isinstance(column, CategoricalColumn):
                found[:, at] = column.encode(pc.cast(rows[name], pa.string()), key)
            else:
                values = pc.fill_null(pc.cast(rows[name], pa.float64()), np.nan)
                found[:, at] = column.encode(values.to_numpy())
        return found


def column_of(
    kind: FeatureKind, ends: tuple[float, float], categories: tuple[str, ...] | None
) -> Column:
    """Return the grid of one feature.

    Parameters
    ----------
    kind
        Its kind in schema.yaml.
    ends
        The pinned ends, for numbers and dates.
    categories
        The pinned categories, for categorical features; None where there are none.
    """
    if kind == "boolean":
        return CategoricalColumn(("false", "true"))
    return CategoricalColumn(categories) if kind == "categorical" else NumericColumn(*ends)


def find_ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return ends of a grid for these values; to be pinned once, before any model is trained.

    They are the 20th smallest and the 20th largest value, rounded to two digits. So no end is
    a value of the row that is smallest or largest.

    Parameters
    ----------
    values
        Finite values of at least 40 rows. With fewer, or where both ends are one number, the grid
        is one unit wide at least, or as wide as powers of ten that hold all values.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2 * OUTSIDE:
        bound = _power_of_ten(float(np.abs(known).max())) if len(known) else 1.0
        return -bound, bound
    ordered = np.sort(known)
    low, high = (two_digits(float(ordered[at])) for at in (OUTSIDE - 1, -OUTSIDE))
    return (low, high) if low < high else (low, low + max(1.0, abs(low)))


def two_digits(value: float) -> float:
    """Return a number rounded to two significant digits."""
    return float(f"{value:.1e}")


def _power_of_ten(value: float) -> float:
    power = 1.0
    while power < value:
        power *= 10
    return power


def _bucket(subkey: bytes, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=subkey).digest()
    return int.from_bytes(digest, "big") % BUCKETS + 1


def check_columns(columns: Mapping[str, Column]) -> None:
    """Raise ValueError if ends are in the wrong order, or categories are too many or not unique."""
    for name, column in columns.items():
        if isinstance(column, NumericColumn):
            if not (np.isfinite([column.low, column.high]).all() and column.low < column.high):
                raise ValueError(f"grid of {name!r}: low must be less than high")
        elif column.categories is not None:
            if column.codes > BINS + 1:
                raise ValueError(f"grid of {name!r}: more than {BINS - 1} categories")
            ordered = sorted(column.categories)
            if any(first == second for first, second in pairwise(ordered)):
                raise ValueError(f"grid of {name!r}: a category is named twice")
