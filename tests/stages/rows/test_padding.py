"""Sizes are multiples of 4 kB, readers see no difference, and a hash confirms no guess."""

import csv
import io
import json
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.rows.padding import BLOCK, pad_parquet, padded_text

from tests.properties import tried_on
from tests.stages.conftest import KEY, OTHER_KEY

TABLE = [["name", "share"], ["a, b", "0.5"], ['"', "0.25"]]


def padded_parquet(content: bytes) -> bytes:
    file = io.BytesIO(content)
    pad_parquet(file)
    return file.getvalue()


def as_csv(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


@tried_on(few=15, many=60)
@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=300))
def test_json_is_the_same_to_readers(value: object) -> None:
    content = json.dumps(value).encode() + b"\n"
    padded = padded_text(content, KEY, "json")

    assert json.loads(padded) == value
    assert len(padded) % BLOCK == 0
    assert padded.startswith(content)
    assert padded == padded_text(content, KEY, "json")


@pytest.mark.parametrize("size", range(BLOCK - 600, BLOCK + 10, 13))
def test_there_is_room_for_the_keyed_part_at_any_size(size: int) -> None:
    content = b'"' + b"x" * (size - 3) + b'"\n'
    kinds: tuple[Literal["json", "csv"], ...] = ("json", "csv")
    for kind in kinds:
        padded = padded_text(content, KEY, kind)
        assert len(padded) in (BLOCK, 2 * BLOCK)
        assert padded != padded_text(content, OTHER_KEY, kind)


def test_csv_is_the_same_to_readers() -> None:
    padded = padded_text(as_csv(TABLE), KEY, "csv")

    assert len(padded) == BLOCK
    assert [row for row in csv.reader(io.StringIO(padded.decode(), newline="")) if row] == TABLE
    rows = list(csv.DictReader(io.StringIO(padded.decode())))
    assert [list(row.values()) for row in rows] == TABLE[1:]
    assert pd.read_csv(io.BytesIO(padded)).equals(pd.read_csv(io.BytesIO(as_csv(TABLE))))


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_hash_confirms_no_guess_without_the_key(kind: Literal["json", "csv"]) -> None:
    guess = as_csv(TABLE)

    assert padded_text(guess, KEY, kind) != padded_text(guess, OTHER_KEY, kind)


@pytest.mark.parametrize("rows", [0, 1, 7, 5_000])
@pytest.mark.parametrize("options", [{}, {"write_page_index": True}, {"compression": "none"}])
def test_parquet_is_the_same_to_readers(rows: int, options: dict[str, object]) -> None:
    table = pa.table(
        {"x": pa.array(range(rows), pa.int64()), "text": [f"text {n % 7}" for n in range(rows)]}
    ).replace_schema_metadata({b"unlearn": b"facts"})
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    padded = padded_parquet(out.getvalue())

    assert len(padded) % BLOCK == 0
    assert pq.read_table(io.BytesIO(padded)).equals(table, check_metadata=True)
    assert pq.ParquetFile(io.BytesIO(padded)).metadata == pq.ParquetFile(out).metadata
    assert pd.read_parquet(io.BytesIO(padded)).equals(pd.read_parquet(io.BytesIO(out.getvalue())))
    few = pq.read_table(io.BytesIO(padded), columns=["x"], filters=[("x", ">", 3)])
    assert few.num_rows == max(0, rows - 4)


def test_a_file_that_has_the_size_already_stays() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [1, 2, 3]}), out)
    padded = padded_parquet(out.getvalue())

    assert padded_parquet(padded) == padded
