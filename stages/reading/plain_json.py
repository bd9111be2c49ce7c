"""Lines of JSON as almost all programs write them, many at a time.

Plain lines are objects with the same fields in the same order, whose values are texts, numbers,
`true`, `false` or `null`. What is left of them without the names of the fields
is CSV, which Arrow reads. Whatever is not plain, or not JSON, is left to Python's own parser.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from unlearn.stages.reading.bit_masks import (
    Mask,
    Positions,
    below,
    count,
    following,
    mask_of,
    odd_up_to,
    positions,
    preceding,
)

_QUOTE, _BACKSLASH, _SPACE, _FEED, _COLON, _COMMA, _OPEN, _CLOSE = b'"\\ \n:,{}'

#: The signs between names and values; lists are not plain.
_SIGNS = b"{}[]:,\n"

_ZERO, _MINUS, _PLUS, _POINT = b"0-+."
_TEN = 10

#: The exponent of a number, in lower case, and what makes a letter so.
_EXPONENT, _LOWER = ord("e"), 0x20

#: Stands for a quote within a text: no text has this character.
_INSTEAD = "\x01"

#: Bytes of `false`.
_LONGEST_WORD = 5


@dataclass(frozen=True)
class PlainLines:
    """Lines of JSON, if they are plain.

    Parameters
    ----------
    text
        Whole lines; the last one ends with a line feed as well.
    known_fields
        What `fields` returned for these lines before, which takes half of the time.
    """

    text: bytes
    known_fields: list[str] | None = None

    @cached_property
    def fields(self) -> list[str] | None:
        """The names of the fields of every line; None if the lines are not plain.

        The values were not looked at.
        """
        if self.known_fields is not None:
            return self.known_fields
        if self._has_controls or not self._has_colons_and_line_ends():
            return None
        end = self.text.find(b"\n") + 1
        first = self._fields_of(self.text[:end])
        if first is None:
            return None
        # Line by line the same names, each with the sign before it.
        names = self._names & ~self._spaces
        found = self._octets.compress(self._flags(names)).tobytes()
        once = found[: count(below(names, end))]
        return first if found == once * self.rows else None

    @property
    def _has_controls(self) -> bool:
        """Whether there is a control character but for line ends."""
        controls = np.count_nonzero(self._octets < _SPACE)
        return bool(controls > np.count_nonzero(self._octets == _FEED))

    def _has_colons_and_line_ends(self) -> bool:
        """Return whether each name ends with a colon, and a line begins and ends with a brace."""
        ends = self._structure & ~self._names
        opening, closing = (self._equal(brace) & self._structure for brace in (_OPEN, _CLOSE))
        starts = below(following(self._feeds, first=True), len(self.text))
        return not (
            (self._feeds & self._inside).any()
            or (ends & ~(self._feeds | self._equal(_COLON))).any()
            or (following(closing, first=False) ^ self._feeds).any()
            or (starts ^ opening).any()
            or (self._escaped.size > 0 and (self._equal(_BACKSLASH) & ~self._inside).any())
        )

    def _fields_of(self, line: bytes) -> list[str] | None:
        try:
            pairs = json.loads(line, object_pairs_hook=list)
        except (ValueError, RecursionError):
            return None
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            return None
        names = [name for name, _ in pairs]
        return names if names and len(set(names)) == len(names) else None

    @cached_property
    def rows(self) -> int:
        """The number of lines."""
        return count(self._feeds)

    def table(self, columns: list[str]) -> pa.Table | None:
        """Return some of the fields as text; None if the lines are not plain, or not JSON."""
        if self.fields is None or not self._ends_are_ends() or not self._words_are_values():
            return None
        # Without names, and with colons as delimiters: one stands before the first value.
        values = self._without_escaped_quotes.compress(self._flags(~(self._names | self._spaces)))
        names = ["", *(f"x{number}" for number in range(len(self.fields)))]
        known = dict(zip(self.fields, names[1:], strict=True))
        wanted = [known[column] for column in columns if column in known]
        try:
            table = pacsv.read_csv(
                pa.BufferReader(pa.py_buffer(values)),
                read_options=pacsv.ReadOptions(
                    column_names=names, block_size=values.size + 1, use_threads=False
                ),
                parse_options=pacsv.ParseOptions(delimiter=":", double_quote=False),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=["null"],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    check_utf8=not self.text.isascii(),
                    include_columns=wanted or names[1:2],
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != self.rows:
            return None
        try:
            found = {name: self._unescaped(table[known[name]]) for name in columns if name in known}
        except ValueError:
            return None
        nothing = pa.chunked_array([pa.nulls(self.rows, pa.string())])
        return pa.table({column: found.get(column, nothing) for column in columns})

    def _unescaped(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return texts without their escapes; a ValueError says that some is none."""
        if not self._escaped.size:
            return column
        has_escapes = pc.fill_null(pc.match_substring(column, "\\"), fill_value=False)
        texts = column.filter(has_escapes).to_pylist()
        if not texts:
            return column
        quoted = ",".join(f'"{text}"' for text in texts).replace(_INSTEAD, '"')
        values = pa.array(json.loads(f"[{quoted}]"), pa.string())
        mask = has_escapes.combine_chunks()
        return pa.chunked_array([pc.replace_with_mask(column.combine_chunks(), mask, values)])

    def _ends_are_ends(self) -> bool:
        """Return whether each value is one text, or has no quote, and none is empty."""
        beside = self._structure | self._spaces
        opening, closing = self._quotes & self._inside, self._quotes & ~self._inside
        colons = self._structure & ~self._names & ~self._feeds
        after = following(colons, first=False)
        return not (
            (self._spaces & ~following(self._structure, first=True)).any()
            or (opening & ~following(beside, first=False)).any()
            or (closing & ~preceding(self._structure)).any()
            or (after & self._structure).any()
            or (following(after & self._spaces, first=False) & self._structure).any()
        )

    def _words_are_values(self) -> bool:
        """Return whether all values without quotes are numbers, `true`, `false` or `null`."""
        words = below(
            ~(self._names | self._spaces | self._structure | self._inside | self._quotes),
            len(self.text),
        )
        if not words.any():
            return True
        starts = words & following(self._structure | self._spaces, first=False)
        # Below zero, bytes without a sign are large.
        digits = mask_of((self._octets - _ZERO) < _TEN) & words
        minus, plus, points = (self._equal(sign) & words for sign in (_MINUS, _PLUS, _POINT))
        after, before = following(digits, first=False), preceding(digits)
        exponents = mask_of((self._octets | _LOWER) == _EXPONENT) & words & after
        after_exponent = following(exponents, first=False)
        first_digits = digits & (starts | following(minus & starts, first=False))
        zeros = self._equal(_ZERO) & first_digits
        if (
            (minus & ~((starts | after_exponent) & before)).any()
            or (plus & ~(after_exponent & before)).any()
            or (points & ~(after & before)).any()
            or (exponents & ~(before | preceding(minus | plus))).any()
            or (zeros & before).any()
        ):
            return False
        if not self._has_each_once(points, exponents):
            return False
        letters = words & ~(digits | minus | plus | points | exponents)
        return not letters.any() or self._are_words(starts & letters, count(letters))

    def _has_each_once(self, points: Mask, exponents: Mask) -> bool:
        """Return whether no number has two points or exponents, or a point after its exponent."""
        marks = points | exponents
        if not marks.any():
            return True
        signs = self._octets.compress(self._flags(marks | self._structure))
        point, exponent = signs == _POINT, (signs | _LOWER) == _EXPONENT
        again = (point[1:] & (point | exponent)[:-1]) | (exponent[1:] & exponent[:-1])
        return not again.any()

    def _are_words(self, starts: Mask, letters: int) -> bool:
        """Return whether `true`, `false` and `null` are at these places, and no other letters."""
        places = positions(starts)
        if places.size == 0 or places[-1] > self._octets.size - _LONGEST_WORD - 1:
            return False
        found = self._octets[places[:, None] + np.arange(4)].view("S4")[:, 0]
        is_false = found == b"fals"
        lengths = np.where(is_false, _LONGEST_WORD, 4)
        known = (found == b"null") | (found == b"true") | is_false
        after = self._octets[places + lengths]
        ends = (after == _COMMA) | (after == _CLOSE)
        fifth = ~is_false | (self._octets[places + 4] == ord("e"))
        return bool((known & ends & fifth).all()) and int(lengths.sum()) == letters

    @cached_property
    def _octets(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.text, np.uint8)

    def _equal(self, octet: int) -> Mask:
        return mask_of(self._octets == octet)

    @cached_property
    def _feeds(self) -> Mask:
        return self._equal(_FEED)

    @cached_property
    def _escaped(self) -> Positions:
        """The bytes after a backslash that is not itself after one."""
        if b"\\" not in self.text:
            return np.zeros(0, np.intp)
        found = np.flatnonzero(self._octets == _BACKSLASH)
        is_first = np.diff(found, prepend=-2) != 1
        before = np.maximum.accumulate(np.where(is_first, found, 0))
        escaped: Positions = found[(found - before) % 2 == 0] + 1
        return escaped

    @cached_property
    def _without_escaped_quotes(self) -> npt.NDArray[np.uint8]:
        """The text with another byte for each quote that is no end of a text."""
        if not self._escaped.size:
            return self._octets
        changed = self._octets.copy()
        changed[self._escaped[changed[self._escaped] == _QUOTE]] = ord(_INSTEAD)
        return changed

    def _flags(self, mask: Mask) -> npt.NDArray[np.bool_]:
        bits = np.unpackbits(mask.view(np.uint8), count=self._octets.size, bitorder="little")
        return bits.view(np.bool_)

    @cached_property
    def _quotes(self) -> Mask:
        return mask_of(self._without_escaped_quotes == _QUOTE)

    @cached_property
    def _inside(self) -> Mask:
        """Texts, with the opening quote and without the closing one."""
        return odd_up_to(self._quotes)

    @cached_property
    def _structure(self) -> Mask:
        found = self._equal(_SIGNS[0])
        for sign in _SIGNS[1:]:
            found |= self._equal(sign)
        return found & ~self._inside

    @cached_property
    def _names(self) -> Mask:
        """What is before each colon, with the sign before it; and the closing brace."""
        return odd_up_to(self._structure)

    @cached_property
    def _spaces(self) -> Mask:
        return self._equal(_SPACE) & ~self._inside
