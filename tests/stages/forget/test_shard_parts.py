"""A shard file without its forgotten rows, also where it is large or was written elsewhere."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from unlearn.stages.forget.shard_parts import is_as_written, split_shard
from unlearn.stages.rows.shard_file import RECORD, read_shard, write_shard
from unlearn.stages.rows.token_arrays import digests_of, token_texts

from tests.stages.conftest import KEY, LAYOUT, OTHER_KEY, make_rows

ROWS = make_rows(60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, ROWS, LAYOUT)
    return path


def rewrite(path: Path, rows: pa.Table, size: int | None = None) -> None:
    """Write other rows under the footer that the file has."""
    rows = rows.replace_schema_metadata(pq.read_schema(path).metadata)
    pq.write_table(rows, path, row_group_size=size)


@pytest.mark.parametrize("size", [7, 60])
def test_a_file_is_split_by_its_mask_in_groups_of_any_size(path: Path, size: int) -> None:
    rewrite(path, ROWS, size)
    named = [number % 4 == 1 for number in range(60)]

    kept, gone = split_shard(path, "s000", pc.invert(pa.array(named)), pa.array(named))

    assert read_shard(path, "s000").rows.equals(ROWS)
    assert gone.equals(ROWS.filter(pa.array(named)))
    assert kept.equals(ROWS.filter(pa.array([not each for each in named])))
    assert {column.num_chunks for column in kept.columns} == {1}


def test_only_a_file_of_this_version_with_these_rows_is_as_written(path: Path) -> None:
    def as_written(name: str = "s000") -> bool:
        return is_as_written(path, name, KEY, read_shard(path, "s000"))

    assert as_written()
    assert not as_written("s001")
    assert not is_as_written(path, "s000", OTHER_KEY, read_shard(path, "s000"))
    rewrite(path, ROWS[1:])
    assert not as_written()  # its nonce is of other rows
    rewrite(path, ROWS.set_column(0, RECORD, token_texts(digests_of(ROWS[RECORD]))))
    assert not as_written()


def test_a_file_of_another_writer_is_not_as_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = read_shard(path, "s000")
    monkeypatch.setattr(pa, "cpp_version", "0.0.1")

    assert not is_as_written(path, "s000", KEY, shard)
