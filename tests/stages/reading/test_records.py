"""Reading datasets: what was written comes back as written, and bad files say where."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.reading.dataset_files import dataset_files
from unlearn.stages.reading.reading import ONE_LINE_A_ROW, Reading
from unlearn.stages.reading.records import read_batches

#: Stands in cells of broken files; no message may repeat it.
SECRET = "jane.roe"


def read(path: Path, reading: Reading = ONE_LINE_A_ROW) -> dict[str, list[Any]]:
    batches = list(read_batches(path, f"data/{path.name}", reading=reading))
    return pa.concat_tables(batches).to_pydict() if batches else {}


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write CSV as RFC 4180 says, every value in quotes."""
    quoted = [list(rows[0]), *(list(row.values()) for row in rows)]
    lines = [",".join('"' + value.replace('"', '""') + '"' for value in row) for row in quoted]
    return write(path, "\r\n".join(lines) + "\r\n")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


IDS = ["007", "7", "7.0", " 7", "9" * 40, "-0", "1e3", "true", "null", "né", "a,b", 'a"b', "a\nb"]


def test_text_stays_as_it_was_written(tmp_path: Path) -> None:
    rows = [{"id": raw, "x": raw} for raw in IDS]
    expected = {"id": IDS, "x": IDS}

    assert read(write_csv(tmp_path / "a.csv", rows), Reading(multiline=True)) == expected
    assert read(write_jsonl(tmp_path / "a.jsonl", rows)) == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == expected


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1)
)
def test_any_text_survives_csv_and_jsonl(tmp_path: Path, values: list[str]) -> None:
    rows = [{"id": str(number), "x": value} for number, value in enumerate(values)]

    assert read(write_csv(tmp_path / "a.csv", rows), Reading(multiline=True))["x"] == values
    assert read(write_jsonl(tmp_path / "a.jsonl", rows))["x"] == values


def test_unquoted_csv_keeps_the_digits_of_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"id,x\n007,1.50\n{'9' * 40},\n")

    assert read(path) == {"id": ["007", "9" * 40], "x": ["1.50", ""]}


def test_json_numbers_keep_their_text(tmp_path: Path) -> None:
    big = "9" * 5000
    path = write(tmp_path / "a.jsonl", f'{{"id":7,"x":1.50}}\n{{"id":{big},"x":1E3}}\n')

    assert read(path) == {"id": ["7", big], "x": ["1.50", "1E3"]}


def test_json_values_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a":true,"b":false,"c":null,"d":NaN,"e":Infinity}\n')

    assert read(path) == {"a": ["true"], "b": ["false"], "c": [None], "d": [None], "e": ["inf"]}


def test_fields_that_json_lines_leave_out_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id":"1"}\n\n{"x":"2","id":"2"}\n')

    assert read(path) == {"id": ["1", "2"], "x": [None, "2"]}


def test_an_unusual_line_separator_inside_json_is_no_line_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id":"a\u2028b\u0085"}\r\n')

    assert read(path) == {"id": ["a\u2028b\u0085"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"\xef\xbb\xbfid,x\r\n1,2\r\n\r\n3,4"),
        ("a.CSV", b"id,x\n\n1,2\n3,4\n\n"),
        ("a.jsonl", b'\xef\xbb\xbf{"id":"1","x":"2"}\r\n\r\n{"id":"3","x":"4"}'),
    ],
)
def test_line_ends_blank_lines_and_a_byte_order_mark_are_fine(
    tmp_path: Path, name: str, content: bytes
) -> None:
    assert read(write(tmp_path / name, content)) == {"id": ["1", "3"], "x": ["2", "4"]}


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([7, 8]), "x": pa.array([1.5, None]), "b": [True, False]})
    pq.write_table(table, tmp_path / "a.parquet")

    assert next(read_batches(tmp_path / "a.parquet", "a")).schema == table.schema


def test_a_directory_is_one_dataset_in_the_order_of_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    (folder / "sub").mkdir(parents=True)
    write(folder / "b.csv", "id,x\n2,b\n")
    write(folder / "a.jsonl", '{"x":"a","id":"1"}\n')
    write(folder / "sub" / "c.csv", "x,id\nc,3\n")
    write(folder / ".hidden", "not a dataset")

    assert [path.name for path in dataset_files(folder, "d")] == ["a.jsonl", "b.csv", "c.csv"]
    assert read(folder) == {"x": ["a", "b", "c"], "id": ["1", "2", "3"]}


