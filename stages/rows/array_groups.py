"""Shard files with arrays: written and read a group of rows at a time, in bounded memory.

The rows of a group follow from the columns' widths alone, so that a file has the same bytes whether
its rows were in memory or not.
"""

from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.rows.arrays import ArrayColumns, array_column, chunk_bytes

#: Bytes of arrays in a group of rows, where one row has no more; and rows, at most.
_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 1 << 16

#: Bytes of arrays that are encoded together.
_ENCODED_BYTES = 1 << 20


def rows_of_a_group(widths: Mapping[str, int]) -> int:
    """Return how many rows a group has, by the bytes of a value of each column of arrays."""
    return max(1, min(_GROUP_ROWS, _GROUP_BYTES // max(1, sum(widths.values()))))


def in_groups(arrays: ArrayColumns, name: str, rows: int) -> Iterator[memoryview]:
    """Yield the bytes of a column of arrays, some megabytes at a time."""
    at_a_time = rows_of_a_group(arrays.widths)
    for first in range(0, rows, at_a_time):
        for values in chunk_bytes(pa.chunked_array([arrays.read(name, first, at_a_time)])):
            yield values.reshape(-1).data


def write_groups(
    file: IO[bytes],
    rows: pa.Table,
    arrays: ArrayColumns,
    compression: Mapping[str, str],
    texts: list[str],
) -> None:
    """Write rows with arrays to a Parquet file.

    Parameters
    ----------
    file
        Where to write.
    rows
        All columns, with the metadata of the file. Those of `arrays` are read from there.
    arrays
        The columns of arrays.
    compression, texts
        The compression by column, and the columns with a dictionary.
    """
    schema = pa.schema(
        [
            pa.field(field.name, pa.binary(arrays.widths[field.name]))
            if field.name in arrays.widths
            else field
            for field in rows.schema
        ],
        rows.schema.metadata,
    )
    others = [name for name in schema.names if name not in arrays.widths]
    with pq.ParquetWriter(
        file,
        schema,
        compression=dict(compression),
        use_dictionary=texts,
        # The least and the largest picture say nothing.
        write_statistics=others,
        write_batch_size=max(1, min(1_024, _ENCODED_BYTES // max(arrays.widths.values()))),
    ) as writer:
        at_a_time = rows_of_a_group(arrays.widths)
        # A file without rows has a group as well, as tables without arrays have.
        for first in range(0, max(1, rows.num_rows), at_a_time):
            part = rows.slice(first, at_a_time)
            columns = [
                arrays.read(name, first, at_a_time) if name in arrays.widths else part[name]
                for name in schema.names
            ]
            writer.write_table(pa.table(columns, schema), row_group_size=at_a_time)


def read_array(file: pq.ParquetFile, name: str) -> pa.FixedSizeBinaryArray:
    """Return a column of arrays of a Parquet file; no more than a group is in memory twice."""
    width = file.schema_arrow.field(name).type.byte_width
    values = np.empty((file.metadata.num_rows, width), np.uint8)
    first = 0
    for group in range(file.metadata.num_row_groups):
        for part in chunk_bytes(file.read_row_group(group, [name])[name]):
            values[first : first + len(part)] = part
            first += len(part)
    return array_column(values)
