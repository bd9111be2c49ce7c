"""Archives of NumPy (`.npz`) without some of their rows: names, types, order and layout stay."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers
from unlearn.stages.errors import Facts, InputError

#: Bytes of an array that are in memory at a time, where one row is not larger.
_PIECE_BYTES = 1 << 20
_ENDING = ".npy"
_ENCRYPTED = 0x1

#: What damaged archives raise.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True)
class _Header:
    """What an array's file says before the values.

    Parameters
    ----------
    version
        Of the format.
    shape, dtype
        Of the array.
    is_fortran
        Whether values are stored with the first index changing fastest.
    """

    version: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool

    @property
    def rows(self) -> int | None:
        """The length of the first dimension; None for an array without one."""
        return self.shape[0] if self.shape else None

    @property
    def item_bytes(self) -> int:
        """The bytes of what is kept or left out as a whole: a row, or one value of it."""
        within = 1 if self.is_fortran else int(np.prod(self.shape[1:], dtype=np.int64))
        return self.dtype.itemsize * within

    @property
    def items(self) -> int:
        """The number of such items."""
        within = int(np.prod(self.shape[1:], dtype=np.int64)) if self.is_fortran else 1
        return (self.rows or 0) * within


def check_npz(path: Path, name: str) -> None:
    """Raise an InputError if rows cannot be taken out of an archive.

    Parameters
    ----------
    path, name
        The archive, and what errors call it.

    Raises
    ------
    InputError
        If it is damaged, encrypted, has Python objects, two members of one name, or arrays with
        other numbers of rows.
    """
    with _readable(path, name) as archive:
        _rows_of(archive, name)


def write_npz_without(path: Path, name: str, gone: RowNumbers, target: Path) -> None:
    """Write an archive of NumPy without some of its rows, about 1 MiB in memory at a time.

    Every array keeps its name, type, byte order, layout (C or Fortran) and compression, and the
    archive the order and times of its members. Members that are no arrays are copied.

    Parameters
    ----------
    path, name
        The archive, and what errors call it.
    gone
        The rows to leave out, in order.
    target
        The new file.

    Raises
    ------
    InputError
        See `check_npz`.
    """
    with _readable(path, name) as archive:
        rows = _rows_of(archive, name)
        stays = np.ones(rows, dtype=bool)
        stays[gone] = False
        with zipfile.ZipFile(target, "w", allowZip64=True) as new:
            new.comment = archive.comment
            for info in archive.infolist():
                member = zipfile.ZipInfo(info.filename, info.date_time)
                member.compress_type, member.comment = info.compress_type, info.comment
                member.external_attr, member.create_system = info.external_attr, info.create_system
                # The size is not known before: it is written with room for large members.
                with archive.open(info) as source, new.open(member, "w", force_zip64=True) as sink:
                    if info.filename.endswith(_ENDING):
                        _write_array(source, name, stays, sink)
                    else:
                        _copy(source, sink)


def _write_array(
    source: IO[bytes], name: str, stays: npt.NDArray[np.bool_], sink: IO[bytes]
) -> None:
    header = _header(source, name)
    if header.rows is None:
        raise ValueError  # `_rows_of` has refused it
    facts = {
        "descr": npy.dtype_to_descr(header.dtype),
        "fortran_order": header.is_fortran,
        "shape": (int(stays.sum()), *header.shape[1:]),
    }
    if header.version == (1, 0):
        npy.write_array_header_1_0(sink, facts)
    else:
        npy.write_array_header_2_0(sink, facts)
    size = header.item_bytes
    # The number of each item's row takes 16 bytes.
    at_once = max(1, _PIECE_BYTES // max(16, size))
    for first in range(0, header.items if size else 0, at_once):
        count = min(at_once, header.items - first)
        items = np.frombuffer(_exactly(source, count * size), np.uint8).reshape(count, size)
        # In Fortran's order, each index of a row is followed by that of the next row.
        rows = np.arange(first, first + count) % stays.size
        sink.write(items[stays[rows]].tobytes())


def _exactly(source: IO[bytes], size: int) -> bytes:
    content = source.read(size)
    if len(content) != size:
        raise EOFError
    return content


def _copy(source: IO[bytes], sink: IO[bytes]) -> None:
    while content := source.read(_PIECE_BYTES):
        sink.write(content)


@contextmanager
def _readable(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; damage is an InputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE:
        raise InputError(f"{name} is not readable as NPZ", facts=Facts(file=name)) from None


def _rows_of(archive: zipfile.ZipFile, name: str) -> int:
    """Return the number of rows of all arrays; they must have the same."""
    seen: set[str] = set()
    counts: dict[int, str] = {}
    for info in archive.infolist():
        if info.filename in seen:
            raise InputError(
                f"{name} has two members of one name: which of them is read depends on the program",
                "write the archive again with numpy.savez",
                facts=Facts(file=name),
            )
        seen.add(info.filename)
        if info.flag_bits & _ENCRYPTED:
            raise ValueError
        if not info.filename.endswith(_ENDING):
            continue
        column = info.filename.removesuffix(_ENDING)
        with archive.open(info) as source:
            header = _header(source, name, column)
            length = header.items * header.item_bytes
            if header.rows is not None and source.tell() + length != info.file_size:
                raise ValueError
        if header.rows is None:
            raise InputError(
                f"{name}: array {column!r} has no rows: it is a single value",
                "leave it out, or write it for each row",
                facts=Facts(file=name, column=column),
            )
        counts.setdefault(header.rows, column)
    if len(counts) > 1:
        (one, first), (other, second), *_ = counts.items()
        raise InputError(
            f"{name}: array {first!r} has {one:,} rows, and array {second!r} has {other:,}",
            "all arrays of an archive have one row for each record",
            facts=Facts(file=name, column=second),
        )
    return next(iter(counts), 0)


def _header(source: IO[bytes], name: str, column: str | None = None) -> _Header:
    """Read what an array's file says before its values.

    Raises
    ------
    InputError
        If the array has Python objects, or names of fields that are not Latin-1.
    """
    version = npy.read_magic(source)
    if version == (1, 0):
        shape, is_fortran, dtype = npy.read_array_header_1_0(source)
    elif version == (2, 0):
        shape, is_fortran, dtype = npy.read_array_header_2_0(source)
    else:
        raise InputError(
            f"{name}: array {column!r} has a type with names of fields, which is not read",
            facts=Facts(file=name, column=column),
        )
    if dtype.hasobject:
        raise InputError(
            f"{name}: array {column!r} has Python objects, which only a pickle can hold",
            "write it as text (dtype U) or numbers",
            facts=Facts(file=name, column=column),
        )
    return _Header(version, tuple(shape), dtype, is_fortran)
