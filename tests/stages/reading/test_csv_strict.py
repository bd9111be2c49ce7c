"""CSV files are read as they were meant, or refused with the row: no row is lost or joined."""

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from unlearn.stages.config.dataset import CsvParams, DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading import csv_reading
from unlearn.stages.reading.reading import ONE_LINE_A_ROW, Reading
from unlearn.stages.reading.records import read_batches

LINES = Reading(multiline=True, single_line=frozenset({"id"}))

#: Stands in cells of broken files; no message may repeat it.
SECRET = "jane.roe"


def read(path: Path, content: str, reading: Reading = ONE_LINE_A_ROW) -> list[dict[str, Any]]:
    path.write_bytes(content.encode())
    batches = list(read_batches(path, "data/a.csv", reading=reading))
    return pa.concat_tables(batches).to_pylist() if batches else []


def with_rows(*changed: tuple[int, str]) -> str:
    """Return 20 rows of which some are others, after a header."""
    rows = [f"R{number:03},n{number},{number},b" for number in range(20)]
    for number, row in changed:
        rows[number] = row
    return "\n".join(["id,name,x,y", *rows]) + "\n"


STRAY = {
    "one quote opens the last value of two rows": with_rows(
        (3, f'R003,{SECRET},3,"a'), (8, 'R008,n8,8,"b')
    ),
    "one quote opens a value of two rows": with_rows(
        (3, f'R003,"{SECRET},3,a'), (8, 'R008,"n8,8,b')
    ),
    "one quote opens the first value of two rows": with_rows(
        (3, f'"R003,{SECRET},3,a'), (8, '"R008,n8,8,b')
    ),
    "a quote opens a value and another row closes it": with_rows(
        (3, f'R003,{SECRET},3,"a'), (8, 'R008,n8,8,b"')
    ),
    "a quote that no other follows": with_rows((3, f'R003,{SECRET},3,"a')),
    "a quote at the end of a value": with_rows((3, f'R003,{SECRET},3,a"')),
    "a quote within a value": with_rows((3, f'R003,{SECRET}"x,3,a')),
    "text after a closing quote": with_rows((3, f'R003,"n"{SECRET},3,a')),
    "a space after a closing quote": with_rows((3, f'R003,"{SECRET}" ,3,a')),
    "a space before a quote": with_rows((3, f'R003, "{SECRET}",3,a')),
    "a backslash before a quote": with_rows((3, f'R003,"{SECRET}\\"s",3,a')),
    "a value too many": with_rows((3, f"R003,{SECRET},3,a,")),
    "a value too few": with_rows((3, f"R003,{SECRET},3")),
    "a line end in a value": with_rows((3, f'R003,"{SECRET}\nx",3,a')),
    "a line end of another kind in a value": with_rows((3, f'R003,"{SECRET}\rx",3,a')),
}


@pytest.mark.parametrize("content", STRAY.values(), ids=STRAY)
def test_a_row_that_can_be_read_in_two_ways_is_refused_with_its_place(
    tmp_path: Path, content: str
) -> None:
    with pytest.raises(InputError, match=r"^data/a\.csv, data row 4 \(line 5\): ") as caught:
        read(tmp_path / "a.csv", content)

    assert SECRET not in f"{caught.value.message} {caught.value.hints}"
    assert caught.value.exit_code == 2
    assert caught.value.hints


#: Faults where line ends are allowed: a quote may then be seen only where the next one is.
LATER = {
    "one quote opens the last value of two rows",
    "one quote opens a value of two rows",
    "one quote opens the first value of two rows",
    "a quote opens a value and another row closes it",
}


@pytest.mark.parametrize("name", [name for name in STRAY if "line end" not in name])
def test_stray_quotes_are_refused_where_line_ends_are_allowed(tmp_path: Path, name: str) -> None:
    strict = Reading(multiline=True, single_line=frozenset({"id", "y"}))
    row = r"data row \d+" if name in LATER else "data row 4"

    with pytest.raises(InputError, match=rf"^data/a\.csv, {row}") as caught:
        read(tmp_path / "a.csv", STRAY[name], strict)
    assert SECRET not in f"{caught.value.message} {caught.value.hints}"


def test_a_backslash_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text follows the closing quote") as caught:
        read(tmp_path / "a.csv", STRAY["a backslash before a quote"])
    assert "backslash" in str(caught.value.hints)


def test_line_ends_are_read_where_they_are_meant(tmp_path: Path) -> None:
    content = 'id,x\n1,"a\nb"\n\n2,"c\r\n\r\nd"\n3,"""e""\n"\n'

    assert read(tmp_path / "a.csv", content, LINES) == [
        {"id": "1", "x": "a\nb"},
        {"id": "2", "x": "c\r\n\r\nd"},
        {"id": "3", "x": '"e"\n'},
    ]
    with pytest.raises(InputError, match=r"data row 1 \(line 2\): a value in quotes has a line"):
        read(tmp_path / "a.csv", content)
    with pytest.raises(InputError, match=r"data row 2: column 'id': a value has a line end"):
        read(tmp_path / "a.csv", 'id,x\n1,a\n"2\n3",b\n', LINES)


