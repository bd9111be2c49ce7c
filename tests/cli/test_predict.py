"""`predict` on files as people have them: the same answers from all of them, or a refusal."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather

from tests.cli.conftest import FRAME, SECRET, refused, unchanged
from tests.conftest import Done, Repo

NEW = FRAME.iloc[20:50].reset_index(drop=True)


def predict(project: Repo, name: str, *options: str) -> Done:
    return project.inline("predict", "--input", name, "--output", "out.csv", *options)


def answers(project: Repo, name: str, *options: str) -> str:
    done = predict(project, name, *options)
    assert done.code == 0, done.err
    return (project.root / "out.csv").read_text(encoding="utf-8")


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the types that pandas users give it."""
    return frame.assign(
        member=frame["member"] == "true",
        city=frame["city"].replace("", None).astype("category"),
        age=frame["age"].astype("Float64"),
    )


def write_all(folder: Path, frame: pd.DataFrame) -> list[str]:
    """Write a table in every format; return the names of the files."""
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_csv(folder / "b.tsv", index=False, sep="\t")
    (folder / "c.csv.gz").write_bytes(gzip.compress((folder / "a.csv").read_bytes()))
    typed(frame).to_parquet(folder / "d.parquet", index=False)
    typed(frame).to_json(folder / "e.jsonl", orient="records", lines=True, double_precision=15)
    frame.to_json(folder / "f.json", orient="records", double_precision=15)
    feather.write_feather(pa.Table.from_pandas(typed(frame)), str(folder / "g.feather"))
    parts = folder / "parts"
    for city, rows in frame.groupby("city", sort=False):
        part = parts / f"city={city or '__HIVE_DEFAULT_PARTITION__'}"
        part.mkdir(parents=True)
        rows.drop(columns="city").to_parquet(part / "part-0.parquet", index=False)
    return ["a.csv", "b.tsv", "c.csv.gz", "d.parquet", "e.jsonl", "f.json", "g.feather"]


def test_every_format_has_the_same_answers_in_the_order_of_its_rows(done: Repo) -> None:
    names = write_all(done.root, NEW)

    first = answers(done, names[0])
    assert [line.split(",")[0].strip('"') for line in first.splitlines()[1:]] == list(NEW["id"])
    for name in names[1:]:
        assert answers(done, name) == first, name
    assert sorted(answers(done, "parts").splitlines()) == sorted(first.splitlines())


def test_a_csv_file_of_another_dialect_is_read_as_the_options_say(done: Repo) -> None:
    write_all(done.root, NEW)
    first = answers(done, "a.csv")
    NEW.to_csv(done.root / "x.csv", index=False, sep=";", decimal=",", encoding="utf-16")

    error = refused(predict(done, "x.csv"))
    assert error == "x.csv is not UTF-8 text"
    options = ("--delimiter", ";", "--decimal", ",", "--encoding", "utf-16")
    assert answers(done, "x.csv", *options) == first


@pytest.mark.parametrize(
    ("written", "error", "hint"),
    [
        (
            {"sep": ";"},
            "x.csv has no columns 'age', 'city', 'income', 'member'",
            "then read it with --delimiter ';'",
        ),
        (
            {"sep": "\t"},
            "x.csv has no columns 'age', 'city', 'income', 'member'",
            "then read it with --delimiter tab",
        ),
        (
            {"decimal": ","},
            "x.csv: column 'age' is numeric: a value is not a number (data row 1)",
            "--decimal ',' chooses the other one",
        ),
    ],
)
def test_the_option_that_helps_is_named(
    done: Repo, written: dict[str, Any], error: str, hint: str
) -> None:
    NEW.to_csv(done.root / "x.csv", index=False, **written)

    with unchanged(done.root):
        answer = predict(done, "x.csv")
    assert refused(answer) == error
    assert hint in answer.err.splitlines()[-1]


@pytest.mark.parametrize("written", ["many", "1;5", "1,234.5", "1.2.3", "."])
def test_no_decimal_mark_is_named_for_what_is_no_number_with_either(
    done: Repo, written: str
) -> None:
    NEW.assign(age=[written, *NEW["age"][1:]]).to_csv(done.root / "x.csv", index=False)

    answer = predict(done, "x.csv")
    assert refused(answer) == "x.csv: column 'age' is numeric: a value is not a number (data row 1)"
    assert "--decimal" not in answer.err


