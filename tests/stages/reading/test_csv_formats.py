"""CSV in other formats: every cell is what the writer was given, or the file is refused."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.columns.schema_finder import SchemaFinder
from unlearn.stages.config.dataset import CsvParams, Decimal, Delimiter
from unlearn.stages.errors import InputError
from unlearn.stages.reading import csv_reading
from unlearn.stages.reading.csv_dialect import find_format
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.schema import feature_column

DELIMITERS: list[Delimiter] = [",", ";", "\t", "|"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"]
HEADER = ["id", "größe", "x"]


def read(path: Path, reading: Reading) -> pa.Table:
    return pa.concat_tables(list(read_batches(path, "data/a", reading=reading)))


def reading_of(form: CsvParams, numeric: str = "") -> Reading:
    return Reading(multiline=True, csv=form, numeric=frozenset({numeric}))


@pytest.mark.parametrize("piece", [3, 1 << 20])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_cell_is_what_the_writer_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, piece: int
) -> None:
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", piece)
    known = {"encoding": encoding} if encoding in ("utf-16-le", "cp1252", "latin-1") else {}
    letters = st.sampled_from([*',;|\t" \\\r\na.0', "é", "ü", "ÿ"])
    cells = st.lists(st.lists(st.text(letters, max_size=4), min_size=3, max_size=3), min_size=1)

    @settings(max_examples=40, deadline=None)
    @given(cells, st.sampled_from(DELIMITERS), st.booleans())
    def law(rows: list[list[str]], delimiter: Delimiter, packed: bool) -> None:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([HEADER, *rows])
        content = out.getvalue().encode(encoding)
        path = tmp_path / ("a.csv.gz" if packed else "a.csv")
        path.write_bytes(gzip.compress(content) if packed else content)

        found = find_format(path, "data/a", HEADER, known)
        assert found.delimiter == delimiter
        table = read(path, reading_of(found))
        assert table.column_names == HEADER
        assert [list(row.values()) for row in table.to_pylist()] == rows

    law()


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(FLOATS, st.none()), min_size=1, max_size=20),
    st.sampled_from([";", "\t", "|", ","]),
    st.sampled_from([".", ","]),
)
def test_numbers_of_pandas_are_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[float | None],
    delimiter: Delimiter,
    decimal: Decimal,
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    frame = pd.DataFrame({"id": range(len(values)), "x": pd.array(values, dtype="Float64")})
    frame.to_csv(path, sep=delimiter, decimal=decimal, index=False)

    form = CsvParams(delimiter=delimiter, decimal=decimal)
    table = read(path, reading_of(form, "x"))
    assert feature_column(table["x"], "x", "numeric", [""], 1).to_pylist() == values


def facts(path: Path, **known: Any) -> SchemaFinder:
    form = find_format(path, path.name, ["id", "y"], {})
    finder = SchemaFinder("id", "y", None, is_csv=True, **known)
    for batch in read_batches(path, path.name, reading=Reading(csv=form)):
        finder.see(batch, path.name)
    return finder


def test_a_decimal_comma_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id;y;x;n;d\n1;a;1,5;1;1,2,3\n2;b;NA;2;b\n3;a;1,234;3;c\n", encoding="utf-8")

    found = facts(path)
    assert found.decimal == ","
    assert found.features == {"x": "numeric", "n": "numeric", "d": "categorical"}
    assert facts(path, known_decimal=".").features["x"] == "categorical"


def test_numbers_that_can_be_two_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,y,x\n1,a,"1,234"\n2,b,"12,000"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"column 'x': a number such as 1,234") as caught:
        _ = facts(path).decimal
    assert "--decimal" in str(caught.value.hints)
    assert facts(path, known_decimal=",").features == {"x": "numeric"}

    path.write_text("id;y;x;z\n1;a;1,5;2.5\n2;b;1,5;2.5\n", encoding="utf-8")
    with pytest.raises(InputError, match="'x' has numbers with a comma, and column 'z'"):
        _ = facts(path).decimal


@pytest.mark.parametrize("value", ["1.5", "1.234", "1.234,5", "1,2,3"])
def test_a_point_is_no_decimal_mark_where_a_comma_is(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"id;x\n1;2,5\n2;{value}\n", encoding="utf-8")

    column = read(path, reading_of(CsvParams(delimiter=";", decimal=","), "x"))["x"]
    with pytest.raises(InputError, match=r"a value is not a number \(data row 2\)"):
        feature_column(column, "x", "numeric", [""], 1)


def test_other_columns_and_missing_words_keep_their_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id;x;c\n1.5;.;1,5\n2,5;n.a.;1.5\n", encoding="utf-8")

    table = read(path, reading_of(CsvParams(delimiter=";", decimal=","), "x"))
    assert table.to_pydict() == {"id": ["1.5", "2,5"], "x": [".", "n.a."], "c": ["1,5", "1.5"]}


@pytest.mark.parametrize("content", ["id;name,x\n1;a,2\n", "id,x\n1,2\n", "id|x;y\n1|2;3\n"])
def test_the_delimiter_is_the_one_that_makes_the_named_columns(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")

    assert find_format(path, "a.csv", ["id"], {}).delimiter == content[2]


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        ("id,x\n1,é\n".encode("latin-1"), "utf-8", "is not UTF-8 text"),
        ("id,x\n1,2\n".encode("utf-16-le"), "utf-8", "is not UTF-8 text"),
        (b"id,x\n1,\x81\n", "cp1252", "is not cp1252 text"),
        ("id,x\n1,2\n".encode("utf-16")[:-1], "utf-16", "is not utf-16 text"),
    ],
)
def test_another_encoding_is_refused(
    tmp_path: Path, content: bytes, encoding: str, said: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read(path, reading_of(CsvParams.model_validate({"encoding": encoding})))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=150), st.sampled_from(ENCODINGS[2:]), st.sampled_from(DELIMITERS))
def test_arbitrary_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, encoding: str, delimiter: Delimiter
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        found = find_format(path, "data/a", ["id"], {"encoding": encoding, "delimiter": delimiter})
        list(read_batches(path, "data/a", reading=reading_of(found)))
    except InputError as error:
        assert error.message.startswith("data/a")
