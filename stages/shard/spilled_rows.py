"""Rows on their way to their shards: a temporary file for each, written and read in parts."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from pyarrow import ipc
from unlearn.stages.config.params import ShardingParams
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.shard_file import RECORD, SUBJECT
from unlearn.stages.rows.token_arrays import digests_of, integer_array, shard_numbers

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
    """

    def __init__(self, folder: Path, sharding: ShardingParams) -> None:
        self._folder, self._sharding = folder, sharding
        self._files = ExitStack()
        self._writers: dict[str, ipc.RecordBatchStreamWriter] = {}
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
        if name not in self._writers:
            sink = self._files.enter_context(pa.OSFile(str(self._folder / name), "wb"))
            self._writers[name] = self._files.enter_context(ipc.new_stream(sink, rows.schema))
        self._writers[name].write_table(rows)

    def add(self, rows: pa.Table) -> None:
        """Take rows that are to be written where their tokens put them."""
        self._waiting.append(rows)
        self._bytes += rows.get_total_buffer_size()
        if self._bytes >= _TOGETHER:
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
