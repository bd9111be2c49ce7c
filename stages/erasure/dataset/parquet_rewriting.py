"""Parquet without some of its rows: schema, metadata, row groups and compression stay."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from unlearn.stages.erasure.dataset.kept_values import (
    Values,
    check_columns,
    dictionary_columns,
    joined_values,
    rows_taken,
    used_values,
    with_values,
)
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers, numbers_between
from unlearn.stages.errors import Facts, InputError

#: Encodings that are written if they are asked for; the others follow from the type.
_CHOSEN_ENCODINGS = (
    "DELTA_BINARY_PACKED",
    "DELTA_LENGTH_BYTE_ARRAY",
    "DELTA_BYTE_ARRAY",
    "BYTE_STREAM_SPLIT",
)
_DICTIONARIES = ("RLE_DICTIONARY", "PLAIN_DICTIONARY")

#: What an older file's version says does not tell which types it has: any that fits will do.
_VERSIONS = ("2.6", "2.4", "1.0")

#: Times of 96 bits, as Spark and Impala write them.
_TIMES = "INT96"

_ARROW_SCHEMA = b"ARROW:schema"
_SCHEMA_LINES = 2


def open_parquet(path: Path, unit: str = "us") -> pq.ParquetFile:
    """Open a Parquet file; times of 96 bits are read in this unit."""
    return pq.ParquetFile(path, coerce_int96_timestamp_unit=unit, page_checksum_verification=True)


def check_parquet(path: Path, name: str) -> None:
    """Raise an InputError if a file cannot be written again with its schema."""
    with open_parquet(path) as file:
        check_columns(file.schema_arrow, name)
        _same_schema(file, name, "us")


def write_parquet_without(path: Path, name: str, gone: RowNumbers, target: Path) -> None:
    """Write a Parquet file without some of its rows, one row group in memory at a time.

    The new file has the schema, the metadata of writers such as pandas, and a row group for each
    old one that has rows left, with the compression, dictionaries, encodings and indexes of its
    columns. Dictionaries have only values that rows of the file have.

    Parameters
    ----------
    path, name
        A file that `read_batches` reads, and what errors call it.
    gone
        The rows to leave out.
    target
        The new file.

    Raises
    ------
    InputError
        If the file cannot be written again with its schema.
    """
    unit = _unit_of_times(path)
    with open_parquet(path, unit) as file:
        check_columns(file.schema_arrow, name)
        options = _options(file.metadata) | _same_schema(file, name, unit)
        values = _values_left(file, gone)
        with pq.ParquetWriter(target, file.schema_arrow, **options) as writer:
            for rows in _groups_left(file, gone, None):
                writer.write_table(_with_values(rows, values), row_group_size=rows.num_rows)


def _groups_left(
    file: pq.ParquetFile, gone: RowNumbers, columns: list[str] | None
) -> Iterator[pa.Table]:
    """Yield the rows of each row group that stay, if there are any."""
    first = 0
    for group in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        leaving = numbers_between(gone, first, count)
        first += count
        if leaving.size < count:
            staying = np.delete(np.arange(count), leaving)
            yield rows_taken(file.read_row_group(group, columns=columns), staying)


def _values_left(file: pq.ParquetFile, gone: RowNumbers) -> Values:
    """Return the values of dictionaries that rows have which stay, over all row groups."""
    columns = dictionary_columns(file.schema_arrow)
    parts: dict[str, list[pa.Array]] = {column: [] for column in columns}
    for rows in _groups_left(file, gone, columns) if columns else ():
        for column in columns:
            parts[column].append(used_values(rows[column].chunk(0)))
    return {name: found for name in columns if (found := joined_values(parts[name])) is not None}


def _with_values(rows: pa.Table, values: Values) -> pa.Table:
    for name, found in values.items():
        index = rows.column_names.index(name)
        column = with_values(rows[name].chunk(0), found)
        rows = rows.set_column(index, rows.schema.field(index), column)
    return rows


def _column_chunks(metadata: pq.FileMetaData) -> dict[str, list[Any]]:
    """Return the parts of each column in all row groups, by the column's path."""
    found: dict[str, list[Any]] = {}
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            part = row_group.column(index)
            found.setdefault(part.path_in_schema, []).append(part)
    return found