def test_a_number_with_a_point_is_told_from_text_where_numbers_have_commas(done: Repo) -> None:
    frame = NEW.assign(age=[f"{number},5" for number in range(30)])
    frame = frame.assign(income=[f"{number},5" for number in range(30)])
    for written, named in (("1.5", True), ("many", False), ("1,5", False)):
        frame.loc[0, "age"] = written
        frame.to_csv(done.root / "x.csv", index=False)
        answer = predict(done, "x.csv", "--decimal", ",")
        assert ("--decimal '.' chooses the other one" in answer.err) == named, written
        assert (answer.code == 0) == (written == "1,5"), answer.err


def test_a_file_without_a_header_is_read_with_the_names_of_its_columns(done: Repo) -> None:
    write_all(done.root, NEW)
    first = answers(done, "a.csv")
    NEW.to_csv(done.root / "x.csv", index=False, header=False)

    assert refused(predict(done, "x.csv")).startswith("x.csv: the first line looks like a row")
    assert answers(done, "x.csv", "--columns", ",".join(NEW)) == first
    error = refused(predict(done, "a.csv", "--columns", ",".join(NEW)))
    assert error == "a.csv: the first line has the names of the columns already"
    assert "either" in refused(predict(done, "a.csv", "--columns", "a", "--header"))
    assert answers(done, "a.csv", "--header") == first


def test_an_option_for_csv_is_refused_for_other_files(done: Repo) -> None:
    write_all(done.root, NEW)

    with unchanged(done.root):
        answer = predict(done, "d.parquet", "--decimal", ",")
    assert refused(answer) == "d.parquet has no CSV file: --decimal would have no effect"


def test_what_the_model_does_not_know_is_named_once_and_counted(done: Repo) -> None:
    frame = NEW.assign(city=["Oslo", "Bergen", "oslo", *["Rome"] * 27], note="x", Age=1)
    frame.drop(columns="id").to_csv(done.root / "x.csv", index=False)

    answer = predict(done, "x.csv")
    assert answer.code == 0
    assert answer.err.splitlines() == [
        "note: 2 columns that the model does not read: 'note', 'Age'",
        "note: there is no column 'id': the predictions have no ids",
        (
            "note: column 'city': 2 rows have a category that the model does not know; it answers "
            "for all such categories alike"
        ),
    ]
    value = predict(done, "x.csv", "--json").json
    assert value["ignored_columns"] == ["note", "Age"]
    assert value["unknown_categories"] == {"city": 2}
    assert value["has_ids"] is False


def change(column: str, values: Any) -> pd.DataFrame:
    frame = NEW.astype(object).copy()
    frame[column] = values
    return frame


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (NEW.rename(columns={"age": "Age "}), "x.parquet has no column 'age'"),
        (change("age", SECRET), "x.parquet: column 'age' is numeric: a value is not a number"),
        (change("member", 2), "x.parquet: column 'member' is boolean: a value is neither true nor"),
        (change("member", 0.5), "x.parquet: column 'member' is boolean: a value is neither true"),
        (change("income", float("inf")), "x.parquet: column 'income': a value is not a finite"),
        (change("city", [["Oslo"]] * 30), "x.parquet: column 'city' has type list"),
        (NEW[:0], "x.parquet has no rows"),
    ],
)
def test_a_value_of_another_kind_is_refused(done: Repo, frame: pd.DataFrame, error: str) -> None:
    frame.to_parquet(done.root / "x.parquet", index=False)

    with unchanged(done.root):
        answer = predict(done, "x.parquet")
    assert refused(answer).startswith(error)
    assert SECRET not in answer.err
    if "Age " in frame:
        assert "hint: did you mean 'Age '?" in answer.err


def test_the_facts_of_a_refusal_are_in_json(done: Repo) -> None:
    change("age", ["1", SECRET, *["1"] * 28]).to_csv(done.root / "x.csv", index=False)

    facts = predict(done, "x.csv", "--json").json["error"]["facts"]

    assert (facts["file"], facts["row"], facts["column"]) == ("x.csv", 2, "age")
