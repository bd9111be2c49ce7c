"""`unlearn init` on files as people have them: what is read, skipped, left out or refused."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from unlearn.stages.project.paths import NONCE

from tests.cli.conftest import init, refused, unchanged
from tests.conftest import Done, Repo

CASES = Path(__file__).parents[1] / "cases"

#: Kinds that the columns of all cases have, if all of them are features.
FEATURES = {"age": "numeric", "amount": "numeric", "site": "categorical"}


def run_init(root: Path, source: Path, *more: str) -> Done:
    """Set up the project `P` of a case."""
    asked = ("--id", "rec", "--subject", "person", "--target", "label")
    plan = ("--shards", "2", "--slices", "1")
    return init(Repo(root), "P", "--dataset", str(source), *asked, *plan, *more)


def features(root: Path) -> dict[str, str]:
    """Return the features that the project `P` pins."""
    params: dict[str, Any] = Repo(root / "P").params()
    return dict(params["dataset"]["features"])


def rows_of_shards(root: Path) -> int:
    """Run the shard stage; return how many rows it reads."""
    done = Repo(root / "P").inline("stage", "shard")
    assert done.code == 0, done.err
    counts = re.fullmatch(r"shard: (\d+) rows in 2 shards, (\d+) held out\n", done.out + done.err)
    assert counts is not None, done
    return int(counts[1]) + int(counts[2])


def test_a_folder_as_spark_writes_it(tmp_path: Path) -> None:
    done = run_init(tmp_path, CASES / "spark-directory/spark")

    assert done.code == 0, done.err
    assert (
        "note: spark: 2 files without rows skipped: .part-00000-abc-c000.snappy.parquet.crc, "
        "_SUCCESS\n" in done.err
    )
    assert features(tmp_path) == FEATURES
    copied = [path.name for path in sorted((tmp_path / "P/data/dataset").iterdir())]
    assert copied == [
        NONCE,
        *(f"part-0000{part}-abc-c000.snappy.parquet" for part in range(2)),
    ]
    assert rows_of_shards(tmp_path) == 600


def test_a_folder_of_csv_parts_of_which_one_is_empty(tmp_path: Path) -> None:
    done = run_init(tmp_path, CASES / "spark-directory/sparkcsv")

    assert done.code == 0, done.err
    assert done.out.startswith("600 rows, 3 features, 2 classes")
    assert rows_of_shards(tmp_path) == 600


def test_folders_of_hive_are_a_feature(tmp_path: Path) -> None:
    done = run_init(tmp_path, CASES / "hive-partition/hive")

    assert done.code == 0, done.err
    assert "note: hive: column 'site' read from the names of folders\n" in done.err
    assert done.out.startswith("600 rows, 3 features, 2 classes")
    assert features(tmp_path) == FEATURES
    assert rows_of_shards(tmp_path) == 600


def test_ids_that_are_names_of_folders_are_refused(tmp_path: Path) -> None:
    shutil.copytree(CASES / "hive-partition/hive/site=east", tmp_path / "d/place=jane.roe")
    with unchanged(tmp_path):
        where = ("--dataset", str(tmp_path / "d"), "--subject", "place")
        done = init(Repo(tmp_path), "P", *where, "--id", "rec", "--target", "label")

    message = refused(done)
    assert "--subject: the ids of column 'place' are the names of folders in d" in message
    assert "jane.roe" not in done.err


@pytest.mark.parametrize("ending", [".tsv", ".csv.gz", ".json", ".feather"])
def test_a_copy_keeps_the_ending_that_it_is_read_by(tmp_path: Path, ending: str) -> None:
    frame = pd.read_csv(CASES / "numeric-with-one-word/dash.csv", dtype=str).drop(columns="amount")
    source = tmp_path / f"my.rows{ending}"
    if ending == ".json":
        frame.to_json(source, orient="records")
    elif ending == ".feather":
        frame.to_feather(source)
    else:
        frame.to_csv(source, index=False, sep="\t" if ending == ".tsv" else ",")

    done = run_init(tmp_path, source)

    assert done.code == 0, done.err
    assert (tmp_path / f"P/data/dataset{ending}").read_bytes() == source.read_bytes()
    assert features(tmp_path) == {"age": "numeric", "site": "categorical"}
    assert rows_of_shards(tmp_path) == 600


def test_a_new_file_with_other_columns_is_refused_by_name(tmp_path: Path) -> None:
    run_init(tmp_path, CASES / "spark-directory/sparkcsv")
    data = tmp_path / "P/data/dataset"
    (data / "part-00003.csv").write_text("rec,person,age,amount,label\nR1,1,2,3,no\n")

    done = Repo(tmp_path / "P").inline("stage", "shard")

    assert done.code == 2
    assert (
        "data/dataset/part-00003.csv has no column 'site', which data/dataset/part-00000.csv has"
        in done.err
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "column"), [("csv", ""), ("parquet", "__index_level_0__")])
def test_the_index_of_pandas_is_left_out_unless_it_is_kept(
    tmp_path: Path, name: str, column: str
) -> None:
    done = run_init(tmp_path, CASES / f"index-column/index.{name}", "--json")

    assert done.code == 0, done.err
    assert f"note: column {column!r} was left out: it looks like row numbers" in done.err
    assert list(done.json["left_out"]) == [column]
    assert features(tmp_path) == FEATURES
    rows_of_shards(tmp_path)
    kept = tmp_path / "kept"
    kept.mkdir()
    assert run_init(kept, CASES / f"index-column/index.{name}", f"--keep={column}").code == 0
    assert features(kept)[column] == "numeric"


@pytest.mark.parametrize(("name", "column"), [("nested.jsonl", "tags"), ("list.parquet", "emb")])
def test_lists_that_nobody_names_are_left_out(tmp_path: Path, name: str, column: str) -> None:
    done = run_init(tmp_path, CASES / "unused-nested-column" / name)

    assert done.code == 0, done.err
    assert f"note: column {column!r} was left out: it has lists or objects\n" in done.err
    assert features(tmp_path) == FEATURES
    assert rows_of_shards(tmp_path) == 600


@pytest.mark.parametrize(("name", "word"), [("dash", "-"), ("none", "None")])
def test_numbers_with_one_word_are_refused_and_the_way_out_works(
    tmp_path: Path, name: str, word: str
) -> None:
    source = CASES / f"numeric-with-one-word/{name}.csv"
    with unchanged(tmp_path):
        done = run_init(tmp_path, source)

    message = f"{name}.csv: column 'amount': 599 of 600 values are numbers; data row 18 is not"
    assert refused(done) == message
    assert f"hint: if {word} means a missing value: --missing={word}\n" in done.err
    assert run_init(tmp_path, source, f"--missing={word}").code == 0
    assert features(tmp_path) == FEATURES
    params = Repo(tmp_path / "P").params()
    assert params["dataset"]["missing"][-1] == word
    assert rows_of_shards(tmp_path) == 600


def test_dropped_columns_stay_out_and_dates_are_numbers(tmp_path: Path) -> None:
    frame = pd.read_csv(CASES / "index-column/index.csv", index_col=0)
    frame["day"] = pd.date_range("2024-01-31", periods=len(frame)).strftime("%Y-%m-%d")
    frame.to_csv(tmp_path / "a.csv", index=False)

    done = run_init(tmp_path, tmp_path / "a.csv", "--drop", "site", "--drop", "age")

    assert done.code == 0, done.err
    assert (
        "note: column 'day' has dates or times: it is a number, in seconds since 1970" in done.err
    )
    assert features(tmp_path) == {"amount": "numeric", "day": "datetime"}
    rows_of_shards(tmp_path)
    shards = pq.read_table(tmp_path / "P/data/shards")
    values = {int(value) for value in shards["day"].to_pylist()}
    assert len(values) > 200
    assert values <= {1_706_659_200 + 86_400 * day for day in range(600)}


def test_a_dataset_without_features_says_what_was_left_out(tmp_path: Path) -> None:
    lines = [{"rec": f"R{row}", "person": row, "label": "a", "tags": []} for row in range(9)]
    pd.DataFrame(lines).to_json(tmp_path / "a.jsonl", orient="records", lines=True)

    done = run_init(tmp_path, tmp_path / "a.jsonl")

    assert refused(done) == (
        "a.jsonl has no columns other than id, subject and target that can be features"
    )
    assert "hint: column 'tags' was left out: it has lists or objects\n" in done.err


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    done = run_init(tmp_path, CASES / "index-column/index.csv", "--drop", "age", "--keep", "age")

    assert refused(done) == "column 'age' cannot be both in --drop and in --keep"
