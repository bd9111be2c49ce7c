"""`unlearn init --kind`: what the user says a column is, and what that does to the rows."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.cli.init.request.kinds import TABLE_KINDS, read_kinds
from unlearn.stages.errors import InputError

from tests.cli.conftest import SECRET, init, refused, unchanged
from tests.conftest import Done, Repo

ROWS = 60
TABLE = {
    "id": [f"r{n}" for n in range(ROWS)],
    "zip": [n % 3 + 10 for n in range(ROWS)],
    "day": [f"2024-01-{n % 28 + 1:02d}" for n in range(ROWS)],
    "size": [["small", "large", ""][n % 3] for n in range(ROWS)],
    "note": [f"row {n} " + "long " * 50 for n in range(ROWS)],
    "smoker": [["yes", "No"][n % 2] for n in range(ROWS)],
    "label": [["a", "b"][n % 2] for n in range(ROWS)],
}


def run_init(root: Path, *kinds: str, **columns: Any) -> Done:
    """Set up the project `P` on the table, with other values in some columns."""
    pd.DataFrame(TABLE | columns).to_csv(root / "d.csv", index=False)
    chosen = [part for kind in kinds for part in ("--kind", kind)]
    asked = ("--id", "id", "--target", "label", "--shards", "1", "--model", "mlp")
    return init(Repo(root), "P", "--dataset", str(root / "d.csv"), *asked, *chosen)


def dataset(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = Repo(root / "P").params()["dataset"]
    return found


def test_kinds_are_listed_with_what_models_read(tmp_path: Path) -> None:
    done = run_init(tmp_path)

    assert done.code == 0, done.err
    assert done.err.splitlines()[1:6] == [
        "features by kind (--kind COLUMN=KIND chooses another one):",
        "  numeric: zip (numbers)",
        "  boolean: smoker (true or false, yes or no)",
        "  categorical: size (texts that rows share; each is a column)",
        "  datetime: day (dates or times as a number of seconds)",
    ]
    assert "--kind=note=hashed_text takes its words" in done.err
    assert "--kind=day=calendar adds weekday and month" in done.err
    assert "hashed_columns" not in dataset(tmp_path)


def test_chosen_kinds_are_pinned(tmp_path: Path) -> None:
    kinds = ("zip=categorical", "day=calendar", "size=ordinal:small, large", "note=hashed_text:9")
    done = run_init(tmp_path, *kinds)

    assert done.code == 0, done.err
    found = dataset(tmp_path)
    assert found["features"] == {
        "zip": "categorical",
        "day": "calendar",
        "size": "ordinal",
        "note": "hashed_text",
        "smoker": "boolean",
    }
    assert found["categories"] == {"size": ["small", "large"], "zip": ["10", "11", "12"]}
    assert found["hashed_columns"] == {"note": 9}
    assert "left out" not in done.err


def test_dates_of_other_formats_keep_their_format_as_calendar(tmp_path: Path) -> None:
    days = [f"{n % 28 + 1}/1/2024" for n in range(ROWS)]

    assert run_init(tmp_path, "day=calendar", day=days).code == 0
    assert dataset(tmp_path)["date_formats"] == {"day": "day_first"}


@pytest.mark.parametrize(
    ("kind", "columns", "said"),
    [
        ("size=numeric", {}, "column 'size' is numeric: a value is not a number (data row 1)"),
        ("zip=boolean", {}, "column 'zip' is boolean: a value is neither true nor false"),
        ("zip=calendar", {}, "column 'zip' is a date or time: a value is not one in ISO 8601"),
        (
            "size=ordinal:small,medium",
            {},
            "column 'size' is ordinal: a value is not listed under categories (data row 2)",
        ),
        ("note=categorical", {}, "--kind: column 'note' cannot be categorical: it is text"),
        ("colour=numeric", {}, "--kind: d.csv has no column 'colour'"),
        ("id=numeric", {}, "--kind: 'id' is the id, subject, target or weight, not a feature"),
        (
            "label=numeric",
            {},
            "--kind: 'label' is the id, subject, target or weight, not a feature",
        ),
        ("size", {}, "--kind: 'size' is not understood"),
        ("=numeric", {}, "--kind: '=numeric' is not understood"),
        ("size=categoric", {}, "--kind: there is no kind 'categoric'"),
        ("size=completion", {}, "--kind: there is no kind 'completion'"),
        ("size=ordinal", {}, "--kind: the values of ordinal column 'size' must be listed"),
        ("size=ordinal:a,a", {}, "--kind: the values of ordinal column 'size' must be listed"),
        ("note=hashed_text:0", {}, "a hashed text becomes 1 to 4,096 columns of numbers"),
        ("note=hashed_text:many", {}, "a hashed text becomes 1 to 4,096 columns of numbers"),
        ("zip=numeric:3", {}, "--kind: numeric of column 'zip' takes nothing after a colon"),
        ("day=numeric", {"day": [SECRET] * ROWS}, "column 'day' is numeric: a value is not a"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(
    kind: str, columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pd.DataFrame(TABLE | columns).to_csv(tmp_path / "d.csv", index=False)
    with unchanged(tmp_path):
        done = run_init(tmp_path, kind, **columns)

    message = "\n".join(line for line in done.err.splitlines() if not line.startswith("  "))
    assert done.code == 2
    assert said in message
    assert SECRET not in done.err


def test_the_nearest_kind_is_named(tmp_path: Path) -> None:
    done = run_init(tmp_path, "size=categoric")

    refused(done)
    assert "hint: did you mean `categorical`?" in done.err


@pytest.mark.parametrize("other", [("--drop", "zip"), ("--kind", "zip=numeric")])
def test_a_column_has_one_choice(other: tuple[str, str], tmp_path: Path) -> None:
    pd.DataFrame(TABLE).to_csv(tmp_path / "d.csv", index=False)
    columns = ("--id", "id", "--target", "label", "--kind", "zip=categorical")
    done = init(Repo(tmp_path), "P", "--dataset", str(tmp_path / "d.csv"), *columns, *other)

    assert refused(done).startswith(("column 'zip' cannot be both", "--kind: column 'zip' has two"))


@given(st.text(max_size=20), st.sampled_from(TABLE_KINDS), st.text(max_size=20))
def test_what_is_read_is_what_was_written_or_an_error(column: str, kind: str, rest: str) -> None:
    option = f"{column}={kind}" + (f":{rest}" if rest else "")
    try:
        found = read_kinds([option])
    except InputError as error:
        assert error.message.startswith("--kind: ")
        return
    assert list(found.kinds.items()) == [(column, kind)]
    assert set(found.orders) == ({column} if kind == "ordinal" else set())
    assert set(found.hashed_columns) == ({column} if kind == "hashed_text" else set())
