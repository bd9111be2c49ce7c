"""Reading CSV in pieces: read as it was meant, or refused with the row."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.rows.csv_records import CsvText, Fault
from unlearn.stages.rows.csv_text import fields_of, format_of, not_utf8, read_text
from unlearn.stages.rows.reading import NoColumnsError, Reading, check_header, chosen_columns

_PIECE_BYTES = 4 << 20

#: A longer record is not read: after a quote that is never closed, all that follows is one value.
_MOST_RECORD_BYTES = 64 << 20

#: A number with at most one comma for its fraction, or with points that may be of thousands.
_WITH_MARKS = r"^\s*[-+]?[0-9]*(?:,[0-9]+|[0-9.,]*\.[0-9.,]*)(?:[eE][-+]?[0-9]+)?\s*$"


def read_csv(
    path: Path, name: str, only: Collection[str] | None, reading: Reading
) -> Iterator[pa.Table]:
    """Yield the rows of a CSV file, some megabytes at a time, every column as text.

    Parameters
    ----------
    path
        The file.
    name
        What errors call it.
    only
        Columns to read, where there are any of them; by default all.
    reading
        What is allowed in the file.

    Raises
    ------
    InputError
        If the file is not UTF-8 text, or can be understood in two ways. It names the row, and
        never repeats its text.
    """
    header: list[str] | None = None
    place = _Place(name)
    for piece in _pieces(path, name, reading):
        fault = piece.fault()
        if fault is not None:
            raise place.refusal(piece, fault)
        end, text = piece.end, piece.text
        if header is None and piece.records:
            begin = piece.end_of(0)
            header = _header(text[piece.start_of(0) : begin], piece.delimiter, name)
            text = text[begin:end]
        else:
            text = text[:end]
        rows = piece.records - (place.records == 0)
        if rows > 0 and header is not None:
            try:
                table = _parsed(text, piece, header, only)
            # Arrow's own message would quote the row.
            except pa.ArrowInvalid as error:
                _refuse_other_counts(piece, place, len(header))
                raise _unreadable(name, error) from None
            if table.num_rows != rows:
                raise InputError(
                    f"{name}: {rows:,} rows were read as {table.num_rows:,}, near line "
                    f"{place.lines + 1}",
                    facts=Facts(file=name, line=place.lines + 1),
                )
            if piece.has_line_ends:
                _refuse_line_ends(table, reading, name, max(place.records, 1))
            yield _with_points(table, reading)
        place.pass_over(piece)
    if header is None:
        raise NoColumnsError(f"{name} has no columns", facts=Facts(file=name))


@dataclass
class _Place:
    """How much of a file was read, for errors."""

    name: str
    records: int = 0
    lines: int = 0

    def pass_over(self, piece: CsvText) -> None:
        self.records += piece.records
        self.lines += piece.lines_before(piece.end)

    def where(self, piece: CsvText, position: int) -> Facts:
        row = self.records + piece.records_before(position)
        line = self.lines + piece.lines_before(position) + 1
        return Facts(file=self.name, row=row, line=line)

    def refusal(self, piece: CsvText, fault: Fault) -> InputError:
        where = self.where(piece, fault.position)
        return InputError(f"{where}: {fault.problem}", fault.hint, facts=where)


def _pieces(path: Path, name: str, reading: Reading) -> Iterator[CsvText]:
    """Yield pieces of a file that end where a record ends."""
    csv = format_of(path, reading)
    chunks = read_text(path, name, csv.encoding, _PIECE_BYTES)
    pending, chunk = b"", next(chunks, b"")
    while True:
        following = next(chunks, b"")
        text = pending + chunk
        if not following:
            yield _checked(CsvText(text, csv.delimiter, reading.multiline, is_last=True), name)
            return
        # A carriage return may be the first half of a line end.
        if not text.endswith(b"\r"):
            piece = CsvText(text, csv.delimiter, reading.multiline, is_last=False)
            if piece.end:
                yield _checked(piece, name)
                text = text[piece.end :]
            elif len(text) > _MOST_RECORD_BYTES:
                raise _too_long(name)
        pending, chunk = text, following


def _checked(piece: CsvText, name: str) -> CsvText:
    if b"\0" in piece.text:
        raise not_utf8(name, "it has NUL characters")
    return piece


def _too_long(name: str) -> InputError:
    most = _MOST_RECORD_BYTES >> 20
    return InputError(
        f"{name}: a row has more than {most} MB",
        "is there a quote that is never closed?",
        facts=Facts(file=name),
    )


def _refuse_other_counts(piece: CsvText, place: _Place, fields: int) -> None:
    counts = piece.fields()
    others = (counts != fields).nonzero()[0]
    if others.size:
        where = place.where(piece, piece.start_of(int(others[0])))
        found = int(counts[others[0]])
        raise InputError(
            f"{where}: {found} field{'' if found == 1 else 's'}, but the header has {fields}",
            "put a value that has a delimiter in quotes",
            facts=where,
        )


def _header(record: bytes, delimiter: str, name: str) -> list[str]:
    """Return the column names of a record whose quotes were checked."""
    try:
        names = fields_of(record.decode(), delimiter)
    except UnicodeDecodeError:
        raise not_utf8(name) from None
    if any("\n" in column or "\r" in column for column in names):
        raise InputError(
            f"{name}: a column name in the header has a line end", facts=Facts(file=name, row=0)
        )
    return check_header(names, name)


def _parsed(
    text: bytes, piece: CsvText, header: list[str], only: Collection[str] | None
) -> pa.Table:
    return pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(column_names=header, block_size=len(text) + 1),
        parse_options=pacsv.ParseOptions(
            delimiter=piece.delimiter,
            newlines_in_values=piece.has_line_ends,
            ignore_empty_lines=True,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=False,
            include_columns=chosen_columns(header, only),
        ),
    )


def _unreadable(name: str, error: pa.ArrowInvalid) -> InputError:
    if "UTF8" in str(error) or "UTF-8" in str(error):
        return not_utf8(name)
    return InputError(f"{name} is not readable as CSV", facts=Facts(file=name))


def _refuse_line_ends(table: pa.Table, reading: Reading, name: str, first_row: int) -> None:
    for column in table.column_names:
        if column in reading.single_line:
            found = pc.index(pc.match_substring_regex(table[column], "[\r\n]"), value=True)
            if found.as_py() >= 0:
                place = Facts(file=name, row=first_row + found.as_py())
                raise InputError(
                    f"{place}: column {column!r}: a value has a line end",
                    "is a quote missing, or one too many?",
                    facts=replace(place, column=column),
                )


def _with_points(table: pa.Table, reading: Reading) -> pa.Table:
    """Return numbers that have a decimal comma with a point, and those with a point as no number.

    A point in a file with decimal commas separates thousands: 1.234 is no 1.234 there.
    """
    if reading.csv is None or reading.csv.decimal == ".":
        return table
    for index, column in enumerate(table.column_names):
        if column in reading.numeric:
            values = table[column]
            swapped = pc.replace_substring(values, ".", ";")
            swapped = pc.replace_substring(swapped, ",", ".")
            marks = pc.and_(
                pc.match_substring_regex(values, _WITH_MARKS),
                pc.match_substring_regex(values, "[0-9]"),
            )
            table = table.set_column(index, column, pc.if_else(marks, swapped, values))
    return table
