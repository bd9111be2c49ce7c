"""Looking for rows in files, without the tool's help."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tools.adapter import Rows


def files_with_rows(folder: Path, rows: Rows) -> list[str]:
    """Return the files below a folder that have one of these rows, by their path in it.

    A file has a row if its id is in the file's bytes, plain or as git compresses them, or if a
    Parquet file has a row with the same features.

    Parameters
    ----------
    folder
        Where to look.
    rows
        Rows with features that no other row has.
    """
    needles = [name.encode() for name in rows.ids]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and (
            any(needle in content for content in _contents(path) for needle in needles)
            or _has_features(path, rows)
        )
    ]


def _contents(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content
    try:
        yield zlib.decompress(content)
    except zlib.error:
        return


def _has_features(path: Path, rows: Rows) -> bool:
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return False
    table = pq.read_table(path)
    numbers = [
        column.to_numpy().astype(np.float64)
        for column, field in zip(table.columns, table.schema, strict=True)
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    width = rows.features.shape[1]
    if len(numbers) < width:
        return False
    # The features are the table's first or last numeric columns, in their order.
    wanted = {row.tobytes() for row in rows.features}
    starts = {0, len(numbers) - width}
    return any(
        row.tobytes() in wanted
        for start in starts
        for row in np.ascontiguousarray(np.column_stack(numbers[start : start + width]))
    )
