"""Rows of text in shard files: they come back as they were, and their digests miss no change."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from unlearn.stages.rows.shard_file import (
    digest_rows,
    in_order,
    nonce,
    read_shard,
    record_tokens,
    subject_tokens,
    write_shard,
)

from tests.language_models import LAYOUT, author_rows
from tests.stages.conftest import KEY, OTHER_KEY

ROWS = author_rows(2)
TEXT = ("prompt", "completion", "paraphrase", "perturbed_1", "topic")


def with_text(column: str, row: int, text: str | None) -> pa.Table:
    values = ROWS[column].to_pylist()
    values[row] = text
    at = ROWS.column_names.index(column)
    return ROWS.set_column(at, column, pa.array(values, pa.string()))


def digest(rows: pa.Table) -> str:
    return digest_rows(KEY, rows, "rows")


@pytest.mark.parametrize("text", ["", "Ærø, 東京 ☃\n\ttwo", None, "x" * 10_000])
def test_text_comes_back_from_a_shard_file(tmp_path: Path, text: str | None) -> None:
    rows = with_text("paraphrase", 3, text)
    write_shard(tmp_path / "s000.parquet", KEY, rows, LAYOUT)
    found = read_shard(tmp_path / "s000.parquet", "s000")

    assert found.rows.equals(rows)
    assert found.layout == LAYOUT
    assert found.layout.modality == "text"
    assert found.nonce == nonce(KEY, "s000", rows, LAYOUT)


@pytest.mark.parametrize("column", TEXT)
def test_every_column_counts_in_the_digest(column: str) -> None:
    found = {digest(with_text(column, 5, text)) for text in ("a", "b", "ab", "", None)}

    assert len(found | {digest(ROWS)}) == 6


def test_text_that_moves_to_the_next_row_is_another() -> None:
    def pair(one: str, two: str) -> pa.Table:
        first = with_text("completion", 0, one)
        at = first.column_names.index("completion")
        values = first["completion"].to_pylist()
        values[1] = two
        return first.set_column(at, "completion", pa.array(values, pa.string()))

    assert digest(pair("ab", "c")) != digest(pair("a", "bc"))
    assert digest(pair("é", "")) != digest(pair("", "é"))


def test_digests_and_nonces_are_keyed() -> None:
    assert digest(ROWS) != digest_rows(OTHER_KEY, ROWS, "rows")
    assert nonce(KEY, "s000", ROWS, LAYOUT) != nonce(OTHER_KEY, "s000", ROWS, LAYOUT)


def test_a_role_is_part_of_the_layout() -> None:
    other = replace(LAYOUT, features=LAYOUT.features | {"topic": "paraphrase"})

    assert nonce(KEY, "s000", ROWS, LAYOUT) != nonce(KEY, "s000", ROWS, other)


def test_rows_of_a_person_stand_together() -> None:
    subjects = subject_tokens(ROWS)

    assert subjects == sorted(subjects)
    assert len(set(subjects)) == 2
    assert ROWS.equals(in_order(ROWS.take(pa.array(range(ROWS.num_rows - 1, -1, -1)))))
    assert ROWS.schema == LAYOUT.schema
    assert all(token.startswith("u1_") for token in record_tokens(ROWS))
