"""Copies of forgotten pictures are found by their content, in every file that scan opens."""

import base64
import io
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pyarrow import ipc
from unlearn.stages.scan.array_copies import ArrayForm, ForgottenArrays, array_digests
from unlearn.stages.scan.files import ARRAY, FileSearch
from unlearn.stages.scan.patterns import Patterns

SHAPE = (3, 6, 5)
FORM = ArrayForm("image", SHAPE)
SPECTRUM = ArrayForm("tensor", (7,))
DRAW = np.random.default_rng(5)
PIXELS = DRAW.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
FORGOTTEN = 2
NUMBERS = DRAW.normal(size=(3, 7)).astype(np.float32)
KEY = b"a key of the tests"


def wanted(*, resize: bool = False) -> ForgottenArrays:
    form = ArrayForm("image", SHAPE, resize)
    pixels = array_digests(KEY, PIXELS[FORGOTTEN].reshape(1, -1))
    numbers = array_digests(KEY, NUMBERS[1:2].view(np.uint8).reshape(1, -1))
    return ForgottenArrays(KEY, (form, SPECTRUM), {*pixels, *numbers})


def saved(pixels: np.ndarray[Any, Any], kind: str = "png", **options: Any) -> bytes:
    """Return a picture, channels first, as a file."""
    sink = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(sink, kind, **options)
    return sink.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def npz(**arrays: Any) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def parquet(column: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"photo": column}), sink)
    return sink.getvalue()


def arrow(column: Any) -> bytes:
    sink, table = io.BytesIO(), pa.table({"photo": column})
    with ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


def pytorch(rows: np.ndarray[Any, Any]) -> bytes:
    sink = io.BytesIO()
    torch.save({"x": torch.from_numpy(rows.copy())}, sink)
    return sink.getvalue()


def zipped(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photos/1.png", content)
    return sink.getvalue()


def tarred(content: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        info = tarfile.TarInfo("1.png")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def database(content: bytes) -> bytes:
    with sqlite3.connect(":memory:") as base:
        base.execute("CREATE TABLE photos (photo BLOB)")
        base.execute("INSERT INTO photos VALUES (?)", (content,))
        return base.serialize()


def lists(rows: np.ndarray[Any, Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows[0].size)


def uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


#: What a file may hold: of all pictures, or of those that stay.
FILES: dict[str, Callable[[np.ndarray[Any, Any]], bytes]] = {
    "png": lambda rows: saved(rows[-1]),
    "png saved again": lambda rows: saved(rows[-1], compress_level=1, dpi=(9, 9)),
    "zip": lambda rows: zipped(saved(rows[-1])),
    "tar": lambda rows: tarred(saved(rows[-1])),
    "database": lambda rows: database(saved(rows[-1])),
    "pixels in a database": lambda rows: database(rows[-1].tobytes()),
    "npz": lambda rows: npz(x=rows),
    "npz, channels last": lambda rows: npz(x=np.moveaxis(rows, 1, -1)),
    "npz, Fortran": lambda rows: npz(x=np.asfortranarray(rows)),
    "npz, flat": lambda rows: npz(x=rows.reshape(len(rows), -1).astype(np.int64)),
    "npy of floats": lambda rows: npy(rows / np.float32(255)),
    "pytorch": pytorch,
    "pytorch, floats": lambda rows: pytorch(rows.astype(np.float32) / 255),
    "bytes alone": lambda rows: np.moveaxis(rows, 1, -1).tobytes(),
    "npy of one picture": lambda rows: npy(np.moveaxis(rows[-1], 0, -1)),
    "parquet of lists": lambda rows: parquet(lists(rows)),
    "parquet of tensors": lambda rows: parquet(
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(rows))
    ),
    "parquet of files": lambda rows: parquet(
        pa.array([{"bytes": saved(row), "path": None} for row in rows])
    ),
    "parquet of nested lists": lambda rows: parquet(
        pa.array([None, *[np.moveaxis(row, 0, -1).tolist() for row in rows]])
    ),
    "parquet as shards have them": lambda rows: parquet(
        pa.array([row.tobytes() for row in rows], pa.binary(rows[0].size))
    ),
    "arrow of data URIs": lambda rows: arrow(pa.array([None, *[uri(saved(r)) for r in rows]])),
}


def count(folder: Path, content: bytes, arrays: ForgottenArrays | None = None) -> int:
    file = folder / "file"
    file.write_bytes(content)
    search = FileSearch(Patterns(()), folder, arrays=arrays or wanted())
    with file.open("rb") as source:
        result = search.search(source, "file")
    assert result.unread == {}
    return sum(found[ARRAY, "its content"] for found in result.found.values())


@pytest.mark.parametrize("name", FILES)
def test_a_copy_is_found_and_other_pictures_are_not(tmp_path: Path, name: str) -> None:
    make = FILES[name]

    assert count(tmp_path, make(PIXELS[: FORGOTTEN + 1])) == 1
    assert count(tmp_path, make(PIXELS[:FORGOTTEN])) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_arrays_are_found(tmp_path: Path, dtype: type) -> None:
    assert count(tmp_path, npz(x=NUMBERS.astype(dtype), n=np.arange(3))) == 1
    assert count(tmp_path, parquet(lists(NUMBERS.astype(dtype)))) == 1
    assert count(tmp_path, parquet(lists(NUMBERS[:1].astype(dtype)))) == 0


def test_what_is_not_found_is_what_the_docs_say(tmp_path: Path) -> None:
    pixels = PIXELS[FORGOTTEN]
    assert count(tmp_path, saved(pixels, "jpeg")) == 0
    larger = Image.fromarray(np.moveaxis(pixels, 0, -1)).resize((50, 60))
    assert count(tmp_path, saved(np.moveaxis(np.asarray(larger), -1, 0))) == 0


def test_a_picture_that_was_resized_by_the_pipeline_is_found_in_its_own_size(
    tmp_path: Path,
) -> None:
    large = DRAW.integers(0, 256, (3, 31, 17), dtype=np.uint8)
    image = Image.fromarray(np.moveaxis(large, 0, -1)).resize((5, 6), Image.Resampling.BILINEAR)
    pixels = np.moveaxis(np.asarray(image), -1, 0).reshape(1, -1)
    form = ArrayForm("image", SHAPE, resize=True)
    arrays = ForgottenArrays(KEY, (form,), set(array_digests(KEY, pixels)))

    assert count(tmp_path, saved(large), arrays) == 1


def test_pictures_of_one_colour_are_not_searched_for(tmp_path: Path) -> None:
    white = np.full((1, *SHAPE), 255, np.uint8)
    assert array_digests(KEY, white.reshape(1, -1)) == [b""]
    assert count(tmp_path, npz(x=white)) == 0


@pytest.mark.parametrize("content", [saved(PIXELS[2])[:60], b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_damaged_pictures_are_no_errors(tmp_path: Path, content: bytes) -> None:
    assert count(tmp_path, content) == 0
