"""`unlearn init` and the shard stage on directories whose files differ."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import init, refused, unchanged
from tests.conftest import Done, Repo


def frame(first: int, rows: int = 40) -> pd.DataFrame:
    """Return rows with ids from `first` on."""
    numbers = range(first, first + rows)
    return pd.DataFrame(
        {
            "rec": [f"R{number:04}" for number in numbers],
            "person": [number // 2 for number in numbers],
            "age": [20 + number % 50 for number in numbers],
            "site": ["north" if number % 3 else "south" for number in numbers],
            "label": ["yes" if number % 4 else "no" for number in numbers],
        }
    )


def run_init(root: Path, *more: str) -> Done:
    """Set up the project `P` on the directory `d`."""
    roles = ("--id", "rec", "--subject", "person", "--target", "label")
    plan = ("--shards", "2", "--slices", "1")
    return init(Repo(root), "P", "--dataset", str(root / "d"), *roles, *plan, *more)


def put(folder: Path, name: str, rows: pd.DataFrame, **columns: pa.Array) -> None:
    """Write a Parquet file, with other columns in place of those of the same names."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    for column, values in columns.items():
        if column in table.column_names:
            table = table.drop_columns([column])
        table = table.append_column(column, values)
    pq.write_table(table, folder / name)


def numbers(*, as_type: pa.DataType) -> pa.Array:
    return pa.array(range(40)).cast(as_type)


#: Columns of the second of two files, and what is refused.
OTHERS: dict[str, tuple[dict[str, pa.Array], str]] = {
    "text in a column of numbers": (
        {"age": numbers(as_type=pa.string())},
        "column 'age' has type string, but in {first} it has type int64",
    ),
    "true or false in a column of numbers": (
        {"age": pa.array([True] * 40)},
        "column 'age' has type bool, but in {first} it has type int64",
    ),
    "numbers in a column of categories": (
        {"site": numbers(as_type=pa.int64())},
        "column 'site' has type int64, but in {first} it has type string",
    ),
    "numbers in a column of classes": (
        {"label": numbers(as_type=pa.int64())},
        "column 'label' has type int64, but in {first} it has type string",
    ),
    "another column": (
        {"ward": numbers(as_type=pa.int64())},
        "has a column 'ward', which {first} does not have",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_with_other_columns_or_types_are_refused_by_init(tmp_path: Path, name: str) -> None:
    columns, message = OTHERS[name]
    put(tmp_path / "d", "a.parquet", frame(0))
    put(tmp_path / "d", "b.parquet", frame(40), **columns)

    with unchanged(tmp_path):
        done = run_init(tmp_path)

    assert refused(done).startswith("d/b.parquet")
    assert message.format(first="d/a.parquet") in refused(done)


def test_a_later_file_with_other_columns_or_types_is_refused_by_the_shard_stage(
    tmp_path: Path,
) -> None:
    put(tmp_path / "d", "a.parquet", frame(0))
    assert run_init(tmp_path).code == 0
    project = Repo(tmp_path / "P")
    assert project.inline("stage", "shard").code == 0

    for columns, message in OTHERS.values():
        put(tmp_path / "P/data/dataset", "b.parquet", frame(40), **columns)
        with unchanged(tmp_path):
            done = project.inline("stage", "shard")
        assert done.code == 2
        assert "data/dataset/b.parquet" in done.err
        assert message.format(first="data/dataset/a.parquet") in done.err


def test_numbers_of_another_width_and_missing_ones_are_the_same_numbers(tmp_path: Path) -> None:
    """Pandas writes whole numbers as 1003.0 once a value is missing, people's ids too."""
    put(tmp_path / "d", "a.parquet", frame(0))
    put(tmp_path / "d", "b.parquet", frame(40).astype({"age": "float64", "person": "float64"}))

    assert run_init(tmp_path).code == 0

    assert params(tmp_path)["features"] == {"age": "numeric", "site": "categorical"}
    assert params(tmp_path)["subject_type"] == "integer"


def test_a_class_that_is_1_in_one_file_and_1_0_in_another_is_refused(tmp_path: Path) -> None:
    rows = frame(0).assign(label=[number % 2 for number in range(40)])
    put(tmp_path / "d", "a.parquet", rows)
    put(tmp_path / "d", "b.parquet", frame(40).assign(label=rows["label"].astype(float)))

    message = "d/b.parquet: column 'label' has type double, but in d/a.parquet it has type int64"
    assert refused(run_init(tmp_path)) == message


def params(root: Path) -> dict[str, Any]:
    return dict(Repo(root / "P").params()["dataset"])


@pytest.mark.slow
def test_columns_that_a_file_lacks_are_missing_where_that_was_chosen(tmp_path: Path) -> None:
    put(tmp_path / "d/year=2023", "a.parquet", frame(0).drop(columns="site"))
    put(tmp_path / "d/year=2024", "b.parquet", frame(40), height=numbers(as_type=pa.float64()))
    frame(80).drop(columns="age").to_csv(tmp_path / "d/c.csv", index=False)
    with unchanged(tmp_path):
        done = run_init(tmp_path)
    assert refused(done).startswith("d/")
    assert "--missing-columns null" in done.err

    done = run_init(tmp_path, "--missing-columns", "null")

    assert done.code == 0, done.err
    assert (
        "note: column 'age' is missing in 1 file, whose rows have no value there: d/c.csv\n"
        in done.err
    )
    assert "note: column 'height' is missing in 2 files" in done.err
    assert params(tmp_path)["missing_columns"] == "null"
    assert params(tmp_path)["features"] == {
        "age": "numeric",
        "site": "categorical",
        "year": "numeric",
        "height": "numeric",
    }
    project = Repo(tmp_path / "P")
    assert project.inline("stage", "shard").code == 0
    rows = pq.read_table(tmp_path / "P/data/shards").to_pandas()
    assert len(rows) == 120
    missing = rows.isna().sum()
    assert {name: missing[name] for name in ("age", "site", "year", "height")} == {
        "age": 40,
        "site": 40,
        "year": 40,
        "height": 80,
    }
    assert sorted(rows["year"].dropna().unique()) == [2023.0, 2024.0]
    assert rows[rows["year"] == 2023.0]["site"].isna().all()

    for column in ("rec", "person", "label"):
        put(tmp_path / "P/data/dataset", "later.parquet", frame(120).drop(columns=column))
        done = project.inline("stage", "shard")
        assert done.code == 2
        assert f"data/dataset/later.parquet has no column '{column}'" in done.err


def test_one_file_lacks_no_column_of_another(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"")
    done = run_init(tmp_path, "--missing-columns", "null")

    assert refused(done) == "--missing-columns is for a directory of files, not for one file"