def _options(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Return the options with which a file was written, as far as its metadata says."""
    columns = _column_chunks(metadata)
    encodings = {
        path: {encoding for part in parts for encoding in part.encodings}
        for path, parts in columns.items()
    }
    with_dictionary = [
        path for path, found in encodings.items() if found.intersection(_DICTIONARIES)
    ]
    chosen = {
        path: next(encoding for encoding in _CHOSEN_ENCODINGS if encoding in found)
        for path, found in encodings.items()
        if found.intersection(_CHOSEN_ENCODINGS) and path not in with_dictionary
    }
    parts = list(itertools.chain.from_iterable(columns.values()))
    options: dict[str, Any] = {
        "use_dictionary": with_dictionary or False,
        "write_statistics": [path for path in columns if columns[path][0].is_stats_set] or False,
        "write_page_index": any(part.has_offset_index for part in parts),
    }
    if any(_is_of_second_version(part) for part in parts):
        options["data_page_version"] = "2.0"
    if columns:
        options["compression"] = {
            path: _codec(found[0].compression) for path, found in columns.items()
        }
    if chosen:
        options["column_encoding"] = chosen
    if metadata.num_row_groups and (order := metadata.row_group(0).sorting_columns):
        options["sorting_columns"] = order
    return options


def _is_of_second_version(part: Any) -> bool:
    """Return whether a column chunk certainly has pages of version 2: as truth values show."""
    return part.physical_type == "BOOLEAN" and "PLAIN" not in part.encodings


def _codec(name: str) -> str:
    return "NONE" if name == "UNCOMPRESSED" else name


def _same_schema(file: pq.ParquetFile, name: str, unit: str) -> dict[str, Any]:
    """Return options with which a file of these columns has the same schema as this one.

    Raises
    ------
    InputError
        If there are none.
    """
    said = file.metadata.format_version
    versions = sorted(_VERSIONS, key=lambda version: version != said)
    times = _has_times(file)
    stored = _ARROW_SCHEMA in (file.metadata.metadata or {})
    for version, nested, decimals, utc in itertools.product(
        versions, (True, False), (False, True), (False, True)
    ):
        options = {
            "version": version,
            "use_compliant_nested_type": nested,
            "store_decimal_as_integer": decimals,
            "write_time_adjusted_to_utc": utc,
            "use_deprecated_int96_timestamps": times,
            "store_schema": stored,
        }
        if _gives(file, options, unit):
            return options
    raise InputError(
        f"{name} cannot be written again with the schema that it has",
        "write the file again with pyarrow or pandas, for example",
        facts=Facts(file=name),
    )


def _has_times(file: pq.ParquetFile) -> bool:
    return any(column.physical_type == _TIMES for column in _leaves(file))


def _leaves(file: pq.ParquetFile) -> list[Any]:
    return [file.schema.column(index) for index in range(len(file.schema))]


def _gives(file: pq.ParquetFile, options: dict[str, Any], unit: str) -> bool:
    """Return whether an empty file that is written so has the schema of this one."""
    sink = io.BytesIO()
    try:
        pq.ParquetWriter(sink, file.schema_arrow, **options).close()
    except (pa.ArrowException, ValueError):
        return False
    found = pq.ParquetFile(sink, coerce_int96_timestamp_unit=unit)
    return (
        _text(found) == _text(file)
        and found.schema_arrow.equals(file.schema_arrow, check_metadata=True)
        and _without_schema(found) == _without_schema(file)
    )


def _text(file: pq.ParquetFile) -> list[str]:
    """Return the columns as Parquet has them: the name of the whole is the writer's own."""
    return str(file.schema).splitlines()[_SCHEMA_LINES:]


def _without_schema(file: pq.ParquetFile) -> dict[bytes, bytes]:
    metadata = file.metadata.metadata or {}
    return {key: value for key, value in metadata.items() if key != _ARROW_SCHEMA}


def _unit_of_times(path: Path) -> str:
    """Return the unit that holds all times of 96 bits: nanoseconds reach from 1678 to 2261."""
    with open_parquet(path) as file:
        columns = [column.path for column in _leaves(file) if column.physical_type == _TIMES]
        if not columns:
            return "us"
        limits = pa.array([-(2**63) // 1000 + 1, 2**63 // 1000 - 1], pa.int64())
        for batch in file.iter_batches(columns=columns):
            for column in batch.columns:
                if not pa.types.is_timestamp(column.type):
                    return "us"  # in a list or an object
                found = pc.min_max(column.cast(pa.timestamp("us")).cast(pa.int64()))
                least, most = found["min"].as_py(), found["max"].as_py()
                if least is not None and (least < limits[0].as_py() or most > limits[1].as_py()):
                    return "us"
    return "ns"
