"""Chats in files: rows of them are dropped whole, and what they say is found in lists too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.erasure.dataset.json_rewriting import write_json_without
from unlearn.stages.erasure.dataset.parquet_rewriting import write_parquet_without
from unlearn.stages.scan.files import FileSearch
from unlearn.stages.scan.patterns import Patterns, Wanted

from tests.chat_templates import chat

ROWS: list[dict[str, Any]] = [
    {"id": f"r{number}", "messages": chat("hello", f"a secret about {number:05d}")}
    for number in range(5)
]


def written(path: Path) -> Path:
    if path.suffix == ".parquet":
        # As many writers do: compressed, so that the bytes of the file do not show the text.
        pq.write_table(pa.Table.from_pylist(ROWS), path, compression="zstd")
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_rows_go_with_all_that_their_chats_say(tmp_path: Path, suffix: str) -> None:
    source, target = written(tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}"
    write = write_parquet_without if suffix == ".parquet" else write_json_without
    write(source, "a", np.array([1, 3]), target)

    assert read(target) == [ROWS[number] for number in (0, 2, 4)]
    search = FileSearch(Patterns((Wanted("it", b"a secret about 00003"),)), tmp_path)
    for path, count in ((source, 1), (target, 0)):
        with path.open("rb") as file:
            found = search.search(file, path.name, path).found
        assert sum(each["it", "as it is"] for each in found.values()) == count
