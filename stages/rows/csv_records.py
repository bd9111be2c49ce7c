"""The records of CSV text: where they end, and whether its quotes are as RFC 4180 has them.

A reader that takes a stray quote for the beginning of a value reads the rows up to the next quote
as one value. These checks come before any reader.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

_Positions = npt.NDArray[np.intp]

_QUOTE, _LF, _CR, _BACKSLASH = b'"\n\r\\'

_TWICE = "write a quote within a value twice, and put the value in quotes"
_MEANT = (
    "if a quote is missing, add it; if line ends are meant, set `multiline: true` below `dataset` "
    "in params.yaml, or give `unlearn init` --multiline"
)


@dataclass(frozen=True)
class Fault:
    """Something in CSV text that can be understood in two ways.

    Parameters
    ----------
    position
        The byte where it is.
    problem, hint
        What is wrong, and what to do about it. Neither has text of the row.
    """

    position: int
    problem: str
    hint: str


@dataclass(frozen=True)
class CsvText:
    """A piece of CSV text that begins with a record.

    Parameters
    ----------
    text
        UTF-8.
    delimiter
        One ASCII character.
    multiline
        Whether values in quotes may have line ends.
    is_last
        Whether the file ends here.
    """

    text: bytes
    delimiter: str
    multiline: bool
    is_last: bool

    @property
    def end(self) -> int:
        """Where the last complete record ends; 0 if there is none."""
        if self.is_last:
            return len(self.text)
        return int(self._record_ends[-1]) + 1 if self._record_ends.size else 0

    @property
    def has_line_ends(self) -> bool:
        """Whether a value has a line end."""
        return self._record_ends.size < self._line_ends.size

    @property
    def records(self) -> int:
        """The number of complete records; blank lines are none."""
        return int(self._bounds[0].size)

    def records_before(self, position: int) -> int:
        """Return the number of records that end before a byte."""
        return int(np.searchsorted(self._bounds[1], position))

    def lines_before(self, position: int) -> int:
        """Return the number of lines that end before a byte."""
        return int(np.searchsorted(self._line_ends, position))

    def start_of(self, record: int) -> int:
        """Return where a record begins; records are counted from 0."""
        return int(self._bounds[0][record])

    def end_of(self, record: int) -> int:
        """Return where a record's line end is."""
        return int(self._bounds[1][record])

    def fields(self) -> npt.NDArray[np.intp]:
        """Return the number of fields of each record, shape (records,)."""
        delimiters = self._at(ord(self.delimiter))
        between = delimiters[self._quotes_before(delimiters) % 2 == 0]
        starts, ends = self._bounds
        fields: _Positions = np.searchsorted(between, ends) - np.searchsorted(between, starts) + 1
        return fields

    def fault(self) -> Fault | None:
        """Return the first thing that can be understood in two ways; None if there is none."""
        found = [fault for fault in (self._stray(), self._text_after(), self._open()) if fault]
        return min(found, key=lambda fault: fault.position, default=None)

    def _stray(self) -> Fault | None:
        # Of quotes that are all in their places, every second one begins or continues a value.
        opening = self._quotes[::2]
        before = self._octets[opening - 1]
        allowed = self._ends_field(before)
        allowed[:1] |= opening[:1] == 0
        return _first(
            opening[~allowed], "a quote is in a value that does not begin with one", _TWICE
        )

    def _text_after(self) -> Fault | None:
        closing = self._quotes[1::2]
        if closing.size and closing[-1] + 1 == len(self.text):
            closing = closing[:-1]
        bad = closing[~self._ends_field(self._octets[closing + 1])]
        hint = _TWICE
        if bad.size and self._octets[bad[0] - 1] == _BACKSLASH:
            hint = "a backslash does not escape a quote here: write the quote twice"
        return _first(bad, "text follows the closing quote of a value", hint)

    def _open(self) -> Fault | None:
        """Return a value in quotes that has a line end without leave, or no end."""
        if not self.multiline:
            inside = self._line_ends[self._quotes_before(self._line_ends) % 2 == 1]
            if inside.size:
                # The row of its opening quote, and the place of its line end among faults.
                return Fault(int(inside[0]), "a value in quotes has a line end", _MEANT)
        if self.is_last and self._quotes.size % 2:
            return Fault(self._opening(), "a quote is never closed", _TWICE)
        return None

    def _opening(self) -> int:
        """Return the opening quote of the last value, which has no closing quote."""
        opening = self._quotes[::2]
        doubled = (opening > 0) & (self._octets[opening - 1] == _QUOTE)
        return int(opening[~doubled][-1])

    def _ends_field(self, octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which bytes can be next to a value in quotes; another quote is one of two."""
        # Four comparisons are several times faster than numpy.isin.
        found: npt.NDArray[np.bool_] = octets == ord(self.delimiter)
        for octet in (_LF, _CR, _QUOTE):
            found |= octets == octet
        return found

    def _quotes_before(self, positions: _Positions) -> _Positions:
        if not self._quotes.size:
            return np.zeros(positions.size, np.intp)
        found: _Positions = np.searchsorted(self._quotes, positions)
        return found

    def _at(self, octet: int) -> _Positions:
        if octet not in self.text:
            return np.empty(0, np.intp)
        found: _Positions = np.flatnonzero(self._octets == octet)
        return found

    @cached_property
    def _octets(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.text, np.uint8)

    @cached_property
    def _quotes(self) -> _Positions:
        return self._at(_QUOTE)

    @cached_property
    def _line_ends(self) -> _Positions:
        """The last byte of each line end: a line feed, or a carriage return without one."""
        feeds = self._at(_LF)
        returns = self._at(_CR)
        if not returns.size:
            return feeds
        # A return that is the very last byte of the file ends a line, too.
        following = np.minimum(returns + 1, len(self.text) - 1)
        return np.sort(np.concatenate([feeds, returns[self._octets[following] != _LF]]))

    @cached_property
    def _record_ends(self) -> _Positions:
        if not self.multiline:
            return self._line_ends
        outside: _Positions = self._line_ends[self._quotes_before(self._line_ends) % 2 == 0]
        return outside

    @cached_property
    def _bounds(self) -> tuple[_Positions, _Positions]:
        """Where records begin, and where their line ends are."""
        ends = self._record_ends
        if self.is_last and (not ends.size or ends[-1] + 1 < len(self.text)):
            ends = np.append(ends, len(self.text))
        starts = np.concatenate([np.zeros(1, np.intp), ends[:-1] + 1])[: ends.size]
        first = self._octets[np.minimum(starts, len(self.text) - 1)] if self.text else starts
        blank = (starts == ends) | ((starts + 1 == ends) & (first == _CR))
        return starts[~blank], ends[~blank]


def _first(positions: _Positions, problem: str, hint: str) -> Fault | None:
    return Fault(int(positions[0]), problem, hint) if positions.size else None
