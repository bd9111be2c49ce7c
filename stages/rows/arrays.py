"""Columns of arrays, such as pictures: each row's numbers as its bytes, little-endian.

A picture of shape (channels, height, width) is that many bytes; a tensor has 4 bytes a number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: The bytes of rows, shape (rows, bytes of a row).
RowBytes = npt.NDArray[np.uint8]


class ArrayColumns(Protocol):
    """Columns of arrays of a table's rows, which need not be in memory."""

    @property
    def widths(self) -> Mapping[str, int]:
        """Bytes of a value, by column."""

    def read(self, column: str, first: int, count: int) -> pa.FixedSizeBinaryArray:
        """Return the values of some rows that follow each other; there can be fewer at the end."""


@dataclass(frozen=True)
class ArraysInMemory:
    """The columns of arrays of a table.

    Parameters
    ----------
    rows
        The table.
    widths
        Bytes of a value, by column.
    """

    rows: pa.Table
    widths: Mapping[str, int]

    def read(self, column: str, first: int, count: int) -> pa.FixedSizeBinaryArray:
        """Return the values of some rows; see `ArrayColumns`."""
        return array_column(column_bytes(self.rows[column].slice(first, count)))


def array_column(rows: RowBytes) -> pa.FixedSizeBinaryArray:
    """Return the bytes of rows as an Arrow array; no copy is made of a contiguous one."""
    data = pa.py_buffer(np.ascontiguousarray(rows))
    kind = pa.binary(rows.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, data])


def chunk_bytes(column: pa.ChunkedArray) -> list[RowBytes]:
    """Return the bytes of the rows of each chunk, shape (rows, bytes), without a copy.

    Parameters
    ----------
    column
        Of fixed-size binary values, of which none is missing.
    """
    width = column.type.byte_width
    return [_bytes_of(chunk, width) for chunk in column.chunks if len(chunk)]


def column_bytes(column: pa.ChunkedArray) -> RowBytes:
    """Return the bytes of all rows, shape (rows, bytes); see `chunk_bytes`.

    It may be a view that cannot be written to.
    """
    chunks = chunk_bytes(column)
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate([*chunks, np.zeros((0, column.type.byte_width), np.uint8)])


def joined_buffers(column: pa.ChunkedArray) -> Iterable[memoryview]:
    """Yield the bytes of all rows, one chunk after another, without a copy."""
    for chunk in chunk_bytes(column):
        yield chunk.reshape(-1).data


def _bytes_of(array: pa.FixedSizeBinaryArray, width: int) -> RowBytes:
    data = np.frombuffer(array.buffers()[1], np.uint8)
    return data[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)
