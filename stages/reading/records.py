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
from unlearn.stages.reading.arrow_rows import read_arrow, read_parquet
from unlearn.stages.reading.column_types import TypeCheck
from unlearn.stages.reading.csv_reading import read_csv
from unlearn.stages.reading.dataset_files import (
    dataset_files,
    file_kind,
    find_files,
    has_types,
    label_of,
    partition_values,
    refuse_pictures,
)
from unlearn.stages.reading.file_columns import AllColumns, refuse_other_columns
from unlearn.stages.reading.file_content import refuse_other_content
from unlearn.stages.reading.json_rows import read_json
from unlearn.stages.reading.npz_rows import read_npz
from unlearn.stages.reading.reading import (
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


def in_pieces(batch: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Yield the rows of a batch so many at a time; `place_of_row` knows where those of each are.

    Parameters
    ----------
    batch
        Rows, from `read_batches` or made elsewhere.
    rows
        The rows of a piece, at least 1; the last one can have fewer.
    """
    if batch.num_rows <= rows:
        yield batch
        return
    metadata = batch.schema.metadata or {}
    for first in range(0, batch.num_rows, rows):
        piece = batch.slice(first, rows)
        if _FILE in metadata:
            row = str(int(metadata[_FIRST_ROW]) + first)
            piece = piece.replace_schema_metadata({**metadata, _FIRST_ROW: row})
        yield piece


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
        How files are read; `Reading.of` tells it for the files of a project's dataset.

    Returns
    -------
    iterator of pyarrow.Table
        All with the same columns, in the order of the first file. From text formats every
        column is a string column; from Parquet columns keep their types, which can differ from
        batch to batch as far as `reading.uses` allows. If `reading.missing_columns` is `null`, a
        column that a file lacks has the type null there. `place_of_row` tells which file a row is
        from.

    Raises
    ------
    InputError
        If a file cannot be read as what its ending says, or the files' columns or their types
        differ.
    """
    whole = _all_columns(path, name, only, reading)
    types = TypeCheck(reading.uses)
    first: tuple[str, list[str]] | None = None
    empty: InputError | None = None
    files = find_files(path, name)
    if files.pictures and not reading.pictures:
        refuse_pictures(files, name)
    for file in files.rows:
        label = label_of(file, path, name)
        partitions = partition_values(file, path, name)
        first_row = 1
        try:
            for read in _read_file(file, label, only, reading):
                batch = _with_partitions(read, partitions, label, only)
                added = batch.column_names[read.num_columns :]
                types.see(read, label, is_typed=has_types(file), named=added)
                if whole is None:
                    first = first or (label, batch.column_names)
                    refuse_other_columns(batch.column_names, label, *first)
                    batch = batch.select(first[1])
                else:
                    first, batch = (label, whole.columns), whole.complete(batch)
                place = {_FILE: label, _FIRST_ROW: str(first_row)}
                yield batch.replace_schema_metadata(place)
                first_row += batch.num_rows
        except NoColumnsError as error:
            # Writers in parallel leave files without a byte where they had no rows.
            empty = error
    if first is None and empty is not None:
        raise empty


#: Readers of the formats whose columns have types.
_READERS = {"parquet": read_parquet, "arrow": read_arrow, "npz": read_npz}


def _state(file: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written to, or replaced."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _all_columns(
    path: Path, name: str, only: Collection[str] | None, reading: Reading
) -> AllColumns | None:
    """Return the columns of all files, if a file may lack any; None otherwise."""
    if reading.missing_columns == "refuse" or path.is_file():
        return None
    whole = AllColumns(reading.required)
    for label, columns in file_columns(path, name, only, reading).items():
        whole.see(columns, label)
    return whole


def file_columns(
    path: Path, name: str, only: Collection[str] | None, reading: Reading
) -> dict[str, list[str]]:
    """Return the columns of each file that has any, those of its folders' names among them.

    See `read_batches` for parameters and errors.
    """
    found: dict[str, list[str]] = {}
    for file in dataset_files(path, name):
        label = label_of(file, path, name)
        try:
            first = next(_read_file(file, label, only, reading), None)
        except NoColumnsError:
            continue
        if first is not None:
            values = partition_values(file, path, name)
            found[label] = _with_partitions(first, values, label, only).column_names
    return found


def _read_file(
    file: Path, label: str, only: Collection[str] | None, reading: Reading
) -> Iterator[pa.Table]:
    """Yield the rows of one file; it must be what its name says, and not change meanwhile."""

    def choose(names: Collection[str]) -> list[str]:
        return chosen_columns(check_header(list(names), label), only)

    try:
        state = _state(file)
        refuse_other_content(file, label)
        kind = file_kind(file)
        if kind == "csv":
            yield from read_csv(file, label, only, reading)
        elif kind == "json":
            yield from read_json(file, label, choose, reading.chats)
        else:
            yield from _READERS[kind](file, label, choose, reading.tensors)
        changed = _state(file) != state
    except OSError as error:
        raise InputError(
            f"{label} cannot be read: {error.strerror or 'an error of the file system'}",
            facts=Facts(file=label),
        ) from None
    if changed:
        raise InputError(
            f"{label} changed while it was read",
            "run the command again when nothing writes to the file",
            facts=Facts(file=label),
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
