"""Files that hold other bytes: archives, compressed files, tables and databases.

What is in them is read in pieces, so that memory does not grow with a file.
"""

import bz2
import gzip
import lzma
import shutil
import sqlite3
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

#: Bytes that are read at a time.
CHUNK_BYTES = 1 << 20
#: Larger members are kept on the disk while they are read.
_MOST_IN_MEMORY = 16 << 20
_ROWS = 1 << 14
#: Bytes of rows that are in memory at a time, where arrays say how large they are.
_BATCH_BYTES = 32 << 20
_HEAD_BYTES = 512

#: What the libraries raise for files that are damaged or written in another way.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    sqlite3.Error,
    pa.ArrowException,
)

#: Formats that are recognised and cannot be opened, by their first bytes.
_CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"PARE": "encrypted Parquet",
    b"ORC": "ORC",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x04\x22\x4d\x18": "LZ4",
    b"Obj\x01": "Avro",
    b"FEA1": "Feather of version 1",
}

#: The length of the first message of an Arrow stream follows these bytes.
_STREAM_START = b"\xff\xff\xff\xff"

Table = Iterator[pa.RecordBatch]
#: A member of an archive: its name, and how to open it.
Member = tuple[str, Callable[[], IO[bytes]]]


#: Compressed files, by their first bytes.
_COMPRESSED: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda source: cast("IO[bytes]", gzip.GzipFile(fileobj=source, mode="rb")),
    b"BZh": lambda source: cast("IO[bytes]", bz2.BZ2File(source)),
    b"\xfd7zXZ\x00": lambda source: cast("IO[bytes]", lzma.open(source)),  # noqa: SIM115 - as above
    b"\x28\xb5\x2f\xfd": lambda source: cast("IO[bytes]", pa.CompressedInputStream(source, "zstd")),
}


class UnreadableError(Exception):
    """A file cannot be opened, or not to its end; the message says why."""


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise UnreadableError(f"{what} that is damaged, encrypted or of another kind") from error


def chunks(source: IO[bytes]) -> Iterator[bytes]:
    """Yield the rest of a file in pieces."""
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def head(source: IO[bytes]) -> bytes:
    """Return the first bytes of a file, which decide its format."""
    source.seek(0)
    found = source.read(_HEAD_BYTES)
    source.seek(0)
    return found


def closed_format(start: bytes) -> str | None:
    """Return the name of a format that holds other bytes and cannot be opened; None for others.

    Parameters
    ----------
    start
        See `head`.
    """
    return next((name for magic, name in _CLOSED.items() if start.startswith(magic)), None)


def members(source: IO[bytes], start: bytes) -> Iterator[Member]:
    """Yield what an archive or a compressed file holds; nothing for other files.

    Parameters
    ----------
    source
        The file. It must be possible to seek in it.
    start
        See `head`.

    Raises
    ------
    UnreadableError
        If it is damaged, encrypted, or compressed in a way that nothing here opens. Members that
        could be opened were yielded before.
    """
    for magic, opened in _COMPRESSED.items():
        if start.startswith(magic):
            yield "content", lambda: opened(source)  # noqa: B023 - there is no other round
            return
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from _zip_members(source)
    elif start[257:262] == b"ustar":
        yield from _tar_members(source)


def _zip_members(source: IO[bytes]) -> Iterator[Member]:
    with _readable("a zip file"), zipfile.ZipFile(source) as archive:
        unread = 0
        for info in archive.infolist():
            if info.is_dir():
                continue
            try:
                archive.open(info).close()
            except _DAMAGED:  # encrypted, or compressed in an unusual way
                unread += 1
                continue
            yield info.filename, lambda info=info: archive.open(info)  # type: ignore[misc]  # bound
    if unread:
        raise UnreadableError(f"a zip file with {unread} members that are encrypted or damaged")


def _tar_members(source: IO[bytes]) -> Iterator[Member]:
    with _readable("a tar file"), tarfile.open(fileobj=source) as archive:
        for info in archive:
            opened = archive.extractfile(info) if info.isfile() else None
            if opened is not None:
                yield info.name, lambda opened=opened: opened  # type: ignore[misc]  # bound


def table(source: IO[bytes], start: bytes) -> Table | None:
    """Return the rows of a Parquet or Arrow file in pieces; None for other files.

    Raises
    ------
    UnreadableError
        While it is read, if it is damaged.
    """
    if start.startswith(b"PAR1"):
        return _parquet_rows(source)
    if start.startswith((b"ARROW1", _STREAM_START)):
        return _arrow_rows(source, start)
    return None


def _parquet_rows(source: IO[bytes]) -> Table:
    with _readable("a Parquet file"), pq.ParquetFile(source) as file:
        size = sum(_least_bytes(column.type) for column in file.schema_arrow)
        yield from file.iter_batches(batch_size=max(1, min(_ROWS, _BATCH_BYTES // max(1, size))))


def _least_bytes(kind: pa.DataType) -> int:
    """Return the bytes of a value that is a picture or another array; of others, no more than 8."""
    if isinstance(kind, pa.BaseExtensionType):
        return _least_bytes(kind.storage_type)
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _least_bytes(kind.value_type)
    return int(kind.bit_width // 8) if pa.types.is_primitive(kind) else 8


def _arrow_rows(source: IO[bytes], start: bytes) -> Table:
    with _readable("an Arrow file"):
        try:
            file = ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            try:
                stream = ipc.open_stream(source)
            except (pa.ArrowInvalid, OSError):
                if start.startswith(_STREAM_START):
                    return  # any file of numbers may begin with these bytes
                raise
            yield from stream
            return
        for number in range(file.num_record_batches):
            yield file.get_batch(number)


def is_database(start: bytes) -> bool:
    """Return whether a file is a database of SQLite."""
    return start.startswith(b"SQLite format 3\x00")


def database_values(source: IO[bytes], folder: Path) -> Iterator[bytes]:
    """Yield each value of all tables of a database that is text or bytes.

    Parameters
    ----------
    source
        The database.
    folder
        A folder for a copy of it: SQLite opens files by name, and may write beside them.

    Raises
    ------
    UnreadableError
        If it is damaged.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name, _readable("a database"):
        copy = Path(name) / "copy.sqlite"
        with copy.open("wb") as out:
            shutil.copyfileobj(source, out)
        with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = bytes
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table_name,) in tables.fetchall():
                quoted = table_name.decode(errors="surrogateescape").replace('"', '""')
                for row in database.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608 - quoted
                    yield from (value for value in row if isinstance(value, bytes))


@contextmanager
def seekable(source: IO[bytes], folder: Path) -> Iterator[IO[bytes]]:
    """Copy a member of an archive, so that it can be searched and then opened.

    Raises
    ------
    UnreadableError
        At the end, if the member could not be read to its end. What could be read was copied.
    """
    problem: Exception | None = None
    with tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY, dir=str(folder)) as copy:
        # What is read before an error must not be lost with it.
        read = getattr(source, "read1", source.read)
        try:
            while chunk := read(CHUNK_BYTES):
                copy.write(chunk)
        except _DAMAGED as error:
            problem = error
        copy.seek(0)
        yield cast("IO[bytes]", copy)
    if problem is not None:
        raise UnreadableError("it is damaged, or cut short") from problem
