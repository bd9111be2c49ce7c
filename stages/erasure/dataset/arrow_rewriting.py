"""Files and streams of Arrow without some of their rows: schema, batches and compression stay."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc
from unlearn.stages.erasure.dataset.kept_values import (
    Values,
    check_columns,
    dictionary_columns,
    joined_values,
    taken,
    used_values,
    with_values,
)
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers, numbers_between

#: The first bytes of a file, before its messages; a stream has none.
_MAGIC = b"ARROW1\0\0"

#: Fields of the tables that metadata consists of, in `Message.fbs` of Arrow's format.
_HEADER, _COMPRESSION, _CODEC = 2, 3, 0
_CODECS = {0: "lz4", 1: "zstd"}

#: A batch, and metadata of its own.
_Batch = tuple[pa.RecordBatch, pa.KeyValueMetadata | None]


def check_arrow(path: Path, name: str) -> None:
    """Raise an InputError if rows cannot be taken out of a column with all of their values."""
    with pa.memory_map(str(path)) as source:
        check_columns(_opened(source).schema, name)


def write_arrow_without(path: Path, name: str, gone: RowNumbers, target: Path) -> None:
    """Write an Arrow file, or a stream, without some of its rows, a batch in memory at a time.

    The new file has the schema, all metadata, and a batch for each old one that has rows left,
    compressed as the old ones. Dictionaries have only values that rows of the file have.

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
        See `check_columns`.
    """
    options = ipc.IpcWriteOptions(compression=_compression(path))
    with pa.memory_map(str(path)) as source, pa.OSFile(str(target), "wb") as sink:
        reader = _opened(source)
        check_columns(reader.schema, name)
        values = _values_left(path, gone)
        if isinstance(reader, ipc.RecordBatchFileReader):
            # A file may have a dictionary once.
            writer = ipc.new_file(sink, reader.schema, options=options, metadata=reader.metadata)
        else:
            writer = ipc.new_stream(sink, reader.schema, options=options)
        with writer:
            for batch, metadata in _batches_left(path, gone, None):
                writer.write_batch(_with_values(batch, values), custom_metadata=metadata)


def _opened(source: pa.MemoryMappedFile) -> Any:
    try:
        return ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return ipc.open_stream(source)


def arrow_batches(path: Path) -> Iterator[_Batch]:
    """Yield the batches of a file or a stream, each with metadata of its own."""
    with pa.memory_map(str(path)) as source:
        reader = _opened(source)
        if isinstance(reader, ipc.RecordBatchFileReader):
            for number in range(reader.num_record_batches):
                yield tuple(reader.get_batch_with_custom_metadata(number))
        else:
            for found in reader.iter_batches_with_custom_metadata():
                yield tuple(found)


def _batches_left(path: Path, gone: RowNumbers, columns: list[str] | None) -> Iterator[_Batch]:
    """Yield the rows of each batch that stay, if there are any, or never were any."""
    first = 0
    for batch, metadata in arrow_batches(path):
        count = batch.num_rows
        leaving = numbers_between(gone, first, count)
        first += count
        if leaving.size < count or not count:
            staying = np.delete(np.arange(count), leaving)
            chosen = batch if columns is None else batch.select(columns)
            # Also of a batch from which no row goes: its buffers may have more than its rows.
            arrays = [taken(column, staying) for column in chosen.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=chosen.schema), metadata


def _values_left(path: Path, gone: RowNumbers) -> Values:
    """Return the values of dictionaries that rows have which stay, over all batches."""
    parts: dict[str, list[pa.Array]] = {}
    columns: list[str] | None = None
    for batch, _ in arrow_batches(path):
        columns = dictionary_columns(batch.schema)
        break
    for batch, _ in _batches_left(path, gone, columns) if columns else ():
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            parts.setdefault(name, []).append(used_values(column))
    return {
        name: found
        for name in columns or ()
        if (found := joined_values(parts.get(name, []))) is not None
    }


def _with_values(batch: pa.RecordBatch, values: Values) -> pa.RecordBatch:
    columns = [
        with_values(column, values[name]) if name in values else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _compression(path: Path) -> str | None:
    """Return how batches are compressed; no function of pyarrow tells it."""
    with path.open("rb") as start:
        is_file = start.read(len(_MAGIC)) == _MAGIC
    with pa.memory_map(str(path)) as source:
        source.seek(len(_MAGIC) if is_file else 0)
        reader = ipc.MessageReader.open_stream(source)
        for message in reader:
            if message.type == "record batch":
                return _codec_of(message.metadata.to_pybytes())
    return None


def _codec_of(metadata: bytes) -> str | None:
    """Return the codec that the metadata of a batch names."""
    table = _referred(metadata, 0)
    for number in (_HEADER, _COMPRESSION):
        place = _field(metadata, table, number)
        if place is None:
            return None
        table = _referred(metadata, place)
    place = _field(metadata, table, _CODEC)
    return _CODECS.get(0 if place is None else metadata[place])


def _referred(data: bytes, place: int) -> int:
    """Return where an offset leads; see the internals of FlatBuffers."""
    return place + int(struct.unpack_from("<I", data, place)[0])


def _field(data: bytes, table: int, number: int) -> int | None:
    """Return where a field of a table is; None if it has its default."""
    fields = table - int(struct.unpack_from("<i", data, table)[0])
    size = struct.unpack_from("<H", data, fields)[0]
    entry = 2 * (number + 2)
    offset = struct.unpack_from("<H", data, fields + entry)[0] if entry < size else 0
    return table + int(offset) if offset else None
