"""Rows of forgotten records in caches and remotes, and how much reading takes."""

import gzip
import hashlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import ipc
from unlearn.stages.audit.copies import Search, store_megabytes
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.context import Context
from unlearn.stages.rows.forget_list import parse_forget_list

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params, put_on_list, run_stages, token_of


@pytest.fixture(scope="module")
def _context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    params = make_params(shards=1)
    context = make_context(tmp_path_factory.mktemp("copies") / "project", make_frame(60), params)
    put_on_list(context, token_of("r0003"))
    run_stages(context)
    return context


@pytest.fixture
def search(_context: Context) -> Search:
    """Return the search for one record of a project that ran."""
    return Search(_context, _context.read_list())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return an empty cache."""
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def put(cache: Path, content: bytes) -> str:
    """Put an object in place as DVC does; return its md5."""
    md5 = hashlib.md5(content).hexdigest()  # noqa: S324 - as DVC does
    path = cache / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def said(search: Search, cache: Path) -> list[str]:
    told: list[int] = []
    place = search.store_place("the remote x", cache, told.append)
    assert place.looked
    assert sum(told) == store_megabytes([cache]) * bool(search.forget_list.lines)
    return [finding.partition(" in the ")[0] for finding in place.findings]


def as_parquet(frame: pd.DataFrame, folder: Path) -> bytes:
    frame.to_parquet(folder / "x.parquet")
    return (folder / "x.parquet").read_bytes()


def test_rows_are_found_in_every_format(search: Search, cache: Path, tmp_path: Path) -> None:
    frame = make_frame(60)
    lines = frame.fillna("").to_json(orient="records", lines=True)
    shard = search.context.project.shards / "s000.parquet"
    for content in (
        frame.to_csv(index=False).encode(),
        as_parquet(frame, tmp_path),
        str(lines).encode(),
        shard.read_bytes(),
    ):
        put(cache, content)

    assert said(search, cache) == ["4 objects"]


def as_arrow(frame: pd.DataFrame, folder: Path, *, stream: bool) -> bytes:
    table = pa.Table.from_pandas(frame)
    with (ipc.new_stream if stream else ipc.new_file)(folder / "x", table.schema) as writer:
        writer.write_table(table)
    return (folder / "x").read_bytes()


def test_rows_are_found_in_every_other_format(search: Search, cache: Path, tmp_path: Path) -> None:
    frame = make_frame(60)
    others = frame[frame["id"] != "r0003"]
    for rows in (frame, others):
        lines = str(rows.fillna("").to_json(orient="records", lines=True)).encode()
        tabs = rows.to_csv(index=False, sep="\t").encode()
        for content in (
            tabs,
            str(rows.to_json(orient="records", indent=2)).encode(),
            as_arrow(rows, tmp_path, stream=False),
            as_arrow(rows, tmp_path, stream=True),
            gzip.compress(lines),
            gzip.compress(tabs),
            gzip.compress(rows.to_csv(index=False).encode()),
            rows.to_csv(index=False, sep=";", decimal=",").encode(),
            rows.to_csv(index=False, sep="|").encode("utf-16"),
        ):
            put(cache, content)

    assert said(search, cache) == ["9 objects"]


def test_rows_are_found_in_archives_of_numpy(search: Search, cache: Path, tmp_path: Path) -> None:
    ids = np.array([f"r{number:04d}" for number in range(9)])
    for name, columns in (
        ("with", {"id": ids, "photo": np.zeros((9, 3, 4, 4), np.uint8)}),
        ("without", {"id": np.delete(ids, 3), "photo": np.zeros((8, 3, 4, 4), np.uint8)}),
        ("other", {"name": ids}),
    ):
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **columns)
        put(cache, (tmp_path / f"{name}.npz").read_bytes())
    put(cache, b"PK\x03\x04 damaged")

    assert said(search, cache) == ["1 object"]


def test_rows_are_found_in_the_encoding_that_is_pinned_and_in_others(
    search: Search, cache: Path
) -> None:
    params = search.context.params
    csv = CsvParams(delimiter=";", encoding="cp1252")
    dataset = params.dataset.model_copy(update={"csv": csv})
    params = params.model_copy(update={"dataset": dataset})
    pinned = Search(replace(search.context, params=params), search.forget_list)
    frame = make_frame(60).assign(city="Zürich")
    for rows in (frame, frame[frame["id"] != "r0003"]):
        put(cache, rows.to_csv(index=False, sep=";").encode("cp1252"))
        put(cache, rows.to_csv(index=False, sep=";").encode())
        put(cache, rows.to_csv(index=False).encode())

    assert said(pinned, cache) == ["3 objects"]


def test_rows_are_found_in_files_without_a_header_or_with_other_quotes(
    search: Search, cache: Path
) -> None:
    params = search.context.params
    frame = make_frame(60)
    csv = CsvParams(delimiter=";", columns=list(frame.columns))
    dataset = params.dataset.model_copy(update={"csv": csv})
    params = params.model_copy(update={"dataset": dataset})
    pinned = Search(replace(search.context, params=params), search.forget_list)
    for rows in (frame, frame[frame["id"] != "r0003"]):
        put(cache, rows.to_csv(index=False, header=False, sep=";").encode())
        put(cache, rows.to_csv(index=False, quotechar="'", quoting=1).encode())
        put(cache, rows.to_csv(index=False).encode())

    assert said(pinned, cache) == ["3 objects"]


def test_other_rows_and_other_objects_are_no_finding(
    search: Search, cache: Path, tmp_path: Path
) -> None:
    frame = make_frame(60)
    others = frame[frame["id"] != "r0003"]
    for content in (
        others.to_csv(index=False).encode(),
        as_parquet(others, tmp_path),
        (search.context.project.retain_set / "s000.parquet").read_bytes(),
        b"",
        b"{",
        b"\xff\xfe" * 100,
        b"PAR1",
        json.dumps([{"md5": "x", "relpath": "y"}]).encode(),
    ):
        put(cache, content)

    assert said(search, cache) == []


def test_models_that_are_no_longer_there_hold_texts_in_clear(search: Search, cache: Path) -> None:
    path = search.context.project.shard_models / "s000/model.json"
    put(cache, path.read_bytes())
    assert said(search, cache) == []

    model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model["rows"] += 1
    put(cache, json.dumps(model).encode())
    model["preprocessing"] = [column for column in model["preprocessing"] if column[0] == "age"]
    put(cache, json.dumps(model).encode())

    assert said(search, cache) == ["1 object"]
    (finding,) = search.store_place("the remote x", cache, lambda _: None).findings
    assert finding == (
        "1 object in the remote x is an older model, which holds texts of categories in clear"
    )


def test_a_recorded_run_is_found_by_what_it_can_bring_back(search: Search, cache: Path) -> None:
    md5 = put(cache, make_frame(60).to_csv(index=False).encode())
    run = cache / "runs/ab/abc/def"
    run.parent.mkdir(parents=True)
    run.write_text("outs:\n- md5: 00000000000000000000000000000000\n", encoding="utf-8")
    assert said(search, cache) == ["1 object"]
    run.write_text(f"outs:\n- md5: {md5}\n", encoding="utf-8")

    assert said(search, cache) == [
        "1 object",
        "the run cache of the remote x names such rows, and can bring them back",
    ]


def test_where_nobody_is_forgotten_nothing_is_searched(search: Search, cache: Path) -> None:
    put(cache, make_frame(60).to_csv(index=False).encode())
    nothing = parse_forget_list(b"", search.context.tokenizer, subjects=False)
    nobody = replace(search, forget_list=nothing)

    assert said(nobody, cache) == []


@pytest.mark.slow
def test_large_objects_are_read_in_pieces(search: Search, cache: Path, tmp_path: Path) -> None:
    """40 MB of shards, of which never more than some batches are in memory."""
    rows = 600_000
    table = pa.table(
        {
            "unlearn.record": [f"u1_{number:064x}" for number in range(rows)],
            "x": np.random.default_rng(0).normal(size=rows),
        }
    )
    pa.parquet.write_table(table, tmp_path / "x.parquet", row_group_size=50_000, compression="none")
    del table
    content = (tmp_path / "x.parquet").read_bytes()
    put(cache, content)
    size = len(content)
    del content
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    tracemalloc.start()
    assert said(search, cache) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 40_000_000
    assert peak < 60_000_000
    assert pool.max_memory() is None or pa.total_allocated_bytes() - before < 20_000_000
