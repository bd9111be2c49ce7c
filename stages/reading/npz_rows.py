"""Reading `.npz` archives of NumPy: arrays of one length, a row of each at a time.

An array of one dimension is a column. One of two dimensions is spread to columns as a list of one
length is, and one of more stays whole, as do those that are asked for whole. Arrays are read in
parts from the archive: none is in memory as a whole. Nothing is ever unpickled.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.arrow_rows import Choose
from unlearn.stages.reading.arrow_types import with_common_types
from unlearn.stages.reading.fixed_lists import SpreadColumns

#: Rows of a batch, and bytes of the arrays that they are read from.
_BATCH_ROWS, _BATCH_BYTES = 16_384, 8 << 20

#: Bytes of the values of one row in all arrays, at most.
_MOST_BYTES_OF_A_ROW = 64 << 20

#: Bytes of an array whose values are stored column by column, at most: it is read as a whole.
_MOST_BYTES_BY_COLUMN = 64 << 20

#: What reading a damaged archive raises; encrypted ones raise a RuntimeError.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    pa.ArrowException,
)

#: Units of times that Arrow does not have, and those in which it has the same times.
_UNITS = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"}

#: The end of an archive: a signature, 6 bytes, the number of entries, and 10 bytes.
_END = struct.Struct("<4s6sH10s")
_IN_ANOTHER_RECORD = 0xFFFF

_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class _Array:
    """An array of an archive, by its header.

    Parameters
    ----------
    name
        Its name, without the ending.
    info
        The archive's entry.
    dtype, shape
        As the header says.
    by_column
        Whether its values are stored column by column (Fortran order).
    header_bytes
        Where its values begin.
    """

    name: str
    info: zipfile.ZipInfo
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_column: bool
    header_bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of the values of a row."""
        return int(self.dtype.itemsize) * math.prod(self.shape[1:])

    def type_of(self, whole: Collection[str]) -> pa.DataType:
        """Return the Arrow type of the column that the array is."""
        value = _arrow(np.empty(0, self.dtype)).type
        if len(self.shape) == 1:
            return value
        if self.name not in whole and len(self.shape) == 2:  # noqa: PLR2004 - rows and columns
            return pa.list_(value, self.shape[1])
        if not pa.types.is_primitive(value):
            return pa.list_(value, math.prod(self.shape[1:]))
        return pa.fixed_shape_tensor(value, self.shape[1:])


