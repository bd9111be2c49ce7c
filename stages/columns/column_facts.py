"""What the values of one column could be: numbers, dates, categories, or a mistake."""

import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.columns.number_facts import NumberFacts, plain_numbers
from unlearn.stages.columns.number_marks import marks_of
from unlearn.stages.config.dataset import (
    LONGEST_CATEGORY,
    DateFormat,
    Decimal,
    Delimiter,
    FeatureKind,
)
from unlearn.stages.errors import InputError
from unlearn.stages.reading.datetimes import DateKind, date_kind
from unlearn.stages.reading.decimals import COMMA_NUMBER, DecimalFacts
from unlearn.stages.reading.records import RowPlace
from unlearn.stages.rows.schema import is_float, is_number
from unlearn.stages.rows.texts import as_text

#: Words that make a text column boolean; 0 and 1 stay numbers there.
_BOOLEAN_WORDS = frozenset({"true", "false", "yes", "no"})

#: Words that people write for a missing value, besides those of `DEFAULT_MISSING`.
USUAL_WORDS = frozenset(
    {
        "-",
        "--",
        "None",
        "none",
        "n/a",
        "#N/A",
        "#NA",
        "<NA>",
        "<null>",
        "NaT",
        "na",
        "nil",
        # As dumps of SQL databases write it.
        r"\N",
        ".",
        "*",
    }
)

#: A column is of the kind that this share of its values has, or the file is refused.
_MOST = 0.9

#: What the values of a kind are called.
_NAMES: dict[FeatureKind, str] = {
    "numeric": "numbers",
    "datetime": "dates or times",
    "boolean": "true or false",
}

#: What a value could be. `point` and `comma` are numbers with one decimal mark only, and a `code`
#: is a whole number with leading zeros, and `marked` what looks like a number: see `marks_of`.
ValueKind = FeatureKind | DateKind | Literal["point", "comma", "code", "marked"]

#: Kinds of values that are numbers, if the decimal mark is right.
NUMBERS: tuple[ValueKind, ...] = ("numeric", "point", "comma", "code")

_CODE = r"^0[0-9]+$"

_LINE_END = re.compile(r"\r\n|\n|\r")

#: Which kinds of values are dates or times where they are written in a format, None for ISO 8601.
#: Where several formats read the same values, the first is taken.
_READ_AS: dict[DateFormat | None, tuple[DateKind, ...]] = {
    None: ("datetime",),
    "year_first": ("datetime", "year_first"),
    "time": ("time",),
    "day_first": ("day_first", "either_first"),
    "month_first": ("month_first", "either_first"),
}
_DATES = frozenset(kind for kinds in _READ_AS.values() for kind in kinds)


