"""How a CSV file is written, found from its first rows."""

import codecs
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from unlearn.stages.config.dataset import CsvParams, Delimiter, Encoding
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.csv_records import CsvText
from unlearn.stages.reading.csv_text import MARK_NAMES, fields_of, read_text
from unlearn.stages.reading.dataset_files import open_file
from unlearn.stages.reading.datetimes import is_datetime
from unlearn.stages.reading.decimals import COMMA_NUMBER

#: How much of a file is looked at: so many bytes, and so many records of them.
_SAMPLE_BYTES, _SAMPLE_RECORDS = 1 << 20, 1000

#: So many lines at most are looked at for the names of the columns.
_MOST_LINES_ABOVE = 20

#: A line that names the delimiter to Excel.
_SEPARATOR = re.compile(r'"?sep=.?"?')

_SINGLE = "'"

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")


def find_format(
    path: Path, name: str, columns: Collection[str], known: Mapping[str, Any]
) -> CsvParams:
    """Return how a file is written, from its first rows.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    columns
        Columns that it must have. The delimiter is the one by which the first row names them.
    known
        Fields of `CsvParams` that the user chose.

    Raises
    ------
    InputError
        If the file is not readable in its encoding, the first row is no header, two delimiters
        are possible where there is none, or single quotes can be around values or part of them.
    """
    encoding = cast("Encoding", known.get("encoding") or _encoding(path))
    sample = Sample.of(path, name, encoding)
    quotes = [known["quote"]] if "quote" in known else ['"', _SINGLE]
    delimiters = [known["delimiter"]] if "delimiter" in known else list(get_args(Delimiter))
    has_header = "columns" not in known
    fitting = [
        (quote, mark)
        for quote in quotes
        for mark in delimiters
        if has_header and set(columns) <= set(sample.first(mark, quote))
    ]
    if fitting:
        quote, delimiter = fitting[0]
    else:
        quote = quotes[0]
        # Without one, the error about a missing column lists what most likely are the columns.
        delimiter = (
            max(delimiters, key=lambda mark: len(sample.first(mark, quote)))
            if has_header
            else sample.delimiter(delimiters, quotes, len(known["columns"]), name)
        )
    if quote == '"' and "quote" not in known:
        quote = sample.quote(delimiter, name)
    if has_header and not fitting:
        sample.refuse_lines_above(columns, name)
        refuse_no_header(sample.rows(delimiter, quote), name)
    return CsvParams.model_validate(
        {**known, "delimiter": delimiter, "quote": quote, "encoding": encoding}
    )


def _encoding(path: Path) -> Encoding:
    try:
        with open_file(path) as source:
            start = source.read(2)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        start = b""
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"