def test_the_header_is_held_to_the_same_rules(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", '"id","a ""x"", b"\n1,2\n') == [{"id": "1", 'a "x", b': "2"}]
    with pytest.raises(InputError, match=r"the header \(line 1\): a quote is in a value"):
        read(tmp_path / "a.csv", 'id,a"x\n1,2\n')
    with pytest.raises(InputError, match="a column name in the header has a line end"):
        read(tmp_path / "a.csv", 'id,"a\nx"\n1,2\n', LINES)


def test_line_ends_of_all_kinds_end_a_row(tmp_path: Path) -> None:
    rows = [{"id": "1", "x": "2"}, {"id": "3", "x": "4"}, {"id": "5", "x": ""}]
    for end in ("\n", "\r\n", "\r"):
        for last in ("", end, end * 3):
            content = end + f"id,x{end}1,2{end}{end}3,4{end}5," + last
            assert read(tmp_path / "a.csv", content) == rows


#: Files whose first lines end in one way, and another line in another way.
MIXED = {
    "a carriage return ends the last value": ("\n", "\r\n", 7),
    "a carriage return is between two values": ("\n", "\r", 7),
    "a line feed alone": ("\r\n", "\n", 7),
    "a carriage return alone": ("\r\n", "\r", 7),
    "a line feed among carriage returns": ("\r", "\n", 7),
    "both among carriage returns": ("\r", "\r\n", 7),
    "only the header ends in a line feed": ("\r\n", "\n", 0),
    "the last line": ("\n", "\r\n", 20),
}


@pytest.mark.parametrize("piece", [1, 64, 1 << 20])
@pytest.mark.parametrize("multiline", [False, True])
@pytest.mark.parametrize(("end", "other", "line"), MIXED.values(), ids=MIXED)
def test_a_line_end_that_may_be_part_of_a_value_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    other: str,
    line: int,
    piece: int,
    *,
    multiline: bool,
) -> None:
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", piece)
    lines = with_rows().splitlines()
    content = "".join(text + (other if n == line else end) for n, text in enumerate(lines))
    # After another end of the header, it is the first row that ends otherwise.
    row = max(line, 1)
    with pytest.raises(InputError, match=rf"data row {row} \(line {row + 1}\): its line") as caught:
        read(tmp_path / "a.csv", content, Reading(multiline=multiline))
    assert "same line end" in str(caught.value.hints)


def test_a_carriage_return_in_quotes_is_part_of_the_value(tmp_path: Path) -> None:
    content = 'id,x\n1,"a\r"\n2,"b\r\n"\n'
    rows = read(tmp_path / "a.csv", content, LINES)
    assert rows == [{"id": "1", "x": "a\r"}, {"id": "2", "x": "b\r\n"}]


def _text(draw_line_ends: bool) -> st.SearchStrategy[str]:
    common = st.sampled_from([*',;"\\ \t|a0.', "é", "\u2028", "\x85"])
    return st.text(
        st.one_of(common, st.sampled_from("\r\n")) if draw_line_ends else common, max_size=5
    )


def tables(*, line_ends: bool) -> st.SearchStrategy[list[list[str]]]:
    row = st.lists(_text(line_ends), min_size=3, max_size=3)
    return st.lists(row, min_size=1, max_size=12)


def written(rows: list[list[str]], quoting: Any, end: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=end)
    writer.writerows([["a", "b", "c"], *rows])
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("line_ends", [False, True])
def test_every_cell_is_what_the_writer_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, line_ends: bool, piece: int
) -> None:
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", piece)
    quoting = st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])

    @settings(max_examples=60, deadline=None)
    @given(tables(line_ends=line_ends), quoting, st.sampled_from(["\n", "\r\n", "\r"]))
    def law(rows: list[list[str]], quoting: int, end: str) -> None:
        # Python's writer puts only those line ends in quotes that it ends lines with.
        assume(quoting == csv.QUOTE_ALL or end == "\r\n" or not line_ends)
        found = read(tmp_path / "a.csv", written(rows, quoting, end), Reading(multiline=line_ends))
        assert [list(row.values()) for row in found] == rows

    law()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tables(line_ends=False),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(['"', ",", "\\", "\n", '""', "x", None])),
        min_size=1,
        max_size=3,
    ),
)
def test_a_damaged_file_never_gives_fewer_rows_than_it_has_lines(
    tmp_path: Path, rows: list[list[str]], quoting: Any, edits: list[tuple[int, str | None]]
) -> None:
    content = written(rows, quoting, "\n")
    for position, edit in edits:
        at = position % (len(content) + 1)
        content = content[:at] + ("" if edit is None else edit) + content[at + (edit is None) :]

    try:
        found = read(tmp_path / "a.csv", content)
    except InputError as error:
        assert error.message.startswith("data/a.csv")
        return
    lines = [line for line in content.split("\n") if line]
    assert len(found) == len(lines) - 1
    # What every line says by itself, to a reader that knows no other line.
    for line, row in zip(lines[1:], found, strict=True):
        assert next(csv.reader([line], strict=True)) == list(row.values())


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_are_read_or_refused(
    tmp_path: Path, content: bytes, multiline: bool
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,x\n" + content)
    try:
        list(read_batches(path, "data/a.csv", reading=Reading(multiline=multiline)))
    except InputError as error:
        assert error.message.startswith("data/a.csv")


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(csv_reading, "_MOST_RECORD_BYTES", 5000)
    content = 'id,x\n1,"a\n' + "2,b\n" * 10_000

    with pytest.raises(InputError, match="a row has more than") as caught:
        read(tmp_path / "a.csv", content, LINES)
    assert "never closed" in f"{caught.value.hints}"


def test_numbers_of_rows_and_lines_go_on_over_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", 64)
    content = "id,x\n" + '1,"a\nb"\n\n' * 100 + '2,c"\n'

    with pytest.raises(InputError, match=r"data row 101 \(line 302\): a quote is in a value"):
        read(tmp_path / "a.csv", content, LINES)


@pytest.mark.parametrize(("skipped", "row"), [(1, 1), (2, 21)])
def test_rows_that_a_parser_loses_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipped: int, row: int
) -> None:
    # A piece of 20 rows, and one with the others.
    content = with_rows() + with_rows().partition("\n")[2]
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", len(with_rows()))
    parse = pacsv.read_csv
    calls = iter(range(1, 9))

    def losing(*arguments: Any, **options: Any) -> pa.Table:
        table = parse(*arguments, **options)
        return table.slice(next(calls) == skipped)

    monkeypatch.setattr(csv_reading, "_threads", lambda: 1)
    monkeypatch.setattr(pacsv, "read_csv", losing)
    with pytest.raises(InputError, match="rows from here on were read as") as caught:
        read(tmp_path / "a.csv", content)
    assert caught.value.facts is not None
    assert (caught.value.facts.file, caught.value.facts.row) == ("data/a.csv", row)


