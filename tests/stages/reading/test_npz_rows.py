"""Archives of NumPy: what is read, what is refused, and that nothing is unpickled or unpacked."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from unlearn.stages.errors import InputError
from unlearn.stages.reading import npz_rows
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import place_of_row, read_batches

IDS = np.array(["007", "8", "9"])
Array = npt.NDArray[Any]


def read(path: Path, *whole: str, only: list[str] | None = None) -> pa.Table:
    reading = Reading(tensors=frozenset(whole))
    return pa.concat_tables(
        batch.replace_schema_metadata() for batch in read_batches(path, "d.npz", only, reading)
    )


def tensors(column: pa.ChunkedArray) -> Array:
    return np.concatenate([chunk.to_numpy_ndarray() for chunk in column.chunks])


def entry(values: Array, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, **options)
    return stream.getvalue()


def archive(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_columns(tmp_path: Path, save: Callable[..., None]) -> None:
    pictures = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
    save(
        tmp_path / "a.npz",
        id=IDS,
        age=np.array([1.5, np.nan, 3], ">f4"),
        vip=np.array([True, False, True]),
        day=np.array(["2024-01-31", "NaT", "1999-01-01"], "M8[D]"),
        word=np.array([b"x", b"", "ü".encode()]),
        vector=np.arange(6, dtype=np.int16).reshape(3, 2),
        pictures=pictures,
    )

    table = read(tmp_path / "a.npz")

    assert table.drop_columns("pictures").to_pydict() == {
        "id": ["007", "8", "9"],
        "age": [1.5, pytest.approx(float("nan"), nan_ok=True), 3],
        "vip": [True, False, True],
        "day": [pa.scalar(19753, pa.date32()).as_py(), None, pa.scalar(10592, pa.date32()).as_py()],
        "word": ["x", "", "ü"],
        "vector[0]": [0, 2, 4],
        "vector[1]": [1, 3, 5],
    }
    np.testing.assert_array_equal(tensors(table["pictures"]), pictures)
    np.testing.assert_array_equal(
        tensors(read(tmp_path / "a.npz", "vector")["vector"]), [[0, 1], [2, 3], [4, 5]]
    )
    assert read(tmp_path / "a.npz", only=["vector[1]", "id"]).column_names == ["id", "vector[1]"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    hnp.arrays(
        st.sampled_from(["u1", "<i8", ">i2", "f4", ">f8"]),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements={"allow_nan": False},
    ),
    st.sampled_from("CF"),
    st.integers(1, 40),
)
def test_however_a_tensor_is_stored_its_rows_are_read(
    tmp_path: Path, values: Array, order: Any, batch_bytes: int
) -> None:
    np.savez(tmp_path / "a.npz", x=np.asarray(values, order=order))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz_rows, "_BATCH_BYTES", batch_bytes)

        found = tensors(read(tmp_path / "a.npz", "x")["x"])

    np.testing.assert_array_equal(found, values)


def test_rows_are_numbered_through_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_rows, "_BATCH_ROWS", 2)
    np.savez(tmp_path / "a.npz", id=IDS)

    batches = list(read_batches(tmp_path / "a.npz", "d.npz"))

    assert [batch.num_rows for batch in batches] == [2, 1]
    assert str(place_of_row(batches[1], 0, "", 1)) == "d.npz, data row 3"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "objects": ({"x": np.array([Evil(), 1], object)}, r"array 'x' has Python objects"),
    "lengths": ({"id": IDS, "x": np.zeros(4)}, r"'id' has 3 rows, and array 'x' has 4"),
    "a single value": ({"id": IDS, "n": np.array(3)}, r"array 'n' is a single value"),
    "complex": ({"x": np.zeros(3, complex)}, r"array 'x' has type complex128"),
    "structures": ({"x": np.zeros(3, [("a", "i4")])}, r"array 'x' has type"),
    "durations": ({"x": np.zeros(3, "m8[s]")}, r"array 'x' has type timedelta64"),
    "no values": ({"x": np.zeros((3, 0))}, r"array 'x' has no values in its rows"),
    "not UTF-8": ({"x": np.array([b"\xff"])}, r"array 'x' has text that is not UTF-8"),
    "nothing": ({}, r"has no arrays"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_column_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays, message = REFUSED[name]
    np.savez(tmp_path / "a.npz", **arrays)

    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.npz")

    assert not (tmp_path / "touched").exists()


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("notes.txt", "hello")
    with pytest.raises(InputError, match="something else than arrays"):
        read(tmp_path / "a.npz")

    (tmp_path / "a.npz").write_bytes(entry(np.zeros(3)))
    with pytest.raises(InputError, match="not readable as an archive of NumPy"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_that_is_cut_short_or_damaged_is_refused(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    path = tmp_path / "a.npz"
    draw = np.random.default_rng(1)
    save(path, id=IDS, x=draw.integers(0, 256, (3, 40), np.uint8))
    whole = path.read_bytes()
    first = read(path)

    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read(path)
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = read(path)
        except InputError:
            continue
        # What is not covered by a checksum, such as the time of an entry, or its name.
        assert list(found.to_pydict().values()) == list(first.to_pydict().values())


def test_a_header_that_promises_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    content = entry(np.zeros(4, np.uint8))
    large = content.replace(b"(4,), }", b"(9999999999999,), }")[: len(content)]
    path = archive(tmp_path / "a.npz", x=large)
    tracemalloc.start()

    with pytest.raises(InputError, match=r"not readable|another size than it says"):
        read(path)

    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_read_in_parts(
    tmp_path: Path,
) -> None:
    rows = 60_000
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((rows, 40, 40), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < rows * 1600 // 500
    tracemalloc.start()

    found = sum(batch.num_rows for batch in read_batches(tmp_path / "a.npz", "d.npz"))

    assert found == rows
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()


def test_a_large_array_that_is_stored_column_by_column_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(np.zeros((50, 4))))
    monkeypatch.setattr(npz_rows, "_MOST_BYTES_BY_COLUMN", 1_000)

    with pytest.raises(InputError, match="stored column by column") as caught:
        read(tmp_path / "a.npz")
    assert "numpy.ascontiguousarray" in caught.value.hints[0]


def test_an_archive_without_rows_has_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", id=IDS[:0], x=np.zeros((0, 2, 2), np.uint8))

    assert read(tmp_path / "a.npz").column_names == ["id", "x"]
    assert read(tmp_path / "a.npz").num_rows == 0


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", entry(np.zeros(3)))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", entry(np.zeros(3)))

    with pytest.raises(InputError, match="stands twice"):
        read(path)
