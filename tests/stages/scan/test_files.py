"""What can be opened: a value is found in every kind of file, and what cannot be read is named."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import ipc
from safetensors.torch import save
from unlearn.stages.scan.files import FileResult, FileSearch
from unlearn.stages.scan.patterns import Patterns, Wanted

VALUE = b"jane.roe@example.org"
TEXT = VALUE.decode()
OTHERS = [f"other-{number}" for number in range(300)]
NUMBER = b"20261126"


def search(path: Path, content: bytes) -> FileResult:
    """Search a file of this content for the value, and for a number."""
    file = path / "file"
    file.write_bytes(content)
    patterns = Patterns((Wanted("the value", VALUE), Wanted("the number", NUMBER)))
    with file.open("rb") as source:
        return FileSearch(patterns, path).search(source, "file")


def names(result: FileResult) -> set[str]:
    return {name for found in result.found.values() for name, _ in found}


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a/other.txt", "nothing")
        archive.writestr("a/member.bin", content)
    return out.getvalue()


def tarred(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("member.bin")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zstandard(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def parquet(column: pa.Array, **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"x": column}), out, **options)
    return out.getvalue()


def arrow(column: pa.Array, *, as_stream: bool = False) -> bytes:
    out = io.BytesIO()
    table = pa.table({"x": column})
    start = ipc.new_stream if as_stream else ipc.new_file
    options = ipc.IpcWriteOptions(compression="zstd")
    with start(out, table.schema, options=options) as writer:
        writer.write_table(table)
    return out.getvalue()


def database() -> bytes:
    found = sqlite3.connect(":memory:")
    found.execute('CREATE TABLE "a ""table" (key INTEGER, value BLOB)')
    # A value that does not fit into one page is in pieces in the file.
    found.execute('INSERT INTO "a ""table" VALUES (1, ?)', (b"x" * 4080 + VALUE + b"y" * 9000,))
    found.commit()
    return found.serialize()


def arrays() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, names=np.array([TEXT, "other"]))
    return out.getvalue()


def checkpoint() -> bytes:
    out = io.BytesIO()
    torch.save({"name": TEXT, "weights": torch.zeros(3)}, out)
    return out.getvalue()


COLUMN = pa.array([*OTHERS, TEXT])
CONTENTS: dict[str, Callable[[], bytes]] = {
    "plain": lambda: b"a\n" + VALUE + b"\n",
    "gzip": lambda: gzip.compress(VALUE),
    "two gzip members": lambda: gzip.compress(b"x") + gzip.compress(VALUE),
    "bzip2": lambda: bz2.compress(VALUE * 3),
    "xz": lambda: lzma.compress(VALUE * 3),
    "zstandard": lambda: zstandard(VALUE * 9),
    "zip": lambda: zipped(VALUE),
    "zip, bzip2": lambda: zipped(VALUE, zipfile.ZIP_BZIP2),
    "zip, lzma": lambda: zipped(VALUE, zipfile.ZIP_LZMA),
    "tar": lambda: tarred(VALUE),
    "tar.gz": lambda: gzip.compress(tarred(VALUE)),
    "archives in archives": lambda: zipped(gzip.compress(tarred(lzma.compress(zipped(VALUE))))),
    "Parquet in zip": lambda: zipped(parquet(COLUMN)),
    "Parquet, snappy": lambda: parquet(COLUMN),
    "Parquet, zstd": lambda: parquet(COLUMN, compression="zstd", row_group_size=50),
    "Parquet, delta": lambda: parquet(
        COLUMN, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"
    ),
    "Parquet, bytes": lambda: parquet(COLUMN.cast(pa.binary())),
    "Parquet, fixed": lambda: parquet(pa.array([VALUE], pa.binary(len(VALUE)))),
    "Parquet, lists": lambda: parquet(pa.array([["a"], None, ["b", TEXT]])),
    "Parquet, structs": lambda: parquet(pa.array([{"a": 1, "b": {"c": TEXT}}])),
    "Parquet, maps": lambda: parquet(pa.array([[(TEXT, 1)]], pa.map_(pa.string(), pa.int8()))),
    "Arrow": lambda: arrow(COLUMN),
    "Arrow stream": lambda: arrow(COLUMN, as_stream=True),
    "Arrow, dictionary": lambda: arrow(COLUMN.dictionary_encode()),
    "Arrow, view": lambda: arrow(COLUMN.cast(pa.string_view())),
    "Arrow, slice": lambda: arrow(COLUMN.slice(290)),
    "NumPy": arrays,
    "torch": checkpoint,
    "safetensors": lambda: save({"w": torch.zeros(2)}, metadata={"name": TEXT}),
    "pickle": lambda: pickle.dumps({"name": TEXT}),
    "SQLite": database,
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_value_is_found_in(tmp_path: Path, kind: str) -> None:
    result = search(tmp_path, CONTENTS[kind]())

    assert names(result) == {"the value"}
    assert result.unread == {}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, int(NUMBER)]),
        pa.array([0, int(NUMBER)], pa.uint32()),
        pa.array([1.5, float(NUMBER), None]),
    ],
)
def test_a_value_that_is_a_number_is_found_in_cells_of_numbers(
    tmp_path: Path, column: pa.Array
) -> None:
    result = search(tmp_path, parquet(column))
    assert result.found["file"]["the number", "a number"] == 1
    assert names(search(tmp_path, parquet(pa.array([1, 2], pa.int8())))) == set()


def test_a_value_does_not_span_two_cells(tmp_path: Path) -> None:
    cells = pa.array([TEXT[:8], TEXT[8:], "x"])
    assert names(search(tmp_path, parquet(cells, compression="zstd"))) == set()


def test_members_are_named(tmp_path: Path) -> None:
    result = search(tmp_path, gzip.compress(zipped(VALUE)))
    assert list(result.found) == ["file/content/a/member.bin"]


def encrypted() -> bytes:
    """Return a zip file whose second member is marked as encrypted."""
    content = bytearray(zipped(b"secret" * 9))
    local, central = content.rindex(b"PK\x03\x04"), content.rindex(b"PK\x01\x02")
    content[local + 6] |= 1
    content[central + 8] |= 1
    return bytes(content)


DAMAGED: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(VALUE + bytes(range(256)) * 900)[:-40],
    "zip": lambda: zipped(b"x" * 99)[:-30],
    "encrypted zip": encrypted,
    "tar": lambda: tarred(b"x" * 5000)[:900],
    "xz": lambda: lzma.compress(b"x" * 9000)[:-20],
    "Parquet": lambda: b"PAR1" + bytes(100) + b"PAR1",
    "encrypted Parquet": lambda: b"PARE" + bytes(100),
    "Arrow": lambda: arrow(COLUMN)[:-50],
    "SQLite": lambda: database()[:5000],
    "7-Zip": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(50),
    "Feather 1": lambda: b"FEA1" + bytes(50) + b"FEA1",
    "HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(50),
    "too deep": lambda: deep(8),
}


def deep(levels: int) -> bytes:
    content = VALUE
    for _ in range(levels):
        content = gzip.compress(content)
    return content


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_cannot_be_opened_is_named(tmp_path: Path, kind: str) -> None:
    result = search(tmp_path, DAMAGED[kind]())
    assert list(result.unread) != []
    assert all(name.startswith("file") for name in result.unread)


def test_what_could_be_read_of_a_damaged_file_is_searched(tmp_path: Path) -> None:
    assert names(search(tmp_path, DAMAGED["gzip"]())) == {"the value"}


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff\xff" + bytes(50), b"PK", bytes(600)])
def test_files_that_hold_nothing_else(tmp_path: Path, content: bytes) -> None:
    result = search(tmp_path, content)
    assert (result.found, result.unread) == ({}, {})


def test_no_copy_stays_behind(tmp_path: Path) -> None:
    search(tmp_path, zipped(database()))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
