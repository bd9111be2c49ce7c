"""Lists of one length are read as that many columns of numbers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches

VECTORS = [[1.5, 2.0, -3.25], None, [0.0, None, 7.0], [4.0, 5.0, 6.0]]
TABLE = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "vector": pa.array(VECTORS, pa.list_(pa.float32(), 3)),
        "last": [1, 2, 3, 4],
    }
)
COLUMNS = ["id", "vector[0]", "vector[1]", "vector[2]", "last"]


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


def read(path: Path, only: list[str] | None = None) -> pa.Table:
    return pa.concat_tables(
        [batch.replace_schema_metadata() for batch in read_batches(path, path.name, only)]
    )


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_each_place_of_a_list_is_a_column(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"rows{ending}", TABLE)

    rows = read(path)

    assert rows.column_names == COLUMNS
    assert rows["vector[0]"].to_pylist() == [1.5, None, 0.0, 4.0]
    assert rows["vector[1]"].to_pylist() == [2.0, None, None, 5.0]
    assert rows["vector[2]"].to_pylist() == [-3.25, None, 7.0, 6.0]
    assert rows["last"].to_pylist() == [1, 2, 3, 4]


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_single_places_can_be_read(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"rows{ending}", TABLE)

    rows = read(path, ["vector[2]", "id"])

    assert rows.column_names == ["id", "vector[2]"]
    assert rows["vector[2]"].to_pylist() == [-3.25, None, 7.0, 6.0]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.string(), 3), pa.list_(pa.float32(), 9_000)]
)
def test_other_lists_stay_lists(kind: pa.DataType, tmp_path: Path) -> None:
    lists = pa.array([None] * 4, kind)
    path = write(tmp_path / "rows.parquet", TABLE.set_column(1, "vector", lists))

    assert read(path).column_names == ["id", "vector", "last"]


def test_lists_whose_columns_have_names_that_are_taken_stay_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", TABLE.append_column("vector[1]", [["x"] * 4]))

    assert read(path).column_names == ["id", "vector", "last", "vector[1]"]


def test_files_whose_lists_have_other_lengths_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    write(folder / "a.parquet", TABLE)
    longer = pa.array([[1.0] * 4] * 4, pa.list_(pa.float32(), 4))
    write(folder / "b.parquet", TABLE.set_column(1, "vector", longer))

    with pytest.raises(InputError, match=r"b\.parquet has a column 'vector\[3\]'"):
        read(folder)


def test_pictures_of_one_large_group_of_rows_are_read_in_parts(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.parquet", 400
    content = [np.random.default_rng(row).bytes(150_000) for row in range(rows)]
    table = pa.table({"photo": content})
    # A page is always read as a whole: here they have ten rows.
    pq.write_table(table, path, row_group_size=rows, use_dictionary=False, write_batch_size=10)
    del content, table
    before, most, found = pa.total_allocated_bytes(), 0, 0
    for batch in read_batches(path, path.name, reading=Reading(tensors=frozenset({"photo"}))):
        most = max(most, pa.total_allocated_bytes() - before)
        found += batch.num_rows

    assert found == rows
    assert most < 150_000 * rows // 2
