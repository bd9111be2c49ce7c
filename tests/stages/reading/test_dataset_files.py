"""Files and folders as people have them: which ones have rows, and what their names say."""

import errno
import gzip
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc
from unlearn.stages.errors import InputError
from unlearn.stages.reading.dataset_files import (
    FORMATS,
    dataset_files,
    find_files,
    partition_columns,
)
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import place_of_row, read_batches

CASES = Path(__file__).parents[2] / "cases"

ROWS: list[dict[str, str | None]] = [
    {"id": "007", "x": "a,b"},
    {"id": "8", "x": 'ü"\t\n'},
    {"id": "9", "x": None},
]
TABLE = pa.Table.from_pylist(ROWS)

SECRET = "jane.roe"


def read(path: Path) -> list[dict[str, Any]]:
    batches = read_batches(path, f"data/{path.name}", reading=Reading(multiline=True))
    return [row for batch in batches for row in batch.to_pylist()]


def csv_text(delimiter: str) -> bytes:
    rows = [[value or "" for value in row.values()] for row in ROWS]
    lines = [["id", "x"], *([f'"{v.replace(chr(34), chr(34) * 2)}"' for v in r] for r in rows)]
    return "\n".join(delimiter.join(line) for line in lines).encode()


def json_lines() -> bytes:
    return "\n".join(json.dumps(row) for row in ROWS).encode()


def write_arrow(path: Path, table: pa.Table) -> None:
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def write_stream(path: Path, table: pa.Table) -> None:
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def column(name: str) -> Any:
    return np.array([row[name] or "" for row in ROWS])


WRITERS: dict[str, Callable[[Path], object]] = {
    ".csv": lambda path: path.write_bytes(csv_text(",")),
    ".tsv": lambda path: path.write_bytes(csv_text("\t")),
    ".csv.gz": lambda path: path.write_bytes(gzip.compress(csv_text(","))),
    ".tsv.gz": lambda path: path.write_bytes(gzip.compress(csv_text("\t"))),
    ".jsonl": lambda path: path.write_bytes(json_lines()),
    ".ndjson": lambda path: path.write_bytes(json_lines()),
    ".jsonl.gz": lambda path: path.write_bytes(gzip.compress(json_lines())),
    ".ndjson.gz": lambda path: path.write_bytes(gzip.compress(json_lines())),
    ".json": lambda path: path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8"),
    ".json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    ".parquet": lambda path: pq.write_table(TABLE, path),
    ".pq": lambda path: pq.write_table(TABLE, path),
    ".arrow": lambda path: write_arrow(path, TABLE),
    ".feather": lambda path: pf.write_feather(TABLE, path),
    ".npz": lambda path: np.savez(path, id=column("id"), x=column("x")),
}


def test_every_format_has_a_writer_here() -> None:
    assert set(WRITERS) == set(FORMATS)


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_returns_what_was_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending.upper() if ending == '.pq' else ending}"
    WRITERS[ending](path)

    found = read(path)
    assert [row["id"] for row in found] == ["007", "8", "9"]
    assert [row["x"] or None for row in found] == ["a,b", 'ü"\t\n', None]
    (batch,) = read_batches(path, "data/a", reading=Reading(multiline=True))
    assert str(place_of_row(batch, 1, "", 1)) == "data/a, data row 2"


def test_json_that_spark_and_pandas_write_line_by_line_is_read_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf\n" + json_lines())

    assert read(tmp_path / "a.json") == ROWS


