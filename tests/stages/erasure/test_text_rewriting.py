"""CSV and JSON without listed rows: every byte of the others stays."""

import gzip
import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.dataset import CsvParams, DatasetParams
from unlearn.stages.context import Context
from unlearn.stages.erasure.dataset.csv_rewriting import write_csv_without
from unlearn.stages.erasure.dataset.json_rewriting import write_json_without
from unlearn.stages.erasure.dataset.rewrite import rewrite_dataset
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches

from tests.stages.conftest import KEY, make_params, put_on_list, token_of

MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@dataclass(frozen=True)
class Dialect:
    """How a file is written."""

    delimiter: str
    quote: str
    encoding: str
    line_end: str
    has_header: bool
    has_mark: bool
    has_last_line_end: bool
    suffix: str

    @property
    def name(self) -> str:
        return f"data/dataset{self.suffix}"

    def csv(self) -> CsvParams:
        return CsvParams.model_validate(
            {
                "delimiter": self.delimiter,
                "quote": self.quote,
                "encoding": self.encoding,
                "columns": None if self.has_header else ["id", "text"],
            }
        )

    def field(self, text: str, *, always: bool) -> str:
        if self.quote == "none":
            return text.translate(dict.fromkeys(map(ord, "\r\n" + self.delimiter), "_")).strip()
        special = {self.delimiter, self.quote, "\n", "\r"}
        if always or special.intersection(text):
            return self.quote + text.replace(self.quote, self.quote * 2) + self.quote
        return text

    def bytes(self, lines: list[str]) -> bytes:
        text = "".join(line + self.line_end for line in lines)
        if lines and not self.has_last_line_end:
            text = text.removesuffix(self.line_end)
        encoding = "utf-16-le" if self.encoding == "utf-16" else self.encoding
        mark = MARKS.get(encoding, b"") if self.has_mark or self.encoding == "utf-16" else b""
        return mark + text.encode(encoding)


DIALECTS = st.builds(
    Dialect,
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(['"', "'", "none"]),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([".csv", ".csv.gz"]),
)
#: In all encodings of `DIALECTS`.
LETTERS = st.sampled_from(list("ab,;|\t\"'\n\r é"))
#: A value, whether it is in quotes in any case, whether its row goes, and blank lines before it.
ROWS = st.lists(
    st.tuples(st.text(LETTERS, max_size=6), st.booleans(), st.booleans(), st.integers(0, 2)),
    max_size=9,
)


def project(root: Path, **dataset: Any) -> Context:
    """Return a project with a dataset of text, and an empty forget list."""
    params = make_params()
    section = DatasetParams.model_validate(
        {"id": "id", "features": {"text": "body"}, "identity": "exact", "id_type": "text"} | dataset
    )
    (root / "data").mkdir(exist_ok=True)
    (root / "data/forget_list.txt").write_bytes(b"")
    return Context(Project(root), params.model_copy(update={"dataset": section}), KEY)


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rows_of(context: Context, name: str) -> list[dict[str, Any]]:
    """Return the rows that the stages read."""
    reading = Reading.of(context.params.dataset)
    batches = read_batches(context.project.root / name, name, reading=reading)
    return list(itertools.chain.from_iterable(batch.to_pylist() for batch in batches))