@dataclass
class ColumnFacts:
    """What a pass over the data found about one column.

    Attributes
    ----------
    typed
        The kind that the column's type has, if it is not text.
    rows
        Rows with a value, by the kind of the value.
    first
        The first of them, by kind.
    distinct
        Values of a column of text, up to `MANY_CATEGORIES` and those of one batch.
    usual, others
        Values that are only categories: which words for missing values, and whether any other.
    decimals
        The decimal marks of a CSV column.
    codes
        Where the first code is, and how many rows have one; None if the numbers are quantities.
    numbers
        What was found in its numbers.
    marks
        What makes values look like numbers that are none.
    like_numbers
        Whether almost all values are numbers or look like some, but not all are.
    left_out
        Why the column cannot be a feature.
    text
        Why the column is no category.
    line_end
        Where a value with a line end is.
    date_format
        How dates and times are written; None for ISO 8601.
    """

    typed: FeatureKind | None = None
    rows: Counter[ValueKind] = field(default_factory=Counter)
    first: dict[ValueKind, tuple[int, RowPlace]] = field(default_factory=dict)
    distinct: set[str] = field(default_factory=set)
    usual: set[str] = field(default_factory=set)
    others: bool = False
    decimals: DecimalFacts = field(default_factory=DecimalFacts)
    codes: tuple[RowPlace, int] | None = None
    numbers: NumberFacts = field(default_factory=NumberFacts)
    marks: set[str] = field(default_factory=set)
    like_numbers: bool = False
    left_out: str | None = None
    text: str | None = None
    line_end: RowPlace | None = None
    date_format: DateFormat | None = None

    def with_decimal(self, decimal: Decimal) -> "ColumnFacts":
        """Return the facts of a table with this decimal mark: other numbers are categories.

        So are all numbers of a column with codes: postal codes have leading zeros, and quantities
        do not, except next to fractions, where all numbers may have the same width.
        """
        number: ValueKind = "comma" if decimal == "," else "point"
        other: ValueKind = "point" if decimal == "," else "comma"
        none: dict[ValueKind, ValueKind] = {other: "categorical", "marked": "categorical"}
        like = sum(self.rows[kind] for kind in (*NUMBERS, "marked"))
        marked = self.rows["marked"] + self.rows[other]
        like_numbers = marked > 0 and like >= _MOST * self.rows.total()
        if "code" in self.rows and number not in self.rows:
            codes = (self.first["code"][1], self.rows["code"])
            found = self._merged({**none, "code": "categorical", "numeric": "categorical"})
            return replace(found, codes=codes, like_numbers=like_numbers)
        found = self._merged({number: "numeric", "code": "numeric", **none})
        return replace(found, like_numbers=like_numbers)

    def with_dates(self) -> "ColumnFacts":
        """Return the facts by the format that most dates and times have: others are categories."""
        read = {form: sum(self.rows[kind] for kind in _READ_AS[form]) for form in _READ_AS}
        form = max(read, key=lambda form: read[form])
        # Dates that can all be read in two ways are none.
        known = () if read[form] == self.rows["either_first"] else _READ_AS[form]
        kinds: dict[ValueKind, ValueKind] = {
            kind: "datetime" if kind in known else "categorical" for kind in _DATES
        }
        return replace(self._merged(kinds), date_format=form)

    @property
    def has_two_readings(self) -> bool:
        """Whether all values are dates that can be read with the day or with the month first."""
        return set(self.rows) == {"either_first"}

    def _merged(self, kinds: Mapping[ValueKind, ValueKind]) -> "ColumnFacts":
        """Return the facts with kinds of values replaced by others."""
        rows: Counter[ValueKind] = Counter()
        first: dict[ValueKind, tuple[int, RowPlace]] = {}
        for kind, count in self.rows.items():
            known = kinds.get(kind, kind)
            rows[known] += count
            first[known] = min(first.get(known, self.first[kind]), self.first[kind], key=_row)
        new = {kind for kind in self.rows if kinds.get(kind) == "categorical"}
        return replace(self, rows=rows, first=first, others=self.others or bool(new))

    @property
    def kind(self) -> FeatureKind:
        """The kind of all values; a column that is always missing counts as categorical."""
        for kind in _NAMES:
            if set(self.rows) == {kind}:
                return kind
        return "categorical" if self.rows else self.typed or "categorical"

    @property
    def intended(self) -> FeatureKind | None:
        """The kind that most values have and some have not, if it looks like a mistake."""
        if len(self.rows) <= 1:
            return None
        if self.typed is not None:
            return self.typed  # a file with types says what the column is
        for kind in _NAMES:
            share = self.rows[kind] / self.rows.total()
            words = bool(self.usual) and not self.others
            if words and set(self.rows) == {kind, "categorical"}:
                return kind
            if kind != "boolean" and share >= _MOST:
                return kind
        return None


def _row(first: tuple[int, RowPlace]) -> int:
    return first[0]


def kind_of_type(kind: pa.DataType) -> FeatureKind | None:
    """Return the kind that a column of this type has; None for text."""
    if pa.types.is_boolean(kind):
        return "boolean"
    if is_number(kind):
        return "numeric"
    return "datetime" if pa.types.is_temporal(kind) else None


#: Columns of categories have the same values in every batch.
@lru_cache(maxsize=10_000)
def _kind_of_text(value: str, *, is_csv: bool) -> ValueKind:
    text = value.strip()
    if text.lower() in _BOOLEAN_WORDS:
        return "boolean"
    if re.match(_CODE, text, re.ASCII):
        return "code"
    if is_float(text) and math.isfinite(float(text)):
        return "point" if "." in text else "numeric"
    if is_csv and COMMA_NUMBER.match(text):
        return "comma"
    return date_kind(text) or ("marked" if marks_of(text) else "categorical")


def values_by_kind(
    values: pa.Array, *, is_csv: bool, numbers: pa.Array | None = None
) -> dict[ValueKind, pa.Array]:
    """Return the values by what each could be.

    Parameters
    ----------
    values
        Texts.
    is_csv
        Whether numbers may have a decimal comma.
    numbers
        What `plain_numbers` returns for the values, if it is known.
    """
    if (plain_numbers(values) if numbers is None else numbers) is not None:
        return _numbers_by_kind(values)
    found: dict[ValueKind, list[str]] = {}
    for value in values.to_pylist():
        found.setdefault(_kind_of_text(value, is_csv=is_csv), []).append(value)
    return {kind: pa.array(texts, pa.string()) for kind, texts in found.items()}


