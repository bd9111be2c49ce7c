"""CSV files as spreadsheets of other countries write them, through the commands."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import FRAME, init
from tests.conftest import Repo

ASKED = ("--id", "id", "--target", "label", "--shards", "2", "--slices", "1")


def european(path: Path, encoding: str = "cp1252") -> Path:
    frame = FRAME.assign(city="Zürich; Bern")
    frame.to_csv(path, sep=";", decimal=",", index=False, encoding=encoding)
    return path


def dataset_of(root: Path) -> dict[str, Any]:
    found = Repo(root).params()["dataset"]
    assert isinstance(found, dict)
    return found


def shard_rows(root: Path) -> list[dict[str, Any]]:
    files = [path for path in (root / "data/shards").glob("*.parquet") if path.stem != "canaries"]
    return [row for path in files for row in pq.read_table(path).to_pylist()]


@pytest.mark.slow
def test_the_format_that_init_found_is_what_stages_and_predict_read(tmp_path: Path) -> None:
    european(tmp_path / "table.csv")
    repo = Repo(tmp_path)
    done = init(repo, "p", "--dataset", "table.csv", *ASKED, "--encoding", "cp1252")

    assert done.code == 0, done.err
    line = "CSV: delimiter semicolon, double quotes, decimal comma, encoding cp1252\n"
    assert line in done.out
    assert dataset_of(tmp_path / "p")["csv"] == {
        "delimiter": ";",
        "quote": '"',
        "decimal": ",",
        "encoding": "cp1252",
    }
    project = Repo(tmp_path / "p")
    planted = project.inline("canary", "--count", "12")
    assert planted.code == 0, planted.err
    project.stages()

    rows = shard_rows(tmp_path / "p")
    assert {row["city"] for row in rows} <= {"Zürich; Bern", "canary"}
    ages = sorted(FRAME["age"].dropna().tolist())
    found = [row["age"] for row in rows if row["age"] is not None]
    assert set(ages) <= set(found)
    answers = project.inline("predict", "--input", "../table.csv", "--output", "../answers.csv")
    assert answers.code == 0, answers.err
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == len(FRAME) + 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "table.csv is not UTF-8 text"),
        (("--encoding", "utf-16"), "table.csv is not utf-16 text"),
        (("--encoding", "cp1252", "--delimiter", "|"), "table.csv, data row 1 (line 2): "),
    ],
)
def test_another_format_is_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    european(tmp_path / "table.csv")
    done = init(Repo(tmp_path), "p", "--dataset", "table.csv", *ASKED, *options)

    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "p").exists()


def test_options_for_csv_are_refused_for_other_files(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "table.parquet")
    command = ("p", "--dataset", "table.parquet", *ASKED, "--decimal", ",")
    done = init(Repo(tmp_path), *command)

    assert done.code == 2
    assert "--decimal would have no effect" in done.err
    assert not (tmp_path / "p").exists()


@pytest.mark.slow
def test_the_answer_as_json_has_the_format(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "table.csv", index=False, sep="\t")
    FRAME.to_parquet(tmp_path / "table.parquet")

    for name, csv in (
        (
            "table.csv",
            {
                "delimiter": "\t",
                "quote": '"',
                "decimal": ".",
                "encoding": "utf-8",
                "columns": None,
            },
        ),
        ("table.parquet", None),
    ):
        done = init(Repo(tmp_path), name[6:], "--dataset", name, *ASKED, "--json")
        assert done.code == 0, done.err
        assert done.json["csv"] == csv


@pytest.mark.slow
def test_a_file_without_a_header_is_refused_and_read_with_names(tmp_path: Path) -> None:
    rows = FRAME.assign(city="it's in 'Bern'")
    rows.to_csv(tmp_path / "table.csv.gz", index=False, header=False, quotechar="'", quoting=1)
    repo = Repo(tmp_path)
    command = ("p", "--dataset", "table.csv.gz", *ASKED)
    done = init(repo, *command)
    assert done.code == 2
    assert "single quotes can be around values, or part of them" in done.err

    quote = ("--quote", "'")
    done = init(repo, *command, *quote)
    assert done.code == 2
    assert "the first line looks like a row, not like the names of columns" in done.err
    assert f"name all {FRAME.shape[1]} columns: `unlearn init` --columns" in done.err
    assert "r0000" not in done.err
    assert not (tmp_path / "p").exists()

    names = ", ".join(FRAME.columns)
    done = init(repo, *command, *quote, "--columns", names)
    assert done.code == 0, done.err
    line = "CSV: delimiter comma, single quotes, decimal point, encoding utf-8, no header, gzip\n"
    assert line in done.out
    pinned = dataset_of(tmp_path / "p")["csv"]
    assert (pinned["quote"], pinned["columns"]) == ("'", list(FRAME.columns))
    project = Repo(tmp_path / "p")
    project.stages()

    found = shard_rows(tmp_path / "p")
    assert len(found) == len(FRAME)
    assert {row["city"] for row in found} == {"it's in 'Bern'"}
    answers = project.inline("predict", "--input", "../table.csv.gz", "--output", "../answers.csv")
    assert answers.code == 0, answers.err
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == len(FRAME) + 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("id,age,income,member,city,label", "the first line has the names of the columns already"),
        ("id,label,x", "6 fields, but `columns` below `dataset.csv` has 3 names"),
        ("id,label,label", "--columns: a name is empty, or stands twice"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, columns: str, said: str) -> None:
    FRAME.to_csv(tmp_path / "table.csv", index=False)
    command = ("p", "--dataset", "table.csv", *ASKED, "--columns", columns)
    done = init(Repo(tmp_path), *command)

    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "p").exists()
