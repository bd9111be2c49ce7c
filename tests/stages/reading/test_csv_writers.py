"""What other libraries write is read back cell by cell, or refused: no row is lost or joined."""

import csv
import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.reading.csv_dialect import find_format
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.schema import feature_column

#: What every table has: ids, two columns of text, and one of each other kind.
COLUMNS = ["id", "text", "more", "number", "count", "flag"]

SPECIAL = "\"',;|\t \\\r\na0.-#é\u2028\x85"

Row = tuple[str, str | None, str | None, float | None, int, bool]


@dataclass(frozen=True)
class Dialect:
    """How a file is written; `quote` is None where the writer never puts a value in quotes."""

    delimiter: str = ","
    quote: str | None = '"'
    always: bool = False
    decimal: str = "."
    encoding: str = "utf-8"
    end: str = "\n"
    header: bool = True
    packed: bool = False

    @property
    def stated(self) -> dict[str, Any]:
        """What a user has to tell `init`, since the file does not."""
        known: dict[str, Any] = {"decimal": self.decimal}
        if self.quote != '"':
            known["quote"] = self.quote or "none"
        if self.encoding not in ("utf-8", "utf-8-sig", "utf-16"):
            known["encoding"] = self.encoding
        if not self.header:
            known["columns"] = COLUMNS
        return known


def write_pandas(path: Path, rows: list[Row], form: Dialect) -> None:
    frame = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    quoting: Any = csv.QUOTE_MINIMAL
    if form.quote is None:
        quoting = csv.QUOTE_NONE
    elif form.always:
        quoting = csv.QUOTE_ALL
    frame["number"] = frame["number"].astype("float64")
    frame.to_csv(
        path,
        index=False,
        sep=form.delimiter,
        quoting=quoting,
        quotechar=form.quote or '"',
        decimal=form.decimal,
        encoding=form.encoding,
        lineterminator=form.end,
        header=form.header,
        compression="gzip" if form.packed else None,
    )


def write_python(path: Path, rows: list[Row], form: Dialect) -> None:
    quoting: Any = csv.QUOTE_ALL if form.always else csv.QUOTE_MINIMAL
    if form.quote is None:
        quoting = csv.QUOTE_NONE
    start = gzip.open if form.packed else open
    with start(path, "wt", encoding=form.encoding, newline="") as out:
        writer = csv.writer(
            out,
            delimiter=form.delimiter,
            quotechar=form.quote,
            quoting=quoting,
            lineterminator=form.end,
        )
        writer.writerows([COLUMNS] * form.header)
        for row in rows:
            number = "" if row[3] is None else repr(row[3]).replace(".", form.decimal)
            writer.writerow([*row[:3], number, *row[4:]])


def write_pyarrow(path: Path, rows: list[Row], form: Dialect) -> None:
    style = "none" if form.quote is None else "all_valid" if form.always else "needed"
    options = pacsv.WriteOptions(
        delimiter=form.delimiter,
        quoting_style=style,
        quoting_header=style,
        include_header=form.header,
    )
    with pa.CompressedOutputStream(str(path), "gzip") if form.packed else path.open("wb") as out:
        pacsv.write_csv(as_arrow(rows), out, options)


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """Return a database in memory, whose start takes longer than to write a file."""
    return duckdb.connect()


def write_duckdb(path: Path, rows: list[Row], form: Dialect) -> None:
    table = as_arrow(rows)
    with _duckdb().cursor() as connection:
        connection.register("rows_to_write", table)
        connection.table("rows_to_write").write_csv(
            str(path),
            sep=form.delimiter,
            quotechar=form.quote,
            escapechar=form.quote,
            quoting="ALL" if form.always else None,
            header=form.header,
            compression="gzip" if form.packed else None,
        )


def write_polars(path: Path, rows: list[Row], form: Dialect) -> None:
    style: Any = "never" if form.quote is None else "always" if form.always else "necessary"
    content = pl.from_arrow(as_arrow(rows))
    assert isinstance(content, pl.DataFrame)
    text = content.write_csv(
        separator=form.delimiter,
        quote_char=form.quote or '"',
        quote_style=style,
        line_terminator=form.end,
        include_header=form.header,
        decimal_comma=form.decimal == ",",
    ).encode()
    path.write_bytes(gzip.compress(text) if form.packed else text)


def as_arrow(rows: list[Row]) -> pa.Table:
    kinds = [pa.string(), pa.string(), pa.string(), pa.float64(), pa.int64(), pa.bool_()]
    arrays = [pa.array([row[index] for row in rows], kind) for index, kind in enumerate(kinds)]
    return pa.table(arrays, names=COLUMNS)