def _numbers_by_kind(values: pa.Array) -> dict[ValueKind, pa.Array]:
    """Return what `values_by_kind` does for values that are all numbers, many times faster."""
    trimmed = pc.utf8_trim_whitespace(values)
    point = pc.match_substring(values, ".")
    # Most fractions begin with 0, and the search is slower than these comparisons.
    code = pc.and_not(pc.starts_with(trimmed, "0"), point)
    if pc.any(code).as_py():
        code = pc.and_(code, pc.match_substring_regex(trimmed, _CODE))
    found: dict[ValueKind, pa.Array] = {
        "point": values.filter(point),
        "code": values.filter(code),
        "numeric": values.filter(pc.invert(pc.or_(point, code))),
    }
    return {kind: texts for kind, texts in found.items() if len(texts)}


def see_words(facts: ColumnFacts, values: pa.Array) -> None:
    """Take distinct values that are only categories into account."""
    words = {value.strip() for value in values.to_pylist()}
    facts.usual |= words & USUAL_WORDS
    facts.others |= not words <= USUAL_WORDS


@dataclass(frozen=True)
class TextValues:
    """Values that are no categories, why, and whether it is a line end."""

    values: pa.Array
    text: str
    has_line_end: bool = False

    def has_rows_inside(self, columns: int) -> bool:
        """Return whether one is the end of a row, more rows, and the start of another.

        Parameters
        ----------
        columns
            How many fields a row has. Of two, hardly anything can be told.
        """
        return columns > 2 and any(  # noqa: PLR2004 - explained above
            value.count(mark) == len(_LINE_END.findall(value)) * (columns - 1) > 0
            for value in self.values.to_pylist()
            for mark in get_args(Delimiter)
        )


def why_text(values: pa.Array) -> TextValues | None:
    """Return values that are too long for a category or have a line end; None if none is."""
    line_ends = pc.match_substring_regex(values, "[\r\n]")
    if pc.any(line_ends).as_py():
        return TextValues(values.filter(line_ends), "has a line end", has_line_end=True)
    long = pc.greater(pc.utf8_length(values), LONGEST_CATEGORY)
    if pc.any(long).as_py():
        return TextValues(values.filter(long), f"has more than {LONGEST_CATEGORY} characters")
    return None


def is_long(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which values are too long for a category."""
    return pc.greater(pc.utf8_length(values), LONGEST_CATEGORY)


def why_unreadable(kind: pa.DataType) -> str | None:
    """Return why a column of this type cannot be a feature; None if it can be one."""
    if pa.types.is_nested(kind):
        return "it has lists or objects"
    if pa.types.is_dictionary(kind):
        return why_unreadable(kind.value_type)
    try:
        as_text(pa.chunked_array([], kind), "")
    except (InputError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return f"it has type {kind}; write it as text or numbers to use it"
    return None


def stray_line_end(name: str, place: RowPlace) -> InputError:
    """Return the error for a value with a line end in a column that is no text."""
    return InputError(
        f"{place}: column {name!r}: a value has a line end",
        "is a quote missing, or one too many? It would make one value of several rows",
        f"if line ends are meant, the column is text: --drop={shlex.quote(name)} leaves it out",
        facts=place.facts(name),
    )


def how_to_write(facts: ColumnFacts) -> str:
    """Return what to do about a column whose values look like numbers."""
    marks = sorted(facts.marks) or ["another decimal mark, or thousands separators"]
    return f"they have {', '.join(marks)}; write them as -1234.56"


def refuse_mixed(name: str, facts: ColumnFacts) -> None:
    """Raise an InputError if most values of a column are of one kind and the others are not."""
    kind = facts.intended
    if facts.left_out is not None or kind is None:
        return
    _, place = min(found for other, found in facts.first.items() if other != kind)
    column = shlex.quote(name)
    if facts.others or not facts.usual:
        missing = "if such values are missing ones, name each: --missing=TEXT"
    else:
        words = sorted(facts.usual)
        options = " ".join(f"--missing={shlex.quote(word)}" for word in words)
        missing = (
            f"if {' and '.join(words)} mean{'s' * (len(words) == 1)} a missing value: {options}"
        )
    raise InputError(
        f"{place.file}: column {name!r}: {facts.rows[kind]:,} of {facts.rows.total():,} values are "
        f"{_NAMES[kind]}; data row {place.row} is not",
        missing,
        f"--drop={column} leaves the column out; --keep={column} makes all values categories",
        *([f"some values look like numbers: {how_to_write(facts)}"] if facts.like_numbers else []),
        facts=place.facts(name),
    )
