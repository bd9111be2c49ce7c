"""Reading a dataset in batches: CSV, Parquet or JSONL, one file or a directory of them.

Text formats yield every value as the text that was written, so that the id 007 stays 007;
`schema.py` turns values into features.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.errors import InputError
from unlearn.stages.rows.csv_reading import read_csv
from unlearn.stages.rows.reading import ONE_LINE_A_ROW, Reading, check_header, chosen_columns

#: File endings that are read, in lower case.
FORMATS = (".csv", ".parquet", ".jsonl")

#: Metadata of a batch: the file that its rows are from, and the number of the first one there.
_FILE, _FIRST_ROW = b"unlearn.file", b"unlearn.row"

_BATCH_ROWS = 16_384


def dataset_files(path: Path, name: str) -> list[Path]:
    """Return the files of a dataset, in the order of their names.

    Parameters
    ----------
    path
        A file, or a directory whose files all have one of `FORMATS`.
    name
        What errors call it.

    Raises
    ------
    InputError
        If there is no file, or a file of another format.
    """
    if path.is_dir():
        files = sorted(
            file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")
        )
        if not files:
            raise InputError(f"{name} is a directory without files")
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"{name} does not exist")
    for file in files:
        if file.suffix.lower() not in FORMATS:
            raise InputError(f"{name}: {file.name} is not one of {', '.join(FORMATS)}")
    return files


@dataclass(frozen=True)
class RowPlace:
    """Where a row is: its file, and its number there, from 1, without the header."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file}, data row {self.row}"


def place_of_row(batch: pa.Table, index: int, name: str, first_row: int) -> RowPlace:
    """Return the place of a row in a batch.

    Parameters
    ----------
    batch
        Rows, from `read_batches` or made elsewhere.
    index
        The row, counted from 0 in the batch.
    name, first_row
        The dataset, and the number of the batch's first row in it, for rows made elsewhere.
    """
    metadata = batch.schema.metadata or {}
    if _FILE in metadata:
        return RowPlace(metadata[_FILE].decode(), int(metadata[_FIRST_ROW]) + index)
    return RowPlace(name, first_row + index)


def read_batches(
    path: Path,
    name: str,
    only: Collection[str] | None = None,
    reading: Reading = ONE_LINE_A_ROW,
) -> Iterator[pa.Table]:
    """Yield a dataset's rows, some ten thousand at a time.

    Parameters
    ----------
    path
        The dataset.
    name
        What errors call it.
    only
        Columns to read, where there are any of them; by default all.
    reading
        How CSV files are read; `Reading.of` tells it for the files of a project's dataset.

    Returns
    -------
    iterator of pyarrow.Table
        All with the same columns, in the order of the first file. From text formats every
        column is a string column; from Parquet columns keep their types. `place_of_row` tells
        which file a row is from.

    Raises
    ------
    InputError
        If a file cannot be read as what its ending says, or the files' columns differ.
    """
    columns: list[str] | None = None
    for file in dataset_files(path, name):
        label = name if path.is_file() else f"{name}/{file.relative_to(path).as_posix()}"
        first_row = 1
        for batch in _read(file, label, only, reading):
            if columns is None:
                columns = batch.column_names
            if set(batch.column_names) != set(columns):
                raise InputError(f"{label} does not have the columns of the first file")
            place = {_FILE: label, _FIRST_ROW: str(first_row)}
            yield batch.select(columns).replace_schema_metadata(place)
            first_row += batch.num_rows


def _read(
    file: Path, label: str, only: Collection[str] | None, reading: Reading
) -> Iterator[pa.Table]:
    suffix = file.suffix.lower()
    if suffix == ".csv":
        return read_csv(file, label, only, reading)
    return (_read_parquet if suffix == ".parquet" else _read_jsonl)(file, label, only)


def _read_parquet(path: Path, name: str, only: Collection[str] | None) -> Iterator[pa.Table]:
    try:
        file = pq.ParquetFile(path)
        header = check_header(file.schema_arrow.names, name)
        columns = chosen_columns(header, only)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            # Parquet takes the name of a column for that of nested ones, too.
            yield pa.Table.from_batches([batch]).select(columns)
    except (pa.ArrowInvalid, OSError):
        raise InputError(f"{name} is not readable as Parquet") from None


def _read_jsonl(path: Path, name: str, only: Collection[str] | None) -> Iterator[pa.Table]:
    # A first pass for the columns: writers leave fields out where they have no value.
    columns: dict[str, None] = {}
    for row in _json_rows(path, name):
        columns.update(dict.fromkeys(row))
    rows: list[dict[str, str | None]] = []
    for row in _json_rows(path, name):
        rows.append(row)
        if len(rows) == _BATCH_ROWS:
            yield _text_table(rows, chosen_columns(list(columns), only), name)
            rows = []
    if rows:
        yield _text_table(rows, chosen_columns(list(columns), only), name)


def _json_rows(path: Path, name: str) -> Iterator[dict[str, str | None]]:
    for number, line in enumerate(_lines(path, name), start=1):
        if line.strip():
            yield _json_row(line, f"{name}, line {number}")


def _lines(path: Path, name: str) -> Iterator[str]:
    try:
        # Not text mode: an unusual line separator inside a JSON string is no line end.
        with path.open("rb") as handle:
            for index, line in enumerate(handle):
                yield line.decode("utf-8" if index else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text") from None


def _json_row(line: str, where: str) -> dict[str, str | None]:
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) != len(pairs):
            raise InputError(f"{where}: a field stands twice")
        return row

    try:
        # Numbers stay the text that was written.
        row = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=no_repeats)
    except (json.JSONDecodeError, RecursionError):
        raise InputError(f"{where}: not readable as JSON") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: not a JSON object")
    return {field: _json_text(value, where) for field, value in row.items()}


def _json_text(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):  # NaN and Infinity, which parse_float does not see
        return None if value != value else str(value)  # noqa: PLR0124 - the NaN test itself
    if isinstance(value, str):
        return value
    raise InputError(f"{where}: a value is a list or an object; features are single values")


def _text_table(rows: list[dict[str, str | None]], columns: list[str], name: str) -> pa.Table:
    try:
        return pa.table(
            {column: pa.array([row.get(column) for row in rows], pa.string()) for column in columns}
        )
    except (pa.ArrowInvalid, UnicodeEncodeError):
        raise InputError(f"{name}: a text value is not valid Unicode") from None
