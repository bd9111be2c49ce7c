"""How a CSV file is written is found from its first rows, or the file is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.csv_dialect import find_format
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches

FOUND: dict[str, tuple[str, CsvParams]] = {
    "double quotes": ('id,x\n1,"a,b"\n', CsvParams()),
    "no quotes": ("id,x\n1,a\n", CsvParams()),
    "apostrophes": ("id,x\n1,it's\n2,'t is\n", CsvParams()),
    "an apostrophe at both ends of one value": ("id,x\n1,'a'\n2,it's\n", CsvParams()),
    "single quotes in double ones": ("id,x\n1,\"'a'\"\n2,\"'b'\"\n", CsvParams()),
    "double quotes around some": ("id,x,y\n1,'a','b'\n2,'a',\"b\"\n", CsvParams()),
    "single quotes around all": ("'id','x'\n'1','a'\n", CsvParams(quote="'")),
    "single quotes around a column, and its name": ("'id',x\n1,'a'\n", CsvParams(quote="'")),
    "single quotes where they are needed": ("id,x\n1,'a,b'\n2,c\n", CsvParams(quote="'")),
    "single quotes and semicolons": (
        "id;x\n1;'a;b'\n2;'it''s'\n",
        CsvParams(delimiter=";", quote="'"),
    ),
    "a line end in single quotes": ("id,x\n1,'a\nb'\n2,'c'\n", CsvParams(quote="'")),
    "an unusual line separator in the header": (
        "id\u2028;x,y\n1;2,3\n".replace("id\u2028", "\u2028;id"),
        CsvParams(delimiter=";"),
    ),
}


@pytest.mark.parametrize(("content", "expected"), FOUND.values(), ids=FOUND)
def test_the_format_is_found(tmp_path: Path, content: str, expected: CsvParams) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")

    assert find_format(path, "a.csv", ["id"], {}) == expected


@pytest.mark.parametrize("rows", ["1,'a'\n2,'b'\n", "1,'a'\n2,b\n", "1,'it''s'\n2,b\n"])
def test_quotes_that_can_be_part_of_the_values_are_refused(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"id,x\n{rows}", encoding="utf-8")

    with pytest.raises(InputError, match="a.csv: single quotes can be around values") as caught:
        find_format(path, "a.csv", ["id"], {})
    assert "--quote" in caught.value.hints[0]


@pytest.mark.parametrize(
    "known",
    [
        {"quote": "none"},
        {"quote": '"'},
        {"quote": "'", "delimiter": "|"},
        {"delimiter": "\t", "quote": '"'},
    ],
)
def test_what_the_user_chose_stays(tmp_path: Path, known: dict[str, str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,x\n1,'a'\n2,'b'\n", encoding="utf-8")

    found = find_format(path, "a.csv", ["id"], known)
    assert known.items() <= found.model_dump().items()


NO_HEADER = {
    "R1,34,a\nR2,35,b\n": "field 2 is a number",
    "R1;3,4;a\nR2;5,1;b\n": "field 2 is a number",
    "R1,a,2024-01-31\nR2,b,2024-02-01\n": "field 3 is a date or time",
    "R1,a,b\nR2,a,c\n": "the value of field 2 is in other rows",
    "R1,a,a\nR2,b,c\n": "two of its fields are the same",
}


@pytest.mark.parametrize(("content", "why"), NO_HEADER.items())
def test_a_missing_header_is_refused_without_its_values(
    tmp_path: Path, content: str, why: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(
        InputError, match=f"a.csv: the first line looks like a row.*{why}"
    ) as caught:
        find_format(path, "a.csv", ["id", "y"], {})
    assert "--columns" in caught.value.hints[0]
    said = f"{caught.value.message} {caught.value.hints} {caught.value.facts}"
    assert "R1" not in said

    known: dict[str, Any] = {"columns": ["id", "x", "y"]}
    found = find_format(path, "a.csv", ["id", "y"], known)
    assert found == CsvParams(delimiter=";" if ";" in content else ",", **known)


def test_without_a_header_the_delimiter_gives_as_many_fields_as_there_are_names(
    tmp_path: Path,
) -> None:
    path, names = tmp_path / "a.csv", ["id", "x", "y"]
    # By the first row alone, it could be a comma.
    path.write_text("r1;1,2;3,4\nr2;1,5;2\n", encoding="utf-8")
    assert find_format(path, "a.csv", ["id"], {"columns": names}).delimiter == ";"

    path.write_text("'r1;';'1,';2\n'r2';'1';2\n", encoding="utf-8")
    assert find_format(path, "a.csv", ["id"], {"columns": names}).delimiter == ";"


@pytest.mark.parametrize(("one", "other"), [(",", ";"), (";", "\t"), ("\t", "|")])
def test_without_a_header_two_possible_delimiters_are_refused(
    tmp_path: Path, one: str, other: str
) -> None:
    path, names = tmp_path / "a.csv", ["id", "x", "y"]
    path.write_text(f"R1{one}{other}{one}{other}\n", encoding="utf-8")

    with pytest.raises(InputError, match="a.csv: the delimiter can be a .* or a ") as caught:
        find_format(path, "a.csv", ["id"], {"columns": names})
    assert "R1" not in f"{caught.value.message} {caught.value.hints} {caught.value.facts}"
    assert find_format(path, "a.csv", ["id"], {"columns": names, "delimiter": one}).columns == names


@pytest.mark.parametrize("content", ["name,age\na,34\n", "2020,2021,x\nc,a,b\n", "a,b\n", ""])
def test_a_header_without_the_named_columns_is_no_row(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")

    # The error about the missing column lists those that there are.
    assert find_format(path, "a.csv", ["id"], {}).columns is None


def test_a_header_that_is_missing_later_is_refused_without_its_values(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("R1,34,a\nR2,35,b\n", encoding="utf-8")
    pinned = Reading(required=frozenset({"id", "y"}))

    with pytest.raises(InputError, match="a.csv: the first line looks like a row") as caught:
        list(read_batches(path, "a.csv", reading=pinned))
    assert "R1" not in f"{caught.value.message} {caught.value.hints} {caught.value.facts}"


def test_models_record_new_settings_only_where_they_are_not_the_default() -> None:
    before = {"delimiter": ";", "decimal": ",", "encoding": "utf-8"}

    assert CsvParams(delimiter=";", decimal=",").as_json == before
    found = CsvParams(delimiter=";", decimal=",", quote="none", columns=["a"]).as_json
    assert found == before | {"quote": "none", "columns": ["a"]}


HEADER = "id;x;y\nR1;34;a\nR2;35;b\n"
ABOVE = {
    f"# exported by jane.roe\n{HEADER}": "line 1 is above .*remove the first line",
    f"# by jane.roe, today\n{HEADER}": "line 1 is above",
    f"sep=;\n{HEADER}": "line 1 is above",
    f"sep=;\n{HEADER.replace('id', 'ID')}": "line 1 is above",
    f"# jane.roe\n{HEADER.replace('id', 'ID')}": "line 1 is above",
    f"Report of jane.roe\n\n; ;\n{HEADER}": "lines 1 to 3 are above .*remove the first 3 lines",
}


@pytest.mark.parametrize(("content", "said"), ABOVE.items())
def test_lines_above_the_header_are_refused_and_never_repeated(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    pinned = Reading(required=frozenset({"id", "y"}), csv=CsvParams(delimiter=";"))

    for read in (
        lambda: find_format(path, "a.csv", ["id", "y"], {}),
        lambda: list(read_batches(path, "a.csv", reading=pinned)),
    ):
        with pytest.raises(InputError) as caught:
            read()
        text = f"{caught.value.message} {caught.value.hints} {caught.value.facts}"
        assert re.search(said, text), text
        assert "jane.roe" not in text


@pytest.mark.parametrize("content", ["#id;x,z;y\nR1;3,4;a\n", "#id\n1\n", "# only a comment\n"])
def test_a_header_may_begin_with_a_number_sign(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")

    assert find_format(path, "a.csv", ["id"], {}).columns is None