@pytest.mark.parametrize("column", ["id", "person", "y", "city", "age"])
def test_a_line_end_is_never_part_of_a_role_or_a_feature_of_a_table(
    tmp_path: Path, column: str
) -> None:
    dataset = DatasetParams(
        path="data/a.csv",
        id="id",
        subject="person",
        target="y",
        multiline=True,
        classes=["a"],
        features={"city": "categorical", "age": "numeric"},
    )
    columns = ["id", "person", "y", "city", "age", "other"]
    rows = [[f"{name} {number}" for name in columns] for number in range(5)]
    rows[3][columns.index(column)] = f"{SECRET}\n"
    rows[1][-1] = "one\nother"
    content = written(rows, csv.QUOTE_ALL, "\n").replace("a,b,c", ",".join(columns), 1)
    content = content.replace('"a","b","c"', ",".join(columns), 1)

    with pytest.raises(InputError, match=rf"data/a\.csv, data row 4: column '{column}'") as caught:
        read(tmp_path / "a.csv", content, Reading.of(dataset))
    assert SECRET not in f"{caught.value.message} {caught.value.hints}"


def test_without_quotes_every_character_is_part_of_the_value(tmp_path: Path) -> None:
    form = CsvParams(delimiter="\t", quote="none")
    content = 'id\tx\n1\t"a\n2\tb"c\'\\\n3\t""\n'
    rows = read(tmp_path / "a.csv", content, Reading(csv=form))

    assert [row["x"] for row in rows] == ['"a', "b\"c'\\", '""']
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a.csv", content, Reading(csv=CsvParams(delimiter="\t")))
    assert "--quote none" in str(caught.value.hints)


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_files_without_a_header_have_the_columns_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", piece)
    named = Reading(csv=CsvParams(columns=["id", "x"]))
    assert read(tmp_path / "a.csv", "\n1,a\n2,b", named) == [
        {"id": "1", "x": "a"},
        {"id": "2", "x": "b"},
    ]
    assert read(tmp_path / "a.csv", "", named) == []

    for content, said in (
        ("id,x\n1,a\n", "a.csv: the first line has the names of the columns already"),
        ("1,a\n2,b,c\n", r"data row 2 \(line 2\): 3 fields, but `columns` below"),
        ('1,a\n2,b"c\n', r"data row 2 \(line 2\): a quote is in a value"),
        ("1\n2\n", r"data row 1 \(line 1\): 1 field, but `columns` below"),
    ):
        with pytest.raises(InputError, match=said):
            read(tmp_path / "a.csv", content, named)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_that_end_with_a_delimiter_get_another_hint(tmp_path: Path, end: str) -> None:
    for rows, hint in (
        (["1,2,", "3,4,"], "the rows end with a delimiter, and the header does not"),
        (["1,2", "3,4,"], "the rows end with a delimiter"),
        (["1,2,", "3,4,5"], "put a value that has a delimiter in quotes"),
        (["1,2,,", "3,4,,"], "put a value that has a delimiter in quotes"),
    ):
        path = tmp_path / "a.csv"
        path.write_bytes(end.join(["id,x", *rows, ""]).encode())
        with pytest.raises(InputError, match="fields, but the header has 2") as caught:
            list(read_batches(path, "a.csv"))
        assert caught.value.hints[0].startswith(hint)
