"""Pinned grids: values to codes that depend on no row.

A code is 0 for a missing value. Numbers have `BINS` bins of one width between two pinned ends, and
values outside them are in the first or last bin. Categories have one code each, and unknown ones
share a code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.dataset import NUMBER_KINDS
from unlearn.stages.estimators.row_sets.code_columns import (
    BINS,
    CalendarColumn,
    CategoricalColumn,
    Column,
    HashedColumn,
    NumericColumn,
    OrdinalColumn,
    WordsColumn,
)
from unlearn.stages.estimators.row_sets.row_set import Codes
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Key

#: How many rows have a value at or outside each end of a grid.
OUTSIDE = 20

#: With few rows, the ends of a grid are so many times the middle one of the magnitudes, or more.
_TIMES_MIDDLE = 4

#: Ends of a grid are no farther out, so that its width is a number.
_FARTHEST = 1e307


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
        """Number of codes of each column of codes; most features have one."""
        return tuple(size for column in self.columns.values() for size in column.sizes)

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Which columns of codes have no order."""
        return tuple(each for column in self.columns.values() for each in column.categorical)

    def encode(self, rows: pa.Table) -> Codes:
        """Return the codes of rows, shape (rows, columns of codes).

        Parameters
        ----------
        rows
            A table with all features, as shard files have them.
        """
        found: Codes = np.empty((rows.num_rows, len(self.sizes)), np.uint16)
        at = 0
        for name, column in self.columns.items():
            width = len(column.sizes)
            column.write(rows[name], found[:, at : at + width])
            at += width
        return found


def make_grid(layout: Layout, ends: Mapping[str, Sequence[float]], key: Key) -> Grid:
    """Return the grids of features, by what is pinned alone.

    Parameters
    ----------
    layout
        The features, and what is pinned of them; categories that are not pinned are hashed.
    ends
        Both ends of the grid by feature, for numbers and dates.
    key
        The project key.

    Raises
    ------
    ValueError
        If a number has no ends, ends are in the wrong order, or there are too many categories.
    """
    columns = {name: _column(layout, name, ends.get(name), key) for name in layout.features}
    check_columns(columns)
    return Grid(columns)


def _column(layout: Layout, name: str, ends: Sequence[float] | None, key: Key) -> Column:
    kind, pinned = layout.features[name], layout.categories.get(name)
    if kind in NUMBER_KINDS:
        if ends is None:
            raise ValueError(f"no range is given for {name!r}")
        low, high = map(float, ends)
        return CalendarColumn(low, high) if kind == "calendar" else NumericColumn(low, high)
    if kind == "boolean":
        return CategoricalColumn(("false", "true"))
    if kind == "hashed_text":
        return WordsColumn(layout.hashed_columns[name])
    if pinned is None:
        return HashedColumn(key.digest("row-set categories", name.encode()).hex())
    return OrdinalColumn(pinned) if kind == "ordinal" else CategoricalColumn(pinned)


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


def check_columns(columns: Mapping[str, Column]) -> None:
    """Raise ValueError if ends are in the wrong order, or categories are too many or not unique."""
    for name, column in columns.items():
        if isinstance(column, NumericColumn | CalendarColumn):
            if not (np.isfinite(column.high - column.low) and column.low < column.high):
                raise ValueError(f"grid of {name!r}: low must be less than high")
        elif isinstance(column, CategoricalColumn | OrdinalColumn):
            if column.sizes[0] > BINS + 1:
                raise ValueError(f"grid of {name!r}: more than {BINS - 1} categories")
            ordered = sorted(column.categories)
            if any(first == second for first, second in pairwise(ordered)):
                raise ValueError(f"grid of {name!r}: a category is named twice")