def test_columns_of_one_directory_have_to_agree(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,x\n1,2\n")
    write(tmp_path / "b.csv", f"id,y\n{SECRET},2\n")

    with pytest.raises(InputError, match=r"/b\.csv has no column 'x', which .*/a\.csv has"):
        read(tmp_path)


def test_a_large_file_comes_in_batches_that_lose_no_row(tmp_path: Path) -> None:
    count = 50_000
    padding = "x" * 200
    csv = "id,x\n" + "".join(f"{number},{padding}\n" for number in range(count))
    write(tmp_path / "a.csv", csv)
    pq.write_table(pa.table({"id": list(range(count))}), tmp_path / "a.parquet")

    for name in ("a.csv", "a.parquet"):
        batches = list(read_batches(tmp_path / name, name))
        assert len(batches) > 2
        found = [int(value) for batch in batches for value in batch["id"].to_pylist()]
        assert found == list(range(count))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.csv",
            f"id,x\n1,2\n{SECRET}\n3,4\n",
            r"data row 2 \(line 3\): 1 field, but the header has 2",
        ),
        (
            "a.csv",
            f"id,x\n1,2\n3,4\n{SECRET},5,6\n",
            r"data row 3 \(line 4\): 3 fields, but the header has 2",
        ),
        (
            "a.csv",
            f'id,x\n1,2\n"{SECRET},3\n4,5\n',
            r"data row 2 \(line 3\): a value in quotes has a",
        ),
        ("a.csv", f"id,x\n{SECRET},".encode() + b"\xff\n", "is not UTF-8 text"),
        ("a.csv", f"id,{SECRET}".encode() + b"\xff\n1,2\n", "is not UTF-8 text"),
        ("a.csv", "id,x\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
        ("a.csv", "id,x,id\n1,2,3\n", "stands twice in the header"),
        ("a.csv", b"", "has no columns"),
        ("a.jsonl", f'{{"id":"1"}}\n{{"id":{SECRET}}}\n', "line 2: not readable as JSON"),
        ("a.jsonl", f'["{SECRET}"]\n', "line 1: not a JSON object"),
        ("a.jsonl", f'{{"id":"{SECRET}","id":"2"}}\n', "line 1: a field stands twice"),
        ("a.jsonl", f'{{"id":"{SECRET}\\ud800"}}\n', "not valid Unicode"),
        ("a.jsonl", f'{{"id":"{SECRET}'.encode() + b'\xff"}\n', "is not UTF-8 text"),
        ("a.jsonl", "[" * 100_000, "line 1: not readable as JSON"),
        ("a.parquet", f"PAR1{SECRET}PAR1", "is not readable as Parquet"),
        ("a.parquet", b"", "is not readable as Parquet"),
        ("a.txt", "id\n1\n", r"a\.txt is not one of \.csv, \.tsv, \.parquet"),
        ("a", "id\n1\n", "not one of"),
    ],
)
def test_a_broken_file_says_where_and_never_what(
    tmp_path: Path, name: str, content: bytes | str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(write(tmp_path / name, content))

    assert f"data/{name}" in caught.value.message
    assert SECRET not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_parquet_file_cut_short_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [SECRET] * 100}), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()

    for length in (8, len(whole) // 2, len(whole) - 1):
        with pytest.raises(InputError, match="is not readable as Parquet"):
            read(write(tmp_path / "a.parquet", whole[:length]))


def test_a_damaged_parquet_page_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [f"r{n}" for n in range(500)]}), tmp_path / "whole.parquet")
    whole = bytearray((tmp_path / "whole.parquet").read_bytes())
    whole[20:60] = b"\xff" * 40

    with pytest.raises(InputError, match="is not readable as Parquet"):
        read(write(tmp_path / "a.parquet", bytes(whole)))


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data/nothing\.csv does not exist"):
        read(tmp_path / "nothing.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a directory without files"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("content", ["id,x\n", "id,x"])
def test_a_header_alone_is_a_dataset_without_rows(tmp_path: Path, content: str) -> None:
    assert read(write(tmp_path / "a.csv", content)) in ({}, {"id": [], "x": []})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["csv", "jsonl", "parquet"]), st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(
    tmp_path: Path, kind: str, content: bytes
) -> None:
    path = write(tmp_path / f"a.{kind}", content)

    def tables() -> Iterator[pa.Table]:
        yield from read_batches(path, "data/a")

    try:
        for table in tables():
            assert len(set(table.column_names)) == table.num_columns
    except InputError as error:
        assert error.message.startswith("data/a")


def test_blank_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n\nid,x\n007,1\n", encoding="utf-8")

    (batch,) = read_batches(tmp_path / "a.csv", "a.csv")
    assert batch.to_pydict() == {"id": ["007"], "x": ["1"]}
