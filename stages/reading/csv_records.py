"""The records of CSV text: where they end, and whether its quotes are as RFC 4180 has them.

A reader that takes a stray quote for the beginning of a value reads the rows up to the next quote
as one value. These checks come before any reader.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from unlearn.stages.reading.bit_masks import (
    Mask,
    Positions,
    below,
    count,
    first_of,
    following,
    last_of,
    mask_of,
    odd_up_to,
    positions,
    preceding,
)

_LF, _CR, _BACKSLASH = b"\n\r\\"

_LINE_ENDS = {
    b"\n": "a line feed",
    b"\r\n": "carriage return and line feed",
    b"\r": "a carriage return",
}

_ORDINARY = (
    "if quotes are ordinary characters in this file: `quote: none` below `dataset.csv`, or "
    "`unlearn init` --quote none"
)
_TWICE = f"write a quote within a value twice, and put the value in quotes; {_ORDINARY}"
_NO_ESCAPE = "a backslash does not escape a quote here: write the quote twice"
_MEANT = (
    "if a quote is missing, add it; if line ends are meant, set `multiline: true` below `dataset` "
    f"in params.yaml, or give `unlearn init` --multiline; {_ORDINARY}"
)
_ONE_KIND = (
    "write all lines with the same line end; a carriage return that belongs to a value needs quotes"
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
    quote
        The ASCII character around values; None if there is none.
    known_line_end
        What ends the lines before this piece; None if there are none.
    """

    text: bytes
    delimiter: str
    multiline: bool
    is_last: bool
    quote: str | None = '"'
    known_line_end: bytes | None = None

    @cached_property
    def end(self) -> int:
        """Where the last complete record ends; 0 if there is none."""
        if self.is_last:
            return len(self.text)
        if not self.multiline:
            return max(self.text.rfind(b"\n"), self.text.rfind(b"\r")) + 1
        last = last_of(self._record_ends)
        return 0 if last is None else last + 1

    @cached_property
    def line_end(self) -> bytes | None:
        """What ends the lines of the file; None if there was no line end yet."""
        if self.known_line_end is not None:
            return self.known_line_end
        first = first_of(self._record_ends)
        if first is None:
            return None
        if self._octets[first] == _CR:
            return b"\r"
        return b"\r\n" if first and self._octets[first - 1] == _CR else b"\n"

    @property
    def has_line_ends(self) -> bool:
        """Whether a value has a line end."""
        return self.has_quotes and bool((self._line_ends & ~self._record_ends).any())

    @cached_property
    def records(self) -> int:
        """The number of complete records; blank lines are none."""
        return count(self._record_starts)

    def records_before(self, position: int) -> int:
        """Return the number of records that end before a byte."""
        return int(np.searchsorted(self._bounds[1], position))

    def lines_before(self, position: int) -> int:
        """Return the number of lines that end before a byte."""
        return count(below(self._line_ends, position))

    def start_of(self, record: int) -> int:
        """Return where a record begins; records are counted from 0."""
        return int(self._bounds[0][record])

    def end_of(self, record: int) -> int:
        """Return where a record's line end is."""
        return int(self._bounds[1][record])

    def fields(self) -> npt.NDArray[np.intp]:
        """Return the number of fields of each record, shape (records,)."""
        between = positions(self._mask(ord(self.delimiter)) & ~self._quoted)
        starts, ends = self._bounds
        fields: Positions = np.searchsorted(between, ends) - np.searchsorted(between, starts) + 1
        return fields

    def fault(self) -> Fault | None:
        """Return the first thing that can be understood in two ways; None if there is none."""
        checks: list[Fault | None] = []
        if self._has_returns or self.line_end != b"\n":
            checks.append(self._other_line_end())
        if self.has_quotes:
            checks += [*self._beside_quotes(), self._open()]
        return min(filter(None, checks), key=lambda fault: fault.position, default=None)

    def _other_line_end(self) -> Fault | None:
        """Return a line end of another kind than the first: it may belong to a value."""
        feeds, returns = self._feeds, self._returns
        if self.line_end == b"\n":
            other = returns
        elif self.line_end == b"\r":
            other = feeds
        else:
            other = (feeds & ~following(returns, first=False)) | (returns & ~preceding(feeds))
        position = first_of(other & ~self._quoted)
        if self.line_end is None or position is None:
            return None
        problem = f"its line does not end in {_LINE_ENDS[self.line_end]} as those before"
        return Fault(position, problem, _ONE_KIND)

    def _beside_quotes(self) -> Iterator[Fault]:
        """Yield the first opening quote after other text, and the first closing one before it."""
        outside = ~(self._quoted | self._ends_field)
        if not outside.any():
            return  # every value is in quotes
        opening = first_of(self._quotes & following(outside, first=False) & self._quoted)
        if opening is not None:
            yield Fault(opening, "a quote is in a value that does not begin with one", _TWICE)
        # Bits after the last byte are no text.
        closing = below(self._quotes & ~self._quoted, len(self.text) - 1)
        position = first_of(closing & preceding(outside)[: closing.size])
        if position is not None:
            backslash = self.text[position - 1] == _BACKSLASH
            yield Fault(
                position,
                "text follows the closing quote of a value",
                _NO_ESCAPE if backslash else _TWICE,
            )

    def _open(self) -> Fault | None:
        """Return a value in quotes that has a line end without leave, or no end."""
        if not self.multiline:
            inside = first_of(self._line_ends & self._quoted)
            if inside is not None:
                # The row of its opening quote, and the place of its line end among faults.
                return Fault(inside, "a value in quotes has a line end", _MEANT)
        if self.is_last and count(self._quotes) % 2:
            return Fault(self._opening(), "a quote is never closed", _TWICE)
        return None

    def _opening(self) -> int:
        """Return the opening quote of the last value, which has no closing quote."""
        opening = self._quotes & self._quoted
        return last_of(opening & ~following(self._quotes, first=False)) or 0

    @cached_property
    def _octets(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.text, np.uint8)

    def _mask(self, octet: int) -> Mask:
        return mask_of(self._octets == octet)

    @cached_property
    def _none(self) -> Mask:
        return np.zeros(-(-len(self.text) // 64), np.uint64)

    @cached_property
    def _feeds(self) -> Mask:
        return self._mask(_LF)

    @cached_property
    def _has_returns(self) -> bool:
        return _CR in self.text

    @cached_property
    def _returns(self) -> Mask:
        return self._mask(_CR) if self._has_returns else self._none

    @cached_property
    def has_quotes(self) -> bool:
        """Whether there is a quote."""
        return self.quote is not None and self.quote.encode() in self.text

    @cached_property
    def _quotes(self) -> Mask:
        return self._mask(ord(self.quote)) if self.quote and self.has_quotes else self._none

    @cached_property
    def _quoted(self) -> Mask:
        """Values in quotes, with the opening quote and without the closing one."""
        return odd_up_to(self._quotes) if self.has_quotes else self._quotes

    @cached_property
    def _ends_field(self) -> Mask:
        """What can be next to a value in quotes; another quote is one of two."""
        return self._mask(ord(self.delimiter)) | self._line_octets | self._quotes

    @cached_property
    def _line_ends(self) -> Mask:
        """The last byte of each line end: a line feed, or a carriage return without one."""
        if not self._has_returns:
            return self._feeds
        return self._feeds | (self._returns & ~preceding(self._feeds))

    @cached_property
    def _line_octets(self) -> Mask:
        return self._feeds | self._returns if self._has_returns else self._feeds

    @cached_property
    def _record_ends(self) -> Mask:
        can_differ = self.multiline and self.has_quotes
        return self._line_ends & ~self._quoted if can_differ else self._line_ends

    @cached_property
    def _record_starts(self) -> Mask:
        """The first byte of each record that is no blank line."""
        starts = below(following(self._record_ends, first=True), self.end)
        # A value in quotes begins with a quote: what begins with a line end is a blank line.
        return starts & ~self._line_octets[: starts.size]

    @cached_property
    def _bounds(self) -> tuple[Positions, Positions]:
        """Where records begin, and where their line ends are."""
        starts = positions(self._record_starts)
        ends = np.append(positions(self._record_ends), len(self.text))
        return starts, ends[np.searchsorted(ends, starts)]
