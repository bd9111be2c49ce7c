"""Reading CSV in pieces: read as it was meant, or refused with the row."""

import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.csv_dialect import Sample, refuse_no_header
from unlearn.stages.reading.csv_records import CsvText, Fault
from unlearn.stages.reading.csv_text import fields_of, format_of, not_utf8, read_text
from unlearn.stages.reading.decimals import NO_POINT
from unlearn.stages.reading.reading import NoColumnsError, Reading, check_header, chosen_columns

#: Larger pieces do not stay in a processor's cache, and smaller ones are parsed one by one.
_PIECE_BYTES = 2 << 20

#: More threads do not help: one thread finds where pieces end.
_MOST_THREADS = 4

#: A longer record is not read: after a quote that is never closed, all that follows is one value.
_MOST_RECORD_BYTES = 64 << 20

#: A number with at most one comma for its fraction, or with points that may be of thousands.
_WITH_MARKS = r"^\s*[-+]?[0-9]*(?:,[0-9]+|[0-9.,]*\.[0-9.,]*)(?:[eE][-+]?[0-9]+)?\s*$"


_TRAILING = (
    "the rows end with a delimiter, and the header does not: remove it from the rows, or add one "
    "to the header"
)


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
    csv = format_of(path, reading)
    header, is_first = csv.columns, csv.columns is not None
    # Without a header, the first record is the first row.
    place = _Place(name, records=0 if header is None else 1, has_no_header=header is not None)
    with ThreadPoolExecutor(_threads()) as pool:
        begun: deque[tuple[CsvText, Future[_Parsed]]] = deque()
        for piece in csv_pieces(path, name, csv, multiline=reading.multiline):
            begin = 0
            if is_first and piece.records:
                _refuse_header(piece, csv, name)
                is_first = False
            if header is None and piece.records:
                _refuse_fault(piece, place)
                begin = piece.end_of(0)
                record = piece.text[piece.start_of(0) : begin]
                header = _header(record, csv, name)
                if reading.required.isdisjoint(header) and reading.required:
                    # The error about a missing column would show the first row.
                    sample = Sample(piece.text, is_whole=piece.is_last)
                    sample.refuse_lines_above(reading.required, name)
                    refuse_no_header(sample.rows(csv.delimiter, csv.quote), name)
            begun.append((piece, pool.submit(_parse, piece, begin, header, only)))
            # A piece for each thread, one that waits, and the one that the caller has.
            if len(begun) > _threads() + 1:
                yield from _rows_of(*begun.popleft(), place, reading)
        while begun:
            yield from _rows_of(*begun.popleft(), place, reading)
    if header is None:
        raise NoColumnsError(f"{name} has no columns", facts=Facts(file=name))


def _rows_of(
    piece: CsvText, parsed: "Future[_Parsed]", place: "_Place", reading: Reading
) -> Iterator[pa.Table]:
    """Yield the rows of a piece, if it has any; the pieces before it were read."""
    found = parsed.result()
    if b"\0" in piece.text:
        raise not_utf8(place.name, "it has NUL characters")
    if found.fault is not None:
        raise place.refusal(piece, found.fault)
    if found.error is not None:
        # Arrow's own message would quote the row.
        _refuse_other_counts(piece, place, found.fields)
        raise _unreadable(place.name, found.error)
    if found.table is not None:
        if found.table.num_rows != found.rows:
            where = Facts(file=place.name, row=max(place.records, 1), line=place.lines + 1)
            raise InputError(
                f"{where}: {found.rows:,} rows from here on were read as {found.table.num_rows:,}",
                facts=where,
            )
        if piece.has_line_ends:
            _refuse_line_ends(found.table, reading, place.name, max(place.records, 1))
        yield _with_points(found.table, reading)
    place.pass_over(piece)


def _refuse_fault(piece: CsvText, place: "_Place") -> None:
    fault = piece.fault()
    if fault is not None:
        raise place.refusal(piece, fault)


@dataclass
class _Place:
    """How much of a file was read, for errors."""

    name: str
    records: int = 0
    lines: int = 0
    has_no_header: bool = False

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


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)


