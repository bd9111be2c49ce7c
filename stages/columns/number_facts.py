"""What `init` finds in columns of numbers: row numbers, and numbers that mean a missing value."""

import math
from collections import Counter
from collections.abc import Callable
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

    def see_texts(
        self, values: pa.Array, numbers: pa.Array, count: Callable[[pa.Array], int]
    ) -> None:
        """Take different texts that are numbers into account.

        Parameters
        ----------
        values, numbers
            The texts, and the number that each is.
        count
            Returns how many rows have one of some of the texts.
        """
        for number in self._see(numbers):
            self.counts[number] += count(values.filter(pc.equal(numbers, number)))

    def see_numbers(self, column: pa.ChunkedArray) -> None:
        """Take a column of numbers into account."""
        numbers = pc.cast(column, pa.float64(), safe=False)
        for number in self._see(numbers):
            self.counts[number] += pc.sum(pc.equal(numbers, number)).as_py()

    def _see(self, numbers: pa.Array | pa.ChunkedArray) -> list[float]:
        """Take numbers into account; return those that can mean a missing value."""
        least, largest = _bounds(numbers)
        found: list[float] = []
        # Most columns have no number that is so far from 0.
        if max(-least, largest) >= min(map(abs, _NINES)):
            is_nines = pc.fill_null(pc.is_in(numbers, pa.array(_NINES)), fill_value=False)
            if pc.any(is_nines).as_py():
                found = pc.unique(numbers.filter(is_nines)).to_pylist()
                least, largest = _bounds(numbers.filter(pc.invert(is_nines)))
        self.low, self.high = min(self.low, least), max(self.high, largest)
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


def _bounds(numbers: pa.Array | pa.ChunkedArray) -> tuple[float, float]:
    """Return the least and the largest finite number; of none, infinity and its negative."""
    found = pc.min_max(numbers).as_py()
    least, largest = found["min"], found["max"]
    if least is None:
        return math.inf, -math.inf
    if math.isfinite(least) and math.isfinite(largest):
        return least, largest
    return _bounds(numbers.filter(pc.is_finite(numbers)))


def plain_numbers(values: pa.Array) -> pa.Array | None:
    """Return texts as float64; None if one is no finite number, or one that only Python reads."""
    try:
        numbers = pc.cast(pc.utf8_trim_whitespace(values), pa.float64())
    except pa.ArrowInvalid:
        return None
    return numbers if pc.all(pc.is_finite(numbers)).as_py() else None


def any_numbers(values: pa.Array) -> pa.Array:
    """Return texts that are numbers, with a decimal point or comma, as float64."""
    numbers = plain_numbers(pc.replace_substring(values, ",", "."))
    if numbers is None:  # forms that only Python reads, such as +1
        texts = values.to_pylist()
        return pa.array([float(text.replace(",", ".")) for text in texts], pa.float64())
    return numbers


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
