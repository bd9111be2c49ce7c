"""Archives of NumPy without listed rows: all other values, types and members stay."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.erasure.dataset.npz_rewriting import check_npz, write_npz_without
from unlearn.stages.errors import InputError

TYPES = ("<f4", ">i2", "|u1", "<U7", "|S5", "|b1", "<c8", "<M8[ns]", "<f2", "<U0")


def save(
    path: Path, columns: dict[str, np.ndarray[Any, Any]], *, is_compressed: bool = False
) -> None:
    """Write an archive as NumPy does."""
    write: Any = np.savez_compressed if is_compressed else np.savez
    write(path, **columns)


@st.composite
def archives(draw: st.DrawFn) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Draw arrays of one number of rows, and which rows go."""
    rows = draw(st.integers(1, 9))
    found = {}
    for name in draw(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True)):
        shape = (rows, *draw(st.lists(st.integers(0, 3), max_size=3)))
        dtype = np.dtype(draw(st.sampled_from(TYPES)))
        seed = draw(st.integers(0, 2**32 - 1))
        numbers = np.random.default_rng(seed).integers(0, 99, shape)
        array = numbers.astype(dtype)
        found[name] = np.asfortranarray(array) if draw(st.booleans()) else array
    gone = draw(st.lists(st.integers(0, rows - 1), unique=True))
    return found, np.array(sorted(gone), np.int64)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(drawn=archives(), is_compressed=st.booleans())
def test_other_rows_keep_value_type_order_and_layout(
    drawn: tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    is_compressed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    columns, gone = drawn
    folder = tmp_path_factory.mktemp("npz")
    path, target = folder / "rows.npz", folder / "new.npz"
    save(path, columns, is_compressed=is_compressed)

    write_npz_without(path, "rows.npz", gone, target)

    with np.load(target, allow_pickle=False) as new, np.load(path, allow_pickle=False) as old:
        assert new.files == old.files
        for name in old.files:
            expected = np.delete(old[name], gone, axis=0)
            assert new[name].dtype == expected.dtype
            assert new[name].shape == expected.shape
            assert new[name].tobytes() == expected.tobytes()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(target) as after:
        for one, other in zip(before.infolist(), after.infolist(), strict=True):
            assert (one.filename, one.compress_type, one.date_time) == (
                other.filename,
                other.compress_type,
                other.date_time,
            )
            header = before.read(one)[:80].split(b"'shape'")[0]
            assert after.read(other).startswith(header)  # the descr and fortran_order


def test_the_file_without_rows_is_the_one_that_numpy_writes(tmp_path: Path) -> None:
    columns = {
        "id": np.array([f"r{number}" for number in range(50)]),
        "photo": np.arange(50 * 12, dtype=np.uint8).reshape(50, 3, 2, 2),
    }
    gone = np.array([0, 7, 49])
    save(tmp_path / "old.npz", columns)
    left = {name: np.delete(column, gone, 0) for name, column in columns.items()}
    save(tmp_path / "expected.npz", left)

    write_npz_without(tmp_path / "old.npz", "old.npz", gone, tmp_path / "new.npz")

    assert _members(tmp_path / "new.npz") == _members(tmp_path / "expected.npz")


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_members_that_are_no_arrays_and_the_comment_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, id=np.arange(4))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "of a camera")
        archive.comment = b"a comment"

    write_npz_without(path, "rows.npz", np.array([1]), tmp_path / "new.npz")

    with zipfile.ZipFile(tmp_path / "new.npz") as new:
        assert new.read("README.txt") == b"of a camera"
        assert new.comment == b"a comment"
    assert np.load(tmp_path / "new.npz")["id"].tolist() == [0, 2, 3]


def test_what_is_left_of_rows_outside_of_members_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, id=np.array(["jane roe", "r1"]))
    # An archive may have bytes in front of it, and members that its directory does not list.
    path.write_bytes(b"jane roe, an older row" + path.read_bytes())

    write_npz_without(path, "rows.npz", np.array([0]), tmp_path / "new.npz")

    content = (tmp_path / "new.npz").read_bytes()
    assert b"jane" not in content
    assert "jane".encode("utf-32-le") not in content


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.npz", 4_000
    shape = (rows, 3, 32, 32)
    for zeros in (np.zeros(shape, np.uint8), np.zeros(shape, np.uint8, order="F")):
        np.savez(path, photo=zeros)
        tracemalloc.start()

        write_npz_without(path, "rows.npz", np.array([5]), tmp_path / "new.npz")

        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < rows * 3 * 32 * 32 / 2
        assert np.load(tmp_path / "new.npz")["photo"].shape == (rows - 1, *shape[1:])


def _npy(array: object, **options: Any) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.asanyarray(array), **options)
    return sink.getvalue()


def _archive(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.npy", _npy([1, 2])), ("b.npy", _npy([1]))], "'a' has 2 rows, and array 'b' has 1"),
        ([("a.npy", _npy(np.array([{}], object)))], "'a' has Python objects"),
        ([("a.npy", _npy(7))], "'a' has no rows"),
        ([("a.npy", _npy([1])), ("a.npy", _npy([2]))], "two members of one name"),
        ([("a.npy", _npy([1, 2])[:-1])], "not readable as NPZ"),
        ([("a.npy", _npy([1, 2]) + b"jane roe")], "not readable as NPZ"),
        ([("a.npy", b"")], "not readable as NPZ"),
        ([("a.npy", b"\x93NUMPY\x01\x00\xff\xff{")], "not readable as NPZ"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_by_name(
    tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    path = _archive(tmp_path / "rows.npz", members)

    with pytest.raises(InputError, match=message) as error:
        check_npz(path, "data/rows.npz")

    assert error.value.message.startswith("data/rows.npz")


def test_damage_is_found_before_the_new_file_replaces_anything(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, id=np.arange(5_000))
    content = bytearray(path.read_bytes())
    content[9_000] ^= 1
    path.write_bytes(content)

    with pytest.raises(InputError, match="not readable as NPZ"):
        write_npz_without(path, "rows.npz", np.array([1]), tmp_path / "new.npz")
