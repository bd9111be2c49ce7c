"""The rows of a shard file that are forgotten, and the others."""

import hmac
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.rows.shard_file import RECORD, ShardFile, nonce, read_shard
from unlearn.stages.rows.token_arrays import DIGEST
from unlearn.stages.rows.tokens import Key


def split_shard(
    path: Path, name: str, retained: pa.Array, forgotten: pa.Array
) -> tuple[pa.Table, pa.Table]:
    """Return the rows of a shard file that two masks name.

    Parameters
    ----------
    path, name
        See `read_shard`, also for errors.
    retained, forgotten
        One value a row each, shape (rows,).
    """
    with pq.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        # Of a large file, no column but one is in memory as a whole and in part.
        parts = [names] if file.num_row_groups == 1 else [[column] for column in names]
    kept: dict[str, pa.ChunkedArray] = {}
    named: dict[str, pa.ChunkedArray] = {}
    for columns in parts:
        rows = read_shard(path, name, columns).rows
        for found, wanted in ((kept, retained), (named, forgotten)):
            some = rows.filter(wanted).combine_chunks()
            found.update(zip(columns, some.columns, strict=True))
    return pa.table(kept), pa.table(named)


def is_as_written(path: Path, name: str, key: Key, shard: ShardFile) -> bool:
    """Return whether writing the rows of a shard file again would give its bytes.

    Parameters
    ----------
    path
        The file.
    name
        What the file to write is called, without its ending.
    key
        The project key.
    shard
        What `read_shard` returned for the file.
    """
    with pq.ParquetFile(path) as file:
        writer, tokens = file.metadata.created_by, file.schema_arrow.field(RECORD).type
    if tokens != DIGEST or writer != f"parquet-cpp-arrow version {pa.cpp_version}":
        return False
    return hmac.compare_digest(shard.nonce, nonce(key, name, shard.rows, shard.layout))