def csv_pieces(path: Path, name: str, csv: CsvParams, *, multiline: bool) -> Iterator[CsvText]:
    """Yield pieces of a file that end where a record ends; see `read_csv` for errors.

    Together they are its text in UTF-8, each up to its `end`; a byte order mark is left out.
    """
    chunks = read_text(path, name, csv.encoding, _PIECE_BYTES)
    line_end: bytes | None = None

    def piece_of(text: bytes, *, is_last: bool) -> CsvText:
        return CsvText(
            text,
            csv.delimiter,
            multiline,
            is_last=is_last,
            quote=None if csv.quote == "none" else csv.quote,
            known_line_end=line_end,
        )

    pending, chunk = b"", next(chunks, b"")
    while True:
        following = next(chunks, b"")
        text = pending + chunk
        if not following:
            yield piece_of(text, is_last=True)
            return
        # A carriage return may be the first half of a line end.
        if not text.endswith(b"\r"):
            piece = piece_of(text, is_last=False)
            if piece.end:
                yield piece
                line_end = piece.line_end
                text = text[piece.end :]
            elif len(text) > _MOST_RECORD_BYTES:
                raise _too_long(name)
        pending, chunk = text, following


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
        columns = f"the header has {fields}"
        if place.has_no_header:
            columns = f"`columns` below `dataset.csv` has {fields} names"
        raise InputError(
            f"{where}: {found} field{'' if found == 1 else 's'}, but {columns}",
            _TRAILING
            if found == fields + 1 and _end_in_delimiters(piece, others.tolist())
            else "put a value that has a delimiter in quotes",
            facts=where,
        )


def _end_in_delimiters(piece: CsvText, records: Sequence[int]) -> bool:
    """Return whether these records all end with a delimiter."""
    delimiter = piece.delimiter.encode()
    return all(
        piece.text[piece.start_of(record) : piece.end_of(record)]
        .rstrip(b"\r\n")
        .endswith(delimiter)
        for record in records
    )


def _refuse_header(piece: CsvText, csv: CsvParams, name: str) -> None:
    """Raise an InputError if a file that should have no header begins with one."""
    record = piece.text[piece.start_of(0) : piece.end_of(0)]
    if fields_of(record.decode(errors="replace"), csv.delimiter, csv.quote) == csv.columns:
        raise InputError(
            f"{name}: the first line has the names of the columns already",
            "leave out --columns of `unlearn init`, or `columns` below `dataset.csv`; `unlearn "
            "predict` has --header",
            facts=Facts(file=name, row=0, line=1),
        )


def _header(record: bytes, csv: CsvParams, name: str) -> list[str]:
    """Return the column names of a record whose quotes were checked."""
    try:
        names = fields_of(record.decode(), csv.delimiter, csv.quote)
    except UnicodeDecodeError:
        raise not_utf8(name) from None
    if any("\n" in column or "\r" in column for column in names):
        raise InputError(
            f"{name}: a column name in the header has a line end", facts=Facts(file=name, row=0)
        )
    return check_header(names, name)


@dataclass(frozen=True)
class _Parsed:
    """What became of a piece: a fault, an error of the parser, rows, or nothing without rows."""

    rows: int = 0
    fields: int = 0
    table: pa.Table | None = None
    fault: Fault | None = None
    error: pa.ArrowInvalid | None = None


def _parse(
    piece: CsvText, begin: int, header: list[str] | None, only: Collection[str] | None
) -> _Parsed:
    """Parse a piece; what begins before the byte `begin` is the header."""
    fault = piece.fault()
    rows = piece.records - (begin > 0)
    if fault is not None or header is None or rows == 0:
        return _Parsed(fault=fault)
    try:
        table = _table(piece, begin, header, only)
    except pa.ArrowInvalid as error:
        return _Parsed(fields=len(header), error=error)
    return _Parsed(rows=rows, table=table)


def _table(piece: CsvText, begin: int, header: list[str], only: Collection[str] | None) -> pa.Table:
    # A view, so that the text is not copied.
    text = memoryview(piece.text)[begin : piece.end]
    return pacsv.read_csv(
        pa.BufferReader(pa.py_buffer(text)),
        read_options=pacsv.ReadOptions(
            column_names=header, block_size=len(text) + 1, use_threads=False
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=piece.delimiter,
            # Text without quotes is parsed faster if none is expected.
            quote_char=piece.quote if piece.has_quotes else False,
            newlines_in_values=piece.has_line_ends,
            ignore_empty_lines=True,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=False,
            # Validating costs a sixth of the time.
            check_utf8=not piece.text.isascii(),
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
            swapped = pc.replace_substring(values, ".", NO_POINT)
            swapped = pc.replace_substring(swapped, ",", ".")
            marks = pc.and_(
                pc.match_substring_regex(values, _WITH_MARKS),
                pc.match_substring_regex(values, "[0-9]"),
            )
            table = table.set_column(index, column, pc.if_else(marks, swapped, values))
    return table