def test_an_arrow_stream_is_read(tmp_path: Path) -> None:
    write_stream(tmp_path / "a.arrow", TABLE)

    assert read(tmp_path / "a.arrow") == ROWS
    whole = (tmp_path / "a.arrow").read_bytes()
    for length in (len(whole) - 8, len(whole) - 1, len(whole) // 2):
        (tmp_path / "a.arrow").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.arrow is not readable as Arrow"):
            read(tmp_path / "a.arrow")


@pytest.mark.slow
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            min_size=1,
        )
    ),
    st.sampled_from([None, 3]),
    st.booleans(),
)
def test_an_array_of_objects_has_the_rows_of_its_lines(
    tmp_path: Path, rows: list[dict[str, str | None]], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")

    assert read(tmp_path / "a.json") == read(tmp_path / "a.jsonl")
    assert len(read(tmp_path / "a.json")) == len(rows)


def test_an_array_larger_than_what_is_read_at_a_time_loses_no_row(tmp_path: Path) -> None:
    rows = [{"id": number, "x": "ä" * (3_000_000 if number == 5 else 900)} for number in range(999)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")

    assert read(tmp_path / "a.json") == [{**row, "id": str(row["id"])} for row in rows]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'[{{"id":"{SECRET}"}}', "not readable as JSON"),
        (f'[{{"id":"1"}}, {{"id":"{SECRET}]', "item 2: not readable as JSON"),
        (f'[{{"id":"1"}} {{"id":"{SECRET}"}}]', "item 1: not readable as JSON"),
        (f'[{{"id":"1"}},]{SECRET}', "item 2: not a JSON object"),
        (f'[{{"id":"1"}}]{SECRET}', "text after the end of the array"),
        (f'["{SECRET}"]', "item 1: not a JSON object"),
        (f'[{{"id":"1","id":"{SECRET}"}}]', "item 1: a field stands twice"),
        ("[" * 100_000, "item 1: not a JSON object"),
        ('[{"a":' * 100_000, "item 1: not readable as JSON"),
        (f'{{"id":\n"{SECRET}"}}', "line 1: not readable as JSON"),
        (b'[{"id":"\xff"}]', "is not UTF-8 text"),
    ],
)
def test_broken_arrays_say_where_and_never_what(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    with pytest.raises(InputError, match=said) as caught:
        read(path)
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("ending", [".csv.gz", ".jsonl.gz", ".json.gz", ".arrow", ".feather"])
def test_files_that_were_cut_short_are_refused(tmp_path: Path, ending: str) -> None:
    WRITERS[ending](tmp_path / f"whole{ending}")
    whole = (tmp_path / f"whole{ending}").read_bytes()
    path = tmp_path / f"a{ending}"

    for length in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"data/a{ending}"):
            read(path)
    path.write_bytes(b"FEA1" + whole)
    with pytest.raises(InputError, match=rf"data/a{ending}"):
        read(path)


def test_what_spark_writes_is_read_without_its_markers() -> None:
    found = find_files(CASES / "spark-directory/spark", "spark")

    assert found.skipped == [".part-00000-abc-c000.snappy.parquet.crc", "_SUCCESS"]
    assert len(read(CASES / "spark-directory/spark")) == 600


def test_parts_without_a_byte_have_no_rows() -> None:
    rows = read(CASES / "spark-directory/sparkcsv")

    assert [row["rec"] for row in rows] == [f"R{number:05d}" for number in range(600)]


def test_a_dataset_of_empty_parts_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()

    with pytest.raises(InputError, match=r"b\.csv has no columns"):
        read(tmp_path)


def test_files_without_rows_are_skipped_wherever_they_are(tmp_path: Path) -> None:
    skipped = [
        ".ipynb_checkpoints/a-checkpoint.csv",
        ".DS_Store",
        "README",
        "part/README.md",
        "part/_SUCCESS",
        "_metadata",
        "_common_metadata",
        "_committed_12",
        "part_$folder$",
        "__MACOSX/a.csv",
        "Thumbs.db",
        "old.csv.dvc",
        "_temporary/0/a.csv",
    ]
    for name in [*skipped, "part/a.csv", "_a.csv", "readme.csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("id\n1\n", encoding="utf-8")

    found = find_files(tmp_path, "d")
    assert set(found.skipped) == set(skipped)
    assert [path.name for path in found.rows] == ["_a.csv", "a.csv", "readme.csv"]


#: What files of other formats are to be made of.
WAYS_OUT = {
    "a.xlsx": "export the table as CSV in UTF-8",
    "a.XLS": "export the table as CSV in UTF-8",
    "a.csv.zst": "decompress it, or compress it with gzip",
    "a.csv.bz2": "decompress it",
    "a.parquet.xz": "decompress it",
    "a.csv.zip": "unpack it",
    "a.tar.gz": None,
    "a.txt": "if it is a table in text, rename it to .csv",
    "a.sas7bdat": "write it as Parquet with the program that it is from",
    "a.pkl": "write it as Parquet",
    "a.orc": "write it as Parquet",
    "a.sqlite": "export the table as CSV",
    "a": None,
}


@pytest.mark.parametrize("name", WAYS_OUT)
def test_files_of_other_formats_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).touch()
    with pytest.raises(InputError, match=rf"^d/sub/{name} is not one of \.csv, ") as caught:
        dataset_files(tmp_path, "d")
    *hints, last = caught.value.hints
    assert last == "if it has no rows of the dataset, move it to another folder"
    expected = WAYS_OUT[name]
    assert len(hints) == (expected is not None)
    assert expected is None or hints[0].startswith(expected)

    with pytest.raises(InputError, match=rf"^{name} is not one of ") as alone:
        dataset_files(tmp_path / "sub" / name, name)
    assert list(alone.value.hints) == hints