def read_npz(
    path: Path, name: str, choose: Choose, whole: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield the rows of an archive; see `unlearn.stages.reading.records.read_batches`.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    choose
        Returns the columns to read.
    whole
        Arrays that stay whole where they have two dimensions.

    Raises
    ------
    InputError
        If the file is no archive of arrays, is damaged, or has objects, single values, or arrays
        that differ in their length.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            _check_count(file, archive)
            arrays = {array.name: array for array in _arrays(archive, name)}
            schema = pa.schema([(key, array.type_of(whole)) for key, array in arrays.items()])
            spread = SpreadColumns.of(schema, whole)
            columns = choose(spread.names)
            read = [arrays[key] for key in spread.columns_of_file(columns)]
            for batch in _batches(archive, read, schema, name):
                yield with_common_types(spread.select(batch, columns))
    except _DAMAGE:
        raise InputError(
            f"{name} is not readable as an archive of NumPy", facts=Facts(file=name)
        ) from None


def _check_count(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Raise a BadZipFile if the archive has another number of entries than its end says."""
    position = file.tell()
    file.seek(-_END.size, io.SEEK_END)
    signature, _, count, _ = _END.unpack(file.read(_END.size))
    file.seek(position)
    # Behind a comment, or with very many entries, the number is elsewhere.
    known = signature == b"PK\x05\x06" and count != _IN_ANOTHER_RECORD
    if known and count != len(archive.infolist()):
        raise zipfile.BadZipFile(count)


def _arrays(archive: zipfile.ZipFile, name: str) -> list[_Array]:
    """Return the arrays of an archive, by their headers, which are checked."""
    found: list[_Array] = []
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            raise InputError(
                f"{name} has something else than arrays of NumPy",
                "write it with numpy.savez or numpy.savez_compressed",
                facts=Facts(file=name),
            )
        array = _header(archive, info)
        _check(array, name)
        if any(array.name == other.name for other in found):
            raise InputError(f"{name}: an array's name stands twice", facts=Facts(file=name))
        if found and array.shape[0] != found[0].shape[0]:
            one, other = found[0], array
            raise InputError(
                f"{name}: array {one.name!r} has {one.shape[0]:,} rows, and array {other.name!r} "
                f"has {other.shape[0]:,}",
                "all arrays of a file need the same first dimension: write each set of rows to a "
                "file of its own, with the same names of arrays",
                facts=Facts(file=name, column=other.name),
            )
        found.append(array)
    if not found:
        raise InputError(f"{name} has no arrays", facts=Facts(file=name))
    return found


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Array:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _READ_HEADER:
            raise ValueError(version)
        shape, by_column, dtype = _READ_HEADER[version](stream)
        name = info.filename.removesuffix(".npy")
        return _Array(name, info, dtype, shape, by_column and len(shape) > 1, stream.tell())


def _check(array: _Array, name: str) -> None:
    """Raise an InputError if an array has no values that a column can have."""
    problem, hints = None, list[str]()
    if array.dtype.hasobject:
        problem = "has Python objects, which are not read: they can run code"
        hints = ["write text as an array of type str, and numbers as one of a type of numbers"]
    elif not _is_readable(array.dtype):
        problem = f"has type {array.dtype}, which is neither a number nor text"
        hints = ["leave it out of the file, or write it as numbers or text"]
    elif not array.shape:
        problem = "is a single value, not one for each row"
        hints = ["leave it out of the file"]
    elif array.row_bytes == 0:
        problem = "has no values in its rows"
    elif array.row_bytes > _MOST_BYTES_OF_A_ROW:
        problem = f"has more than {_MOST_BYTES_OF_A_ROW >> 20} MB in a row"
    elif array.by_column and array.shape[0] * array.row_bytes > _MOST_BYTES_BY_COLUMN:
        problem = "is stored column by column (Fortran order), and is too large for it"
        hints = ["numpy.ascontiguousarray gives an array that is stored row by row"]
    if problem is not None:
        raise InputError(
            f"{name}: array {array.name!r} {problem}",
            *hints,
            facts=Facts(file=name, column=array.name),
        )
    if array.info.file_size != array.header_bytes + array.shape[0] * array.row_bytes:
        raise InputError(
            f"{name} is damaged: array {array.name!r} has another size than it says",
            facts=Facts(file=name, column=array.name),
        )


def _is_readable(dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "M":
        return np.datetime_data(dtype)[0] != "generic"
    # Numbers of up to 64 bits: longer ones have another form on each machine.
    return dtype.kind in "US" or (dtype.kind in "biuf" and dtype.itemsize <= 8)  # noqa: PLR2004


def _batches(
    archive: zipfile.ZipFile, arrays: list[_Array], schema: pa.Schema, name: str
) -> Iterator[pa.Table]:
    """Yield the rows of arrays, some megabytes at a time; all streams must end with the last."""
    rows, row_bytes = arrays[0].shape[0], sum(array.row_bytes for array in arrays)
    if row_bytes > _MOST_BYTES_OF_A_ROW:
        raise InputError(
            f"{name} has more than {_MOST_BYTES_OF_A_ROW >> 20} MB in a row", facts=Facts(file=name)
        )
    at_a_time = max(1, min(_BATCH_ROWS, _BATCH_BYTES // row_bytes))
    readers = [_Reader(archive, array) for array in arrays]
    for first in range(0, max(rows, 1), at_a_time):
        count = min(at_a_time, rows - first)
        columns = {
            reader.array.name: _column(
                reader.rows(first, count), schema.field(reader.array.name).type, reader.array, name
            )
            for reader in readers
        }
        yield pa.table(columns)
    for reader in readers:
        reader.finish()


class _Reader:
    """Reads the rows of an array one part after another.

    Parameters
    ----------
    archive, array
        The open archive, and an array of it.
    """

    def __init__(self, archive: zipfile.ZipFile, array: _Array) -> None:
        self.array = array
        self._stream: IO[bytes] = archive.open(array.info)
        _exactly(self._stream, array.header_bytes)
        self._whole: npt.NDArray[Any] | None = None
        if array.by_column:
            content = _exactly(self._stream, array.shape[0] * array.row_bytes)
            self._whole = np.frombuffer(content, array.dtype).reshape(array.shape, order="F")

    def rows(self, first: int, count: int) -> npt.NDArray[Any]:
        """Return the next rows, shape (count, ...)."""
        if self._whole is not None:
            return np.ascontiguousarray(self._whole[first : first + count])
        content = _exactly(self._stream, count * self.array.row_bytes)
        return np.frombuffer(content, self.array.dtype).reshape(count, *self.array.shape[1:])

    def finish(self) -> None:
        """Check that nothing follows; the archive's checksum is compared here."""
        if self._stream.read(1):
            raise ValueError(self.array.name)
        self._stream.close()


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """Return so many bytes of a stream; fewer are an EOFError."""
    content = stream.read(size)
    if len(content) != size:
        raise EOFError
    return content


def _column(
    values: npt.NDArray[Any], kind: pa.DataType, array: _Array, name: str
) -> pa.Array | pa.ChunkedArray:
    """Return rows of an array as a column."""
    try:
        flat = _arrow(values.reshape(-1))
    except (UnicodeError, pa.ArrowInvalid):
        raise InputError(
            f"{name}: array {array.name!r} has text that is not UTF-8",
            facts=Facts(file=name, column=array.name),
        ) from None
    if values.ndim == 1:
        return flat
    lists = pa.FixedSizeListArray.from_arrays(flat, math.prod(array.shape[1:]))
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, lists)
    return lists


def _arrow(values: npt.NDArray[Any]) -> pa.Array:
    """Return the values of an array of one dimension as Arrow has them."""
    kind = values.dtype.kind
    if kind == "U":
        return pa.array(values, pa.string())
    if kind == "S":
        return pa.array(values, pa.binary()).cast(pa.string())
    if kind == "M":
        unit = np.datetime_data(values.dtype)[0]
        unit = _UNITS.get(unit, unit)
        return pa.array(values.astype(f"datetime64[{unit}]"))
    if values.dtype == np.float16:
        return pa.array(values.astype(np.float32))
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