@dataclass(frozen=True)
class Writer:
    """A library, and the dialects that it can write."""

    write: Callable[[Path, list[Row], Dialect], None]
    quotes: list[str | None] = field(default_factory=lambda: ['"', "'", None])
    decimals: list[str] = field(default_factory=lambda: [".", ","])
    encodings: list[str] = field(default_factory=lambda: ["utf-8"])
    ends: list[str] = field(default_factory=lambda: ["\n", "\r\n"])


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"]

WRITERS = {
    "pandas": Writer(write_pandas, encodings=ENCODINGS),
    "csv": Writer(write_python, encodings=ENCODINGS, ends=["\n", "\r\n", "\r"]),
    "pyarrow": Writer(write_pyarrow, quotes=['"', None], decimals=["."], ends=["\n"]),
    "duckdb": Writer(write_duckdb, quotes=['"', "'"], decimals=["."], ends=["\n"]),
    "polars": Writer(write_polars),
}


def dialects(writer: Writer) -> st.SearchStrategy[Dialect]:
    return st.builds(
        Dialect,
        delimiter=st.sampled_from([",", ";", "\t", "|"]),
        quote=st.sampled_from(writer.quotes),
        always=st.booleans(),
        decimal=st.sampled_from(writer.decimals),
        encoding=st.sampled_from(writer.encodings),
        end=st.sampled_from(writer.ends),
        header=st.booleans(),
        packed=st.booleans(),
    )


def texts(form: Dialect) -> st.SearchStrategy[str | None]:
    letters = SPECIAL
    if form.encoding in ("cp1252", "latin-1"):
        letters = letters.replace("\u2028", "").replace("\x85", "ü")
    if form.quote is None:
        # Some writers do not look at what they write without quotes: nobody can read that back.
        letters = "".join(set(letters) - {form.delimiter, "\r", "\n"})
    return st.one_of(st.none(), st.text(st.sampled_from(sorted(letters)), max_size=5))


@st.composite
def files(draw: st.DrawFn, writer: Writer) -> tuple[Dialect, list[Row]]:
    form = draw(dialects(writer))
    numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
    counts = st.integers(-(2**62), 2**62)
    cells = st.tuples(texts(form), texts(form), numbers, counts, st.booleans())
    found = draw(st.lists(cells, min_size=1, max_size=6))
    return form, [(f"r{number}", *row) for number, row in enumerate(found)]


def read_back(path: Path, form: Dialect, *, multiline: bool) -> pa.Table:
    """Read a file as the stages do, with what `init` pins."""
    pinned = find_format(path, path.name, ["id"], form.stated)
    reading = Reading(multiline=multiline, csv=pinned, numeric=frozenset({"number"}))
    return pa.concat_tables(list(read_batches(path, path.name, reading=reading)))


def assert_equal(table: pa.Table, rows: list[Row]) -> None:
    assert table.column_names == COLUMNS
    assert table.num_rows == len(rows)
    numbers = feature_column(table["number"], "number", "numeric", [""], 1).to_pylist()
    for found, number, row in zip(table.to_pylist(), numbers, rows, strict=True):
        assert found["id"] == row[0]
        # Text formats do not tell a missing text from an empty one.
        assert (found["text"], found["more"]) == (row[1] or "", row[2] or "")
        assert number == row[3]
        assert math.copysign(1, number or 1) == math.copysign(1, row[3] or 1)
        assert int(found["count"]) == row[4]
        assert found["flag"].lower() == str(row[5]).lower()


def hold_the_law(name: str, folder: Path, examples: int) -> None:
    writer = WRITERS[name]
    read = refused = 0

    @settings(max_examples=examples, deadline=None)
    @given(files(writer), st.booleans())
    def law(file: tuple[Dialect, list[Row]], multiline: bool) -> None:
        nonlocal read, refused
        form, rows = file
        path = folder / ("a.csv.gz" if form.packed else "a.csv")
        try:
            writer.write(path, rows, form)
        except (csv.Error, pa.ArrowInvalid):
            return  # it cannot be written without quotes, or without an escape
        try:
            table = read_back(path, form, multiline=multiline)
        except InputError as error:
            assert error.message.startswith(path.name)
            refused += 1
            return
        read += 1
        assert_equal(table, rows)

    law()
    # A reader that refuses everything keeps the law as well.
    assert read > refused / 4


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_every_cell_of_many_tables_is_what_the_writer_was_given(tmp_path: Path, name: str) -> None:
    hold_the_law(name, tmp_path, 200)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_that_quotes_make_clear_are_read(tmp_path: Path, name: str, delimiter: str) -> None:
    rows: list[Row] = [
        ("r0", 'a "b", c; d|e\tf', "", 1.5, 1, True),
        ("r1", "a\nb", "it's\r\n", None, -2, False),
        ("r2", "'x'", "\u2028 ", 1e300, 2**62, True),
    ]
    form = Dialect(delimiter, always=True)
    WRITERS[name].write(tmp_path / "a.csv", rows, form)

    assert_equal(read_back(tmp_path / "a.csv", form, multiline=True), rows)
