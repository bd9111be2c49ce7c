"""Rows on their way to their shards: a temporary file for each, written and read in parts."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa
from pyarrow import ipc
from unlearn.stages.config.params import ShardingParams
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.arrays import joined_buffers
from unlearn.stages.rows.shard_file import RECORD, SUBJECT
from unlearn.stages.rows.token_arrays import Integers, digests_of, integer_array, shard_numbers

#: Rows are moved to their shards so many bytes at a time: for fewer, each call and each write would
#: take longer than its work.
_TOGETHER = 32 << 20


class SpillFiles:
    """Writes rows to a file of their shard; all are complete when the block ends.

    Parameters
    ----------
    folder
        Where the files are made.
    sharding
        The plan of shards.
    arrays
        The columns of arrays, which are written to files of their own.
    """

    def __init__(self, folder: Path, sharding: ShardingParams, arrays: Sequence[str] = ()) -> None:
        self._folder, self._sharding, self._columns = folder, sharding, arrays
        self._files = ExitStack()
        self._writers: dict[str, ipc.RecordBatchStreamWriter] = {}
        self._arrays: dict[Path, BinaryIO] = {}
        # Of rows with arrays there are few in as many bytes, and they are in memory three times.
        self._together = _TOGETHER // 4 if arrays else _TOGETHER
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._files:
            if kind is None:
                self._move()

    def put(self, name: str, rows: pa.Table) -> None:
        """Write rows to the file of this name."""
        for number, column in enumerate(self._columns):
            if column in rows.column_names:
                path = _array_file(self._folder, name, number)
                if path not in self._arrays:
                    self._arrays[path] = self._files.enter_context(path.open("wb"))
                for part in joined_buffers(rows[column]):
                    self._arrays[path].write(part)
                rows = rows.drop_columns([column])
        if name not in self._writers:
            sink = self._files.enter_context(pa.OSFile(str(self._folder / name), "wb"))
            self._writers[name] = self._files.enter_context(ipc.new_stream(sink, rows.schema))
        self._writers[name].write_table(rows)

    def add(self, rows: pa.Table) -> None:
        """Take rows that are to be written where their tokens put them."""
        self._waiting.append(rows)
        self._bytes += rows.get_total_buffer_size()
        if self._bytes >= self._together:
            self._move()

    def _move(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(self._waiting)
            self._waiting, self._bytes = [], 0
            for name, some in _by_place(rows.combine_chunks(), self._sharding):
                self.put(name, some)


def _by_place(rows: pa.Table, sharding: ShardingParams) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each shard, and of the holdout, that has any."""
    governing = digests_of(rows[SUBJECT if SUBJECT in rows.column_names else RECORD])
    names = [*sharding.shards, HOLDOUT]
    numbers = shard_numbers(governing, len(sharding.shards), sharding.holdout)
    sizes = np.bincount(numbers, minlength=len(names))
    # Sorted once, a shard's rows follow each other, and are no copy. 16 bits are sorted by radix.
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    in_shards = rows.take(integer_array(order))
    for name, size, end in zip(names, sizes, np.cumsum(sizes), strict=True):
        if size:
            yield name, in_shards.slice(end - size, size)


def _array_file(folder: Path, name: str, number: int) -> Path:
    """Return the file with a column of arrays of the rows of `name`, by the column's number."""
    return folder / f"{name}-array-{number}"


class SpilledArrays:
    """The columns of arrays of a shard's spilled rows, which are read as they are asked for.

    Parameters
    ----------
    folder, name
        Where rows were written, and the shard.
    widths
        Bytes of a value of each column of arrays, in the order that `SpillFiles` was given.
    order
        The place of each row in the files, in the order of the shard file.
    """

    def __init__(self, folder: Path, name: str, widths: Mapping[str, int], order: Integers) -> None:
        paths = {column: _array_file(folder, name, at) for at, column in enumerate(widths)}
        self._paths = {column: path for column, path in paths.items() if path.exists()}
        self.widths = {column: widths[column] for column in self._paths}
        self._order = order

    def read(self, column: str, first: int, count: int) -> pa.FixedSizeBinaryArray:
        """Return the values of some rows; see `ArrayColumns`."""
        width = self.widths[column]
        places = self._order[first : first + count]
        # Not through a map of the file, whose pages would count as memory of this process.
        with self._paths[column].open("rb", buffering=0) as file:
            number = file.fileno()
            content = b"".join(os.pread(number, width, place * width) for place in places.tolist())
        data = pa.py_buffer(content)
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(places), [None, data])

    def remove(self) -> None:
        """Remove the files, which are temporary."""
        for path in self._paths.values():
            path.unlink(missing_ok=True)


def spilled_columns(path: Path) -> list[str]:
    """Return the columns of a file."""
    with pa.memory_map(str(path)) as source:
        return list(ipc.open_stream(source).schema.names)


def read_spilled(path: Path, columns: Sequence[str]) -> pa.Table:
    """Return some columns of a file; the other ones come into no memory."""
    known = spilled_columns(path)
    options = ipc.IpcReadOptions(included_fields=[known.index(name) for name in columns])
    with pa.memory_map(str(path)) as source:
        return ipc.open_stream(source, options=options).read_all().select(list(columns))
