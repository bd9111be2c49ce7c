"""`--json` of a refusal: what the message names, field by field, and no text of a row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.errors import Facts

from tests.cli.conftest import SECRET
from tests.conftest import Repo

INIT = ("init", "project", "--dataset", "d.csv", "--id", "id", "--target", "y")
ROWS = "".join(f"r{number},{number},{number % 2}\n" for number in range(40))
TABLE = f"id,x,y\n{ROWS}"

NOTHING: dict[str, Any] = {
    "file": None,
    "row": None,
    "rows": [],
    "line": None,
    "lines": [],
    "column": None,
    "missing": [],
    "columns": [],
    "nearest": None,
    "separator": None,
    "decimal": None,
}


@dataclass(frozen=True)
class Refusal:
    """A file, what to run, and the facts of the error."""

    content: str
    facts: dict[str, Any] | None
    command: tuple[str, ...] = INIT


REFUSALS = {
    "a missing column": Refusal(
        TABLE.replace("id,", "Id ,", 1),
        {"file": "d.csv", "column": "id", "columns": ["Id ", "x", "y"], "nearest": "Id "},
    ),
    "one column": Refusal(
        TABLE.replace(",", "^"), {"file": "d.csv", "column": "id", "columns": ["id^x^y"]}
    ),
    "another separator": Refusal(
        TABLE.replace(",", ";"),
        {"file": "d.csv", "column": "id", "columns": ["id;x;y"], "separator": ";"},
        (*INIT, "--delimiter", ","),
    ),
    "a column that --drop names": Refusal(
        TABLE, {"file": "d.csv", "column": "z", "columns": ["id", "x", "y"]}, (*INIT, "--drop=z")
    ),
    "a repeated id": Refusal(f"{TABLE}r4,1,1\n", {"file": "d.csv", "row": 5, "rows": [5, 41]}),
    "an id like a token": Refusal(
        f"{TABLE}u1_{SECRET},1,1\n", {"file": "d.csv", "row": 41, "column": "id"}
    ),
    "a bad number": Refusal(
        f"{TABLE}r40,{SECRET},1\n", {"file": "d.csv", "row": 41, "column": "x"}
    ),
    "a row without a class": Refusal(
        f"{TABLE}r40,1,\n", {"file": "d.csv", "row": 41, "column": "y"}
    ),
    "a stray quote": Refusal(
        f'{TABLE}r40,{SECRET}"a,1\n', {"file": "d.csv", "row": 41, "line": 42}
    ),
    "another number of fields": Refusal(
        f"{TABLE}r40,{SECRET},1,1\n", {"file": "d.csv", "row": 41, "line": 42}
    ),
    "a fault in the header": Refusal(
        TABLE.replace("x", '"x"a', 1), {"file": "d.csv", "row": 0, "line": 1}
    ),
    "a column twice": Refusal(
        TABLE.replace("x", "id", 1),
        {"file": "d.csv", "row": 0},
    ),
    "no rows": Refusal("", {"file": "d.csv"}),
    "a usage error": Refusal(TABLE, None, ("init", "--nope")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_message_names_is_there_field_by_field(tmp_path: Path, name: str) -> None:
    refusal = REFUSALS[name]
    (tmp_path / "d.csv").write_text(refusal.content, encoding="utf-8")

    done = Repo(tmp_path).inline(*refusal.command, "--json")

    assert (done.code, done.err) == (2, "")
    error = done.json["error"]
    assert error["facts"] == (None if refusal.facts is None else {**NOTHING, **refusal.facts})
    assert SECRET not in done.out
    for fact in (refusal.facts or {}).values():
        if isinstance(fact, str | int) and fact not in (0, "\t"):
            assert str(fact) in " ".join((error["message"], *error["hints"])), fact


def test_a_file_of_ids_is_named_with_all_lines_that_match_no_row(fresh: Repo) -> None:
    (fresh.root / "ids.txt").write_text(f"r0001\n{SECRET}\nr0002\nnobody\n", encoding="ascii")

    for command in ("forget", "plan"):
        error = fresh.inline(command, "--ids", "ids.txt", "--json").json["error"]
        assert error["facts"] == {**NOTHING, "file": "ids.txt", "line": 2, "lines": [2, 4]}

    error = fresh.inline("forget", "--id", SECRET, "--json").json["error"]
    assert error["facts"] == NOTHING
    (fresh.root / "ids.txt").write_text(f"r0001\nu1_{SECRET}\n", encoding="ascii")
    error = fresh.inline("forget", "--ids", "ids.txt", "--json").json["error"]
    assert error["facts"] == {**NOTHING, "file": "ids.txt", "line": 2}


def test_a_line_by_hand_is_named(fresh: Repo) -> None:
    path = fresh.root / "data/forget_list.txt"
    path.write_text(f"{SECRET}\n", encoding="ascii")

    error = fresh.inline("forget", "--id", "r0001", "--json").json["error"]

    assert error["facts"] == {**NOTHING, "file": "data/forget_list.txt", "line": 1, "lines": [1]}


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (Facts(file="a", row=3), "a, data row 3"),
        (Facts(file="a", row=3, line=4), "a, data row 3 (line 4)"),
        (Facts(file="a", row=0, line=1), "a, the header (line 1)"),
        (Facts(file="a", line=4), "a, line 4"),
        (Facts(file="a", column="x"), "a: column 'x'"),
        (Facts(file="a", row=3, column="x"), "a: column 'x', data row 3"),
        (Facts(column="x"), "column 'x'"),
    ],
)
def test_a_place_is_named_in_one_way(facts: Facts, text: str) -> None:
    assert str(facts) == text
