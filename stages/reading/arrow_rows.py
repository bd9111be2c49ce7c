"""Reading the formats of Apache Arrow: Parquet, and its own files (`.arrow`, `.feather`)."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.arrow_types import with_common_types
from unlearn.stages.reading.fixed_lists import SpreadColumns

#: Rows of a batch.
_BATCH_ROWS = 16_384

#: Bytes of a batch of rows with pictures or tensors, and bytes that are read of a file at a time.
_BATCH_BYTES, _BUFFER_BYTES = 8 << 20, 1 << 20

#: The first bytes of the format of Feather before version 2.
_OLD_FEATHER = b"FEA1"

#: The last bytes of a stream; without them, nobody knows whether there were more rows.
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"

#: What Arrow raises for damaged files: text and sizes are not checked before they are used.
DAMAGE = (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError)

#: Returns the columns to read, of all those that there are.
Choose = Callable[[Collection[str]], list[str]]


def read_parquet(
    path: Path, name: str, choose: Choose, whole: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file; see `unlearn.stages.reading.records.read_batches`.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    choose
        Returns the columns to read.
    whole
        Columns that stay as they are, because a feature reads each of their values as a tensor.
    """
    try:
        # Spark's timestamps of 12 bytes would overflow in nanoseconds: 9999 would be 1816.
        file = pq.ParquetFile(
            path,
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
            # Otherwise, all bytes of a group of rows are read at once.
            **({"buffer_size": _BUFFER_BYTES, "pre_buffer": False} if whole else {}),
        )
        spread = SpreadColumns.of(file.schema_arrow, whole)
        columns = choose(spread.names)
        own = spread.columns_of_file(columns)
        rows = 0
        at_a_time = _rows_at_a_time(file.metadata) if whole else _BATCH_ROWS
        for batch in file.iter_batches(batch_size=at_a_time, columns=own):
            batch.validate(full=True)
            rows += batch.num_rows
            # Parquet takes the name of a column for that of nested ones, too.
            yield with_common_types(spread.select(pa.Table.from_batches([batch]), columns))
    except DAMAGE:
        raise InputError(f"{name} is not readable as Parquet", facts=Facts(file=name)) from None
    metadata = file.metadata
    groups = sum(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    if not rows == groups == metadata.num_rows:
        raise InputError(
            f"{name} is damaged: it has {rows:,} rows, and says that it has {metadata.num_rows:,}",
            facts=Facts(file=name),
        )


def _rows_at_a_time(metadata: pq.FileMetaData) -> int:
    """Return how many rows of a file of pictures or tensors have some megabytes."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max(
        (group.total_byte_size // group.num_rows for group in groups if group.num_rows), default=1
    )
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))


def read_arrow(
    path: Path, name: str, choose: Choose, whole: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield the rows of an Arrow file, of Feather version 2, or of an Arrow stream.

    See `read_parquet` for the parameters.
    """
    with path.open("rb") as handle:
        if handle.read(len(_OLD_FEATHER)) == _OLD_FEATHER:
            raise InputError(
                f"{name} is a Feather file of version 1, which is not read",
                "write it as Feather of version 2, or as Parquet",
                facts=Facts(file=name),
            )
    try:
        for batch in _batches(path):
            batch.validate(full=True)
            table = pa.Table.from_batches([batch])
            spread = SpreadColumns.of(table.schema, whole)
            columns = choose(spread.names)
            for first in range(0, table.num_rows, _BATCH_ROWS):
                part = table.slice(first, _BATCH_ROWS)
                yield with_common_types(spread.select(part, columns))
    except DAMAGE:
        raise InputError(f"{name} is not readable as Arrow", facts=Facts(file=name)) from None


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        try:
            file = ipc.open_file(source)
        except pa.ArrowInvalid:
            _check_end(source)
            yield from ipc.open_stream(source)
            return
        for number in range(file.num_record_batches):
            yield file.get_batch(number)


def _check_end(source: pa.MemoryMappedFile) -> None:
    source.seek(max(0, source.size() - len(_STREAM_END)))
    if source.read() != _STREAM_END:
        raise pa.ArrowInvalid("the stream has no end")
    source.seek(0)