#: What tables have beside files with rows that can be deleted ones.
TABLES = {
    "_delta_log/00000000000000000000.json": "a Delta table",
    ".hoodie/hoodie.properties": "a Hudi table",
    "_spark_metadata/0": "the output of a Spark stream",
    "metadata/v1.metadata.json": "an Iceberg table",
}


@pytest.mark.parametrize("marker", TABLES)
def test_tables_whose_folders_have_deleted_rows_are_refused(tmp_path: Path, marker: str) -> None:
    table = tmp_path / "lake/table"
    for name in (marker, "data/part-0.parquet", "day=2024-01-31/part-1.parquet"):
        (table / name).parent.mkdir(parents=True, exist_ok=True)
        (table / name).touch()

    parts = {"": "table", "data": "data", "day=2024-01-31": "day=2024-01-31"}
    for part, name in parts.items():
        with pytest.raises(InputError, match=f"^{name} is of {TABLES[marker]}") as caught:
            dataset_files(table / part, name)
        assert caught.value.hints == (
            "write the rows of its present version to Parquet files in another folder",
        )
    with pytest.raises(InputError, match=f"^lake/table is of {TABLES[marker]}"):
        dataset_files(tmp_path / "lake", "lake")


def test_what_the_library_datasets_saves_is_read(tmp_path: Path) -> None:
    write_stream(tmp_path / "data-00000-of-00001.arrow", TABLE)
    for name in ("dataset_info.json", "state.json"):
        (tmp_path / name).write_text('{"_fingerprint": "0"}', encoding="utf-8")

    assert find_files(tmp_path, "d").skipped == ["dataset_info.json", "state.json"]
    assert read(tmp_path) == ROWS
    (tmp_path / "dataset_info.json").unlink()
    assert find_files(tmp_path, "d").skipped == []


def test_links_to_files_are_read_and_others_refused(tmp_path: Path) -> None:
    WRITERS[".parquet"](tmp_path / "a.parquet")
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.parquet").symlink_to(tmp_path / "a.parquet")
    assert read(folder) == ROWS

    (folder / "gone.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"d/gone\.csv is a link to a file that is not there"):
        dataset_files(folder, "d")
    (folder / "gone.csv").unlink()
    (tmp_path / "more").mkdir()
    (folder / "more").symlink_to(tmp_path / "more")
    with pytest.raises(InputError, match="d/more is a link to a folder, which is not followed"):
        dataset_files(folder, "d")
    (folder / "more").unlink()
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(InputError, match=r"d/pipe\.csv is no regular file"):
        dataset_files(folder, "d")


def test_names_that_are_not_utf_8_are_refused_and_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    name = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / "d" / name).write_text("id\n1\n", encoding="utf-8")

    for path, label in ((tmp_path / "d", "d"), (tmp_path / "d" / name, name)):
        with pytest.raises(InputError, match=r"caf\\udce9\.csv is not UTF-8") as caught:
            dataset_files(path, label)
        caught.value.message.encode()


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("id\n2\n", encoding="utf-8")
    whole = Path.open

    def refusing(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "b.csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return whole(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refusing)

    with pytest.raises(InputError, match=r"/b\.csv cannot be read: Permission denied$"):
        read(tmp_path)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, ending: str) -> None:
    for name in "ab":
        WRITERS[ending](tmp_path / f"{name}{ending}")
    batches = read_batches(tmp_path, "d", reading=Reading(multiline=True))
    next(batches)
    with (tmp_path / f"a{ending}").open("ab") as handle:
        handle.write(b"9,9\n")

    with pytest.raises(InputError, match=rf"d/a\{ending} changed while it was read"):
        list(batches)