@dataclass(frozen=True)
class Sample:
    """The text that a file begins with, and whether it is all of it."""

    text: bytes
    is_whole: bool

    @classmethod
    def of(cls, path: Path, name: str, encoding: Encoding) -> "Sample":
        """Read a sample; see `find_format` for errors."""
        chunks = read_text(path, name, encoding, _SAMPLE_BYTES)
        text, is_whole = next(chunks, b""), not next(chunks, b"")
        # A carriage return may be the first half of a line end.
        return cls(text if is_whole else text.removesuffix(b"\r"), is_whole)

    def _cut(self, delimiter: str, quote: str) -> CsvText:
        mark = None if quote == "none" else quote
        return CsvText(self.text, delimiter, multiline=True, is_last=self.is_whole, quote=mark)

    def rows(self, delimiter: str, quote: str, most: int = _SAMPLE_RECORDS) -> list[list[str]]:
        """Return the fields of the first records, the header among them."""
        piece = self._cut(delimiter, quote)
        records = [
            self.text[piece.start_of(record) : piece.end_of(record)].decode(errors="replace")
            for record in range(min(piece.records, most))
        ]
        return [fields_of(record, delimiter, quote) for record in records]

    def first(self, delimiter: str, quote: str) -> list[str]:
        """Return the fields of the first record."""
        return next(iter(self.rows(delimiter, quote, most=1)), [])

    def delimiter(
        self, delimiters: Sequence[str], quotes: Sequence[str], columns: int, name: str
    ) -> str:
        """Return the delimiter of a file that has no header: the one that gives enough columns.

        Parameters
        ----------
        delimiters, quotes
            Those to choose from.
        columns
            How many columns there are.
        name
            What errors call the file.

        Raises
        ------
        InputError
            If every row has so many fields with more than one delimiter.
        """
        possible = [
            mark
            for mark in delimiters
            if any(self._has_columns(mark, quote, columns) for quote in quotes)
        ]
        if len(possible) > 1 and columns > 1:
            first, second = (MARK_NAMES[mark] for mark in possible[:2])
            raise InputError(
                f"{name}: the delimiter can be a {first} or a {second}: both give "
                f"{columns} columns",
                "choose one with --delimiter",
                facts=Facts(file=name),
            )
        # If none does, reading names the row that has another number of fields.
        counts = {mark: len(self.first(mark, quotes[0])) for mark in possible or delimiters}
        return max(counts, key=lambda mark: (counts[mark] == columns, counts[mark]))

    def _has_columns(self, delimiter: str, quote: str, columns: int) -> bool:
        rows = self.rows(delimiter, quote)
        return bool(rows) and all(len(row) == columns for row in rows)

    def quote(self, delimiter: str, name: str) -> str:
        """Return what is around values, where the header does not tell.

        Single quotes are if the rows have the same number of fields with them, and not without.

        Raises
        ------
        InputError
            If both are possible.
        """
        plain = self.rows(delimiter, "none")
        if any(field.startswith('"') for row in plain for field in row):
            return '"'
        if not any(_is_between_quotes(field) for row in plain for field in row):
            has_any = b"'" in self.text and len({len(row) for row in plain}) > 1
            return _SINGLE if has_any and self._is_sound(delimiter) else '"'
        if not self._is_sound(delimiter):
            return '"'
        if len({len(row) for row in plain}) > 1:
            return _SINGLE
        raise InputError(
            f"{name}: single quotes can be around values, or part of them",
            "choose --quote \"'\", or --quote '\"' if they are part of the values",
            facts=Facts(file=name),
        )

    def refuse_lines_above(self, columns: Collection[str], name: str) -> None:
        """Raise an InputError if other lines are above the one with the names of the columns.

        Comments are, such as those of programs that export, and Excel's `sep=;`. The error does
        not repeat them.

        Parameters
        ----------
        columns
            Columns that the file must have.
        name
            What errors call the file.
        """
        for delimiter in get_args(Delimiter):
            rows = self.rows(delimiter, '"', most=_MOST_LINES_ABOVE + 1)
            header = next((at for at, row in enumerate(rows) if set(columns) <= set(row)), 0)
            if not header and self._begins_with_comment:
                header = 1
            if header:
                piece = self._cut(delimiter, '"')
                line = piece.lines_before(piece.start_of(header))
                what = "line 1 is" if line == 1 else f"lines 1 to {line} are"
                raise InputError(
                    f"{name}: {what} above the line with the names of the columns",
                    f"remove the first {'line' if line == 1 else f'{line} lines'}",
                    facts=Facts(file=name, line=1),
                )

    @property
    def _begins_with_comment(self) -> bool:
        """Whether the first line is a comment, or says what the delimiter is."""
        rows = {mark: self.rows(mark, '"', most=2) for mark in get_args(Delimiter)}
        mark = max(rows, key=lambda mark: len(rows[mark][-1]) if rows[mark] else 0)
        if len(rows[mark]) < 2:  # noqa: PLR2004 - a comment, and a header below it
            return False
        first, second = rows[mark]
        is_separator = _SEPARATOR.fullmatch(mark.join(first)) is not None
        return is_separator or (first[0].startswith("#") and len(first) != len(second))

    def _is_sound(self, delimiter: str) -> bool:
        """Return whether all rows have as many fields as the header, with single quotes."""
        if self._cut(delimiter, _SINGLE).fault() is not None:
            return False
        return len({len(row) for row in self.rows(delimiter, _SINGLE)}) == 1


def _is_between_quotes(field: str) -> bool:
    return len(field) > 1 and field.startswith(_SINGLE) and field.endswith(_SINGLE)


def refuse_no_header(rows: Sequence[Sequence[str]], name: str) -> None:
    """Raise an InputError if the first row is more likely a row than the names of columns.

    The error does not repeat it.
    """
    why = _why_a_row(rows)
    if why is not None:
        raise InputError(
            f"{name}: the first line looks like a row, not like the names of columns: {why}",
            f"if there is no header, name all {len(rows[0])} columns: `unlearn init` --columns "
            "id,age,..., or `columns` below `dataset.csv`",
            "if there is one, it must have the columns that --id, --target or the settings name",
            facts=Facts(file=name, row=0, line=1),
        )


def _why_a_row(rows: Sequence[Sequence[str]]) -> str | None:
    if len(rows) < 2:  # noqa: PLR2004 - a header, and a row below it
        return None
    first, *others = rows
    for number, field in enumerate(first):
        column = [row[number] for row in others if len(row) == len(first) and row[number]]
        kind = _kind(field)
        if kind is not None and column and all(_kind(value) == kind for value in column):
            return f"field {number + 1} is {kind}, as in the other rows"
        if field in column:
            return f"the value of field {number + 1} is in other rows, too"
    if max(Counter(first).values(), default=0) > 1:
        return "two of its fields are the same"
    return None


def _kind(value: str) -> str | None:
    """Return what a value of a row often is, and a name is not."""
    if _NUMBER.match(value) or COMMA_NUMBER.match(value):
        return "a number"
    return "a date or time" if is_datetime(value.strip()) else None
