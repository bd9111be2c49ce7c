"""Reading a dataset in batches: CSV, Parquet, JSON or Arrow, one file or a directory of them.

Text formats yield every value as the text that was written, so that the id 007 stays 007;
`schema.py` turns values into features.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.rows.arrow_rows import read_arrow, read_parquet
from unlearn.stages.rows.csv_reading import read_csv
from unlearn.stages.rows.dataset_files import dataset_files, file_kind, partition_values
from unlearn.stages.rows.json_rows import read_json
from unlearn.stages.rows.reading import (
    ONE_LINE_A_ROW,
    NoColumnsError,
    Reading,
    check_header,
    chosen_columns,
)

#: Metadata of a batch: the file that its rows are from, and the number of the first one there.
_FILE, _FIRST_ROW = b"unlearn.file", b"unlearn.row"


@dataclass(frozen=True)
class RowPlace:
    """Where a row is: its file, and its number there, from 1, without the header."""

    file: str
    row: int

    def __str__(self) -> str:
        return str(self.facts())

    def facts(self, column: str | None = None) -> Facts:
        """Return the place of the row, or of its value in a column, for an error."""
        return Facts(file=self.file, row=self.row, column=column)


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
    first: tuple[str, list[str]] | None = None
    empty: InputError | None = None
    for file in dataset_files(path, name):
        label = name if path.is_file() else f"{name}/{file.relative_to(path).as_posix()}"
        first_row = 1
        try:
            for read in _read_file(file, label, only, reading):
                batch = _with_partitions(read, partition_values(file, path, name), label, only)
                first = first or (label, batch.column_names)
                _check_columns(batch.column_names, label, *first)
                place = {_FILE: label, _FIRST_ROW: str(first_row)}
                yield batch.select(first[1]).replace_schema_metadata(place)
                first_row += batch.num_rows
        except NoColumnsError as error:
            # Writers in parallel leave files without a byte where they had no rows.
            empty = error
    if first is None and empty is not None:
        raise empty


def _read_file(
    file: Path, label: str, only: Collection[str] | None, reading: Reading
) -> Iterator[pa.Table]:
    kind = file_kind(file)
    if kind == "csv":
        return read_csv(file, label, only, reading)
    read = {"parquet": read_parquet, "json": read_json, "arrow": read_arrow}[kind]
    return read(file, label, lambda names: chosen_columns(check_header(list(names), label), only))


def _check_columns(found: list[str], label: str, first: str, columns: list[str]) -> None:
    for column in columns:
        if column not in found:
            raise InputError(
                f"{label} has no column {column!r}, which {first} has",
                facts=Facts(file=label, column=column, columns=tuple(found)),
            )
    for column in found:
        if column not in columns:
            raise InputError(
                f"{label} has a column {column!r}, which {first} does not have",
                facts=Facts(file=label, column=column, columns=tuple(found)),
            )


def _with_partitions(
    batch: pa.Table, values: Mapping[str, str | None], label: str, only: Collection[str] | None
) -> pa.Table:
    """Return a batch with the columns that the names of its file's folders say.

    Raises
    ------
    InputError
        If a column of the file has other values than its folder's name says.
    """
    for column, value in values.items():
        if column in batch.column_names:
            if not _all_are(batch[column], value):
                raise InputError(
                    f"{label}: column {column!r} has other values than the folder's name says",
                    facts=Facts(file=label, column=column),
                )
        elif only is None or column in only:
            array = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
            batch = batch.append_column(column, array)
    return batch


def _all_are(column: pa.ChunkedArray, value: str | None) -> bool:
    try:
        found = pc.unique(pc.cast(column, pa.string())).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False  # lists and objects
    return all(text == value for text in found)