def as_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(csv_text(",")))


#: Contents under the name of a text file, and what they are called.
DISGUISED: dict[str, tuple[Callable[[Path], object], str]] = {
    "gzip": (as_gzip, "compressed with gzip"),
    "parquet": (WRITERS[".parquet"], "a Parquet file"),
    "arrow": (WRITERS[".arrow"], "an Arrow file"),
    "excel": (lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"), "an Excel workbook"),
    "web page": (lambda path: path.write_text(" <!DOCTYPE html>\n<html>"), "a web page"),
    "pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid 1\n"),
        "a pointer of Git LFS",
    ),
}


@pytest.mark.parametrize("content", DISGUISED)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "tsv"])
def test_text_files_that_are_something_else_are_refused_with_what_they_are(
    tmp_path: Path, content: str, ending: str
) -> None:
    write, what = DISGUISED[content]
    write(tmp_path / f"a.{ending}")

    with pytest.raises(InputError, match=rf"^data/a\.{ending} is {what}") as caught:
        read(tmp_path / f"a.{ending}")
    assert len(caught.value.hints) == 1


def test_json_of_one_object_of_columns_is_refused_with_what_to_write(tmp_path: Path) -> None:
    """Pandas writes this by default, and so do many services."""
    for text in ('{"id":{"0":"7"},"x":{"0":"a"}}', '{"data": [{"id": 7}]}'):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="one object, whose fields are lists") as caught:
            read(tmp_path / "a.json")
        assert "to_json(orient='records')" in caught.value.hints[0]
    (tmp_path / "a.json").write_text('{\n "data": [{"id": 7}]\n}', encoding="utf-8")
    with pytest.raises(InputError, match="line 1: not readable as JSON") as caught:
        read(tmp_path / "a.json")
    assert "an array of objects" in caught.value.hints[0]


def test_hive_folders_are_a_column() -> None:
    folder = CASES / "hive-partition/hive"
    table = pa.concat_tables(read_batches(folder, "hive"))

    assert partition_columns(folder, "hive") == ["site"]
    counts = {row["values"]: row["counts"] for row in table["site"].value_counts().to_pylist()}
    assert counts == {"east": 197, "north": 213, "south": 190}
    assert len(set(table["rec"].to_pylist())) == 600
    only = pa.concat_tables(read_batches(folder, "hive", ["rec"]))
    assert only.column_names == ["rec"]


def test_names_of_hive_folders_are_decoded(tmp_path: Path) -> None:
    for number, name in enumerate(["a%20b=x%2Fy", "a%20b=__HIVE_DEFAULT_PARTITION__", "a b=p=q"]):
        folder = tmp_path / "d" / name / "day=2024-01-31"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text(f"id\n{number}\n", encoding="utf-8")

    found = {row["id"]: (row["a b"], row["day"]) for row in read(tmp_path / "d")}
    assert found == {
        "0": ("x/y", "2024-01-31"),
        "1": (None, "2024-01-31"),
        "2": ("p=q", "2024-01-31"),
    }


def test_a_column_in_file_and_folder_has_to_agree(tmp_path: Path) -> None:
    folder = tmp_path / "year=2024"
    folder.mkdir()
    pq.write_table(pa.table({"id": [1, 2], "year": [2024, 2024]}), folder / "a.parquet")
    assert read(tmp_path) == [{"id": 1, "year": 2024}, {"id": 2, "year": 2024}]

    pq.write_table(pa.table({"id": [1, 2], "year": [2024, 2023]}), folder / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: column 'year' has other values"):
        read(tmp_path)


def test_folders_and_files_of_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("site=a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("id\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"site=a/a\.csv has a column 'site', which .*b/a\.csv"):
        read(tmp_path)
