"""What `init` finds in columns of numbers: row numbers, and numbers that mean a missing value."""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: A column that numbers fewer rows may well have another meaning.
_FEWEST_ROWS = 20

#: Numbers that files of surveys and sensors have for a missing value.
_NINES = tuple(sign * (10.0**digits - 1) for digits in range(2, 8) for sign in (-1, 1))

#: In so many rows at least, and one of so many, such a number is no coincidence.
_FEWEST, _ONE_OF = 3, 200


@dataclass
class NumberFacts:
    """What a pass over one column of numbers found.

    Attributes
    ----------
    low, high
        The least and the largest number that cannot mean a missing value.
    counts
        Rows by number that can.
    rows
        How many rows there are.
    numberings
        What the rows may be numbered by: from 0 or 1 on, in each file or in all.
    """

    low: float = math.inf
    high: float = -math.inf
    counts: Counter[float] = field(default_factory=Counter)
    rows: int = 0
    numberings: set[tuple[str, int]] = field(
        default_factory=lambda: {(scope, start) for scope in ("file", "all") for start in (0, 1)}
    )

    def see_texts(self, values: pa.Array, column: pa.ChunkedArray) -> None:
        """Take the distinct texts of a column that are numbers into account."""
        numbers = _parsed(values)
        for number in self._see(numbers):
            same = values.filter(pc.equal(numbers, number))
            self.counts[number] += pc.sum(pc.is_in(column, same)).as_py()

    def see_numbers(self, column: pa.ChunkedArray) -> None:
        """Take a column of numbers into account."""
        numbers = pc.cast(column, pa.float64(), safe=False)
        for number in self._see(numbers):
            self.counts[number] += pc.sum(pc.equal(numbers, number)).as_py()

    def _see(self, numbers: pa.Array | pa.ChunkedArray) -> list[float]:
        """Take numbers into account; return those that can mean a missing value."""
        is_nines = pc.is_in(numbers, pa.array(_NINES))
        found: list[float] = []
        if pc.any(is_nines).as_py():
            found = pc.unique(numbers.filter(is_nines)).to_pylist()
            numbers = numbers.filter(pc.invert(is_nines))
        least = pc.min_max(numbers.filter(pc.is_finite(numbers))).as_py()
        if least["min"] is not None:
            self.low = min(self.low, least["min"])
            self.high = max(self.high, least["max"])
        return found

    def see_rows(self, column: pa.ChunkedArray, in_file: int, in_all: int) -> None:
        """Compare a column with the numbers of its rows.

        Parameters
        ----------
        column
            As read.
        in_file, in_all
            How many rows are before these in the file, and in all files.
        """
        self.rows += len(column)
        if not self.numberings or not len(column):
            return
        numbers = _whole(column)
        counted = np.arange(len(column))
        before = {"file": in_file, "all": in_all}
        self.numberings = {
            (scope, start)
            for scope, start in self.numberings
            if numbers is not None and np.array_equal(numbers, counted + before[scope] + start)
        }

    @property
    def are_row_numbers(self) -> bool:
        """Whether the numbers are those of the rows."""
        return bool(self.numberings) and self.rows >= _FEWEST_ROWS

    def far_nines(self) -> dict[float, int]:
        """Return the rows by number that is frequent, and farther away than the others are wide."""
        if self.low > self.high:
            return {}
        return {
            number: count
            for number, count in sorted(self.counts.items())
            if count >= max(_FEWEST, self.rows / _ONE_OF)
            and max(self.low - number, number - self.high) > self.high - self.low
        }


def _parsed(values: pa.Array) -> pa.Array:
    """Return numbers as text, with a decimal point or comma, as float64."""
    trimmed = pc.replace_substring(pc.utf8_trim_whitespace(values), ",", ".")
    try:
        return pc.cast(trimmed, pa.float64())
    except pa.ArrowInvalid:  # forms that only Python reads, such as +1
        return pa.array([float(text) for text in trimmed.to_pylist()], pa.float64())


def _whole(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    """Return a column as whole numbers; None if they are none, or one is missing."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    try:
        # Of most columns the first value tells already.
        pc.cast(column[:1], pa.int64())
        numbers = None if column.null_count else pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        return None
    return None if numbers is None else np.asarray(numbers.to_numpy(), dtype=np.int64)
