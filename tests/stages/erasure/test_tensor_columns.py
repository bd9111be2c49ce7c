"""Columns of pictures and arrays in Parquet and Arrow keep type and metadata without rows."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import ipc
from unlearn.stages.erasure.dataset.arrow_rewriting import check_arrow, write_arrow_without
from unlearn.stages.erasure.dataset.parquet_rewriting import check_parquet, write_parquet_without

COUNT, SHAPE = 40, (3, 4, 4)
GONE = np.array([0, 1, 17, 39], np.int64)
LEFT = np.delete(np.arange(COUNT), GONE)
PIXELS = np.random.default_rng(3).integers(0, 256, (COUNT, *SHAPE), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Return a picture, channels first, as a PNG."""
    sink = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(sink, "png")
    return sink.getvalue()


def columns() -> dict[str, pa.Array]:
    """Return columns in all forms that pictures and arrays come in."""
    flat = PIXELS.reshape(-1)
    size = int(np.prod(SHAPE))
    encoded = [png(pixels) for pixels in PIXELS]
    nested = pa.FixedSizeListArray.from_arrays(pa.array(flat), SHAPE[-1])
    nested = pa.FixedSizeListArray.from_arrays(nested, SHAPE[-2])
    paths = [f"{number}.png" for number in range(COUNT)]
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(PIXELS.astype(np.float32))
    named = pa.fixed_shape_tensor(pa.uint8(), SHAPE, dim_names=["C", "H", "W"])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat), size)
    return {
        "id": pa.array([f"r{number}" for number in range(COUNT)]),
        "list": lists,
        "nested": pa.FixedSizeListArray.from_arrays(nested, SHAPE[0]),
        "tensor": tensor,
        "named": pa.ExtensionArray.from_storage(named, lists),
        "encoded": pa.array(encoded, pa.binary()),
        "large": pa.array(encoded, pa.large_binary()),
        "fixed": pa.array([row.tobytes() for row in PIXELS], pa.binary(size)),
        "struct": pa.array(
            [{"bytes": content, "path": path} for content, path in zip(encoded, paths, strict=True)]
        ),
        "gaps": pa.array(
            [None if n % 3 == 0 else [n, n, n] for n in range(COUNT)], pa.list_(pa.float64(), 3)
        ),
    }


def table() -> pa.Table:
    features = {"info": {"features": {"struct": {"_type": "Image"}}}}
    found = pa.table(columns())
    return found.replace_schema_metadata({"huggingface": json.dumps(features)})


def check(before: pa.Table, after: pa.Table, content: bytes) -> None:
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.num_rows == LEFT.size
    for name in before.column_names:
        assert after[name].to_pylist() == [before[name][row].as_py() for row in LEFT.tolist()], name
    # Nothing of a picture that went is in the file; of the others, everything is.
    for row in range(COUNT):
        is_there = png(PIXELS[row]) in content
        assert is_there == (row in LEFT), row
        assert (PIXELS[row].tobytes() in content) == (row in LEFT), row


@pytest.mark.parametrize("group", [7, COUNT])
def test_parquet(tmp_path: Path, group: int) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    pq.write_table(table(), old, row_group_size=group, compression="none")
    check_parquet(old, "old")

    write_parquet_without(old, "old", GONE, new)

    check(pq.read_table(old), pq.read_table(new), new.read_bytes())


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow(tmp_path: Path, kind: str) -> None:
    old, new = tmp_path / "old.arrow", tmp_path / "new.arrow"
    rows = table()
    write = ipc.new_stream if kind == "stream" else ipc.new_file
    with pa.OSFile(str(old), "wb") as sink, write(sink, rows.schema) as out:
        out.write_table(rows, max_chunksize=16)
    check_arrow(old, "old")

    write_arrow_without(old, "old", GONE, new)

    opened = ipc.open_stream if kind == "stream" else ipc.open_file
    check(rows, opened(new.read_bytes()).read_all(), new.read_bytes())
