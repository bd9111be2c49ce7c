"""Reading CSV in pieces: read as it was meant, or refused with the row."""

import codecs
import gzip
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from unlearn.stages.errors import InputError
from unlearn.stages.rows.csv_records import CsvText, Fault
from unlearn.stages.rows.dataset_files import is_tab_separated, open_file
from unlearn.stages.rows.reading import NoColumnsError, Reading, check_header, chosen_columns

_PIECE_BYTES = 4 << 20

#: A longer record is not read: after a quote that is never closed, all that follows is one value.
_MOST_RECORD_BYTES = 64 << 20


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
                    f"{place.lines + 1}"
                )
            if piece.has_line_ends:
                _refuse_line_ends(table, reading, name, max(place.records, 1))
            yield table
        place.pass_over(piece)
    if header is None:
        raise NoColumnsError(f"{name} has no columns")


@dataclass
class _Place:
    """How much of a file was read, for errors."""

    name: str
    records: int = 0
    lines: int = 0

    def pass_over(self, piece: CsvText) -> None:
        self.records += piece.records
        self.lines += piece.lines_before(piece.end)

    def where(self, piece: CsvText, position: int) -> str:
        row = self.records + piece.records_before(position)
        line = self.lines + piece.lines_before(position) + 1
        return f"{self.name}, {f'data row {row}' if row else 'the header'} (line {line})"

    def refusal(self, piece: CsvText, fault: Fault) -> InputError:
        return InputError(f"{self.where(piece, fault.position)}: {fault.problem}", fault.hint)


def _pieces(path: Path, name: str, reading: Reading) -> Iterator[CsvText]:
    """Yield pieces of a file that end where a record ends."""
    try:
        with open_file(path) as handle:
            yield from _pieces_of(handle, "\t" if is_tab_separated(path) else ",", name, reading)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{name} is not readable as gzip") from None


def _pieces_of(handle: BinaryIO, delimiter: str, name: str, reading: Reading) -> Iterator[CsvText]:
    pending = b""
    chunk = handle.read(_PIECE_BYTES).removeprefix(codecs.BOM_UTF8)
    while True:
        following = handle.read(_PIECE_BYTES)
        text = pending + chunk
        if not following:
            yield _checked(CsvText(text, delimiter, reading.multiline, is_last=True), name)
            return
        # A carriage return may be the first half of a line end.
        if not text.endswith(b"\r"):
            piece = CsvText(text, delimiter, reading.multiline, is_last=False)
            if piece.end:
                yield _checked(piece, name)
                text = text[piece.end :]
            elif len(text) > _MOST_RECORD_BYTES:
                raise _too_long(name)
        pending, chunk = text, following


def _checked(piece: CsvText, name: str) -> CsvText:
    if b"\0" in piece.text:
        raise InputError(f"{name} is not UTF-8 text", "it has NUL characters: is it UTF-16?")
    return piece


def _too_long(name: str) -> InputError:
    most = _MOST_RECORD_BYTES >> 20
    return InputError(
        f"{name}: a row has more than {most} MB", "is there a quote that is never closed?"
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
        )


def _header(record: bytes, delimiter: str, name: str) -> list[str]:
    """Return the column names of a record whose quotes were checked."""
    try:
        text = record.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text") from None
    names: list[str] = []
    part = ""
    for field in text.split(delimiter):
        part += field
        if part.count('"') % 2:
            part += delimiter  # the delimiter is in quotes
            continue
        names.append(part[1:-1].replace('""', '"') if part.startswith('"') else part)
        part = ""
    if any("\n" in column or "\r" in column for column in names):
        raise InputError(f"{name}: a column name in the header has a line end")
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
        return InputError(f"{name} is not UTF-8 text")
    return InputError(f"{name} is not readable as CSV")


def _refuse_line_ends(table: pa.Table, reading: Reading, name: str, first_row: int) -> None:
    for column in table.column_names:
        if column in reading.single_line:
            found = pc.index(pc.match_substring_regex(table[column], "[\r\n]"), value=True)
            if found.as_py() >= 0:
                raise InputError(
                    f"{name}, data row {first_row + found.as_py()}: column {column!r}: a value "
                    "has a line end",
                    "is a quote missing, or one too many?",
                )