@pytest.mark.slow
@given(DIALECTS, ROWS)
def test_csv_without_rows_is_the_text_without_their_records(
    dialect: Dialect, rows: list[tuple[str, bool, bool, int]]
) -> None:
    lines, left = [], []
    if dialect.has_header:
        lines = left = [dialect.delimiter.join(["id", "text"])]
    for number, (text, always, goes, blank) in enumerate(rows):
        fields = [
            dialect.field(f"r{number}", always=always),
            dialect.field(text, always=always or not text.strip()),
        ]
        record = dialect.delimiter.join(fields)
        lines = [*lines, *[""] * blank, record]
        left = [*left, *[""] * blank, *([] if goes else [record])]
    with tempfile.TemporaryDirectory() as folder:
        context = project(Path(folder), path=dialect.name, csv=dialect.csv(), multiline=True)
        path = context.project.root / dialect.name
        whole = dialect.bytes(lines)
        path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
        before = rows_of(context, dialect.name)
        assert [row["id"] for row in before] == [f"r{number}" for number in range(len(rows))]
        gone = np.array([number for number, row in enumerate(rows) if row[2]], np.int64)
        new = path.with_name(f"new{dialect.suffix}")

        write_csv_without(path, dialect.name, Reading.of(context.params.dataset), gone, new)

        after = rows_of(context, f"data/new{dialect.suffix}")
        assert after == [row for row in before if not rows[int(row["id"][1:])][2]]
        # A last row without a line end takes none with it: that of the row before stays.
        expected = dialect.bytes(left)
        if rows and rows[-1][2] and not dialect.has_last_line_end:
            expected = Dialect(**{**vars(dialect), "has_last_line_end": True}).bytes(left)
        assert content(new) == expected


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["", " ", "\t"])), max_size=8),
    st.sampled_from([".jsonl", ".json", ".ndjson.gz", "array.json", "array.json.gz"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_json_without_rows_is_the_text_without_their_objects(
    rows: list[tuple[bool, str]], suffix: str, has_mark: bool, ends: bool, carriage: bool
) -> None:
    line_end = "\r\n" if carriage else "\n"
    objects = [
        json.dumps({"id": f"r{number}", "text": 'é, "\\n" ]}'}, ensure_ascii=number % 2 == 0)
        for number in range(len(rows))
    ]
    if suffix.startswith("array"):
        texts = [
            "" if number == 0 else f"{space},{line_end}" for number, (_, space) in enumerate(rows)
        ]
        start, end = f"[{line_end}", f"{line_end}] "
    else:
        texts = [(space + line_end) * (len(space) > 0) for _, space in rows]
        start, end = "", ""
        objects = [text + line_end for text in objects]
    whole = start + "".join(a + b for a, b in zip(texts, objects, strict=True)) + end
    if not ends and not suffix.startswith("array"):
        whole = whole.removesuffix(line_end)
    with tempfile.TemporaryDirectory() as folder:
        context = project(Path(folder), path=f"data/dataset{suffix}")
        path = context.project.root / context.params.dataset.path
        encoded = MARKS["utf-8"] * has_mark + whole.encode()
        path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)
        before = rows_of(context, context.params.dataset.path)
        assert len(before) == len(rows)
        gone = np.array([number for number, row in enumerate(rows) if row[0]], np.int64)
        new = path.with_name(f"new{suffix}")

        write_json_without(path, "dataset", gone, new)

        after = rows_of(context, f"data/new{suffix}")
        assert after == [row for row, (goes, _) in zip(before, rows, strict=True) if not goes]
        text = content(new).decode()
        if suffix.startswith("array"):
            assert len(json.loads(text.removeprefix("\ufeff"))) == len(after)
            kept = [object_ for object_, row in zip(objects, rows, strict=True) if not row[0]]
            at = 0
            for object_ in kept:
                at = text.index(object_, at) + len(object_)
        else:
            expected = "".join(
                space + ("" if goes else object_)
                for space, object_, (goes, _) in zip(texts, objects, rows, strict=True)
            )
            if not ends and rows and not rows[-1][0]:
                expected = expected.removesuffix(line_end)
            assert text == "\ufeff" * has_mark + expected


def test_pieces_of_files_are_cut_where_they_are_read(tmp_path: Path) -> None:
    # Larger than what the readers take at a time.
    context = project(tmp_path, path="data/dataset.csv", multiline=True)
    lines = [f'r{number},"{"x" * 300}\n{number}"\n' for number in range(20_000)]
    path = tmp_path / "data/dataset.csv"
    path.write_text("id,text\n" + "".join(lines))
    gone = [0, 1, 6_990, 6_991, 13_000, 19_999]
    put_on_list(context, *(token_of(f"r{number}") for number in gone))

    rewritten = rewrite_dataset(context)

    assert [(file.name, file.dropped, file.left) for file in rewritten.files] == [
        ("data/dataset.csv", 6, 19_994)
    ]
    left = [line for number, line in enumerate(lines) if number not in gone]
    assert path.read_text() == "id,text\n" + "".join(left)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data/dataset.jsonl", "data/dataset.json"])
def test_long_json_is_cut_where_it_is_read(tmp_path: Path, name: str) -> None:
    context = project(tmp_path, path=name)
    objects = [json.dumps({"id": f"r{n}", "text": "é" * 300}) for n in range(9_000)]
    ends = ("[", ",\n", "]\n") if name.endswith(".json") else ("", "\n", "\n")
    (tmp_path / name).write_text(ends[0] + ends[1].join(objects) + ends[2])
    gone = [0, 1, 580, 581, 4_000, 8_999]
    put_on_list(context, *(token_of(f"r{number}") for number in gone))

    assert rewrite_dataset(context).dropped == len(gone)

    left = [text for number, text in enumerate(objects) if number not in gone]
    assert (tmp_path / name).read_text() == ends[0] + ends[1].join(left) + ends[2]


def test_gzip_has_no_time_and_no_name(tmp_path: Path) -> None:
    context = project(tmp_path, path="data/dataset.csv.gz")
    path = tmp_path / "data/dataset.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"id,text\nr0,a\nr1,b\n")
    put_on_list(context, token_of("r0"))

    rewrite_dataset(context)

    assert path.read_bytes()[:10] == b"\x1f\x8b\x08\x00\0\0\0\0\x00\xff"
    assert content(path) == b"id,text\nr1,b\n"
