"""Parquet and Arrow without listed rows: values, schema, metadata and layout of the others stay."""

import datetime as dt
import decimal
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, ipc
from unlearn.stages.erasure.dataset.arrow_rewriting import check_arrow, write_arrow_without
from unlearn.stages.erasure.dataset.kept_values import rows_taken
from unlearn.stages.erasure.dataset.parquet_rewriting import check_parquet, write_parquet_without
from unlearn.stages.errors import InputError

RARE = "a text that one row alone has: planted"
START = dt.datetime(2024, 1, 1, 12, 30)  # noqa: DTZ001 - most columns of times have no zone
COUNT = 60
GONE = np.array([0, 7, 8, 9, 10, 11, 12, 13, 14, 33, 59], np.int64)
LEFT = np.delete(np.arange(COUNT), GONE)


def some_rows(count: int = COUNT) -> pa.Table:
    """Return columns of many types, with missing values; rows 7 and 33 have a text of their own."""
    numbers = list(range(count))
    texts = [RARE if number in (7, 33) else f"text {number % 5}" for number in numbers]
    with_gaps: list[Any] = [None if number % 7 == 3 else number for number in numbers]
    times = [None if n is None else START + dt.timedelta(n) for n in with_gaps]
    lists = [None if n is None else [n, n + 1, RARE[: n % 4]] for n in with_gaps]
    columns = {
        "id": pa.array([f"r{number}" for number in numbers]),
        "text": pa.array(texts),
        "category": pa.array(texts).dictionary_encode(),
        "large": pa.array(texts, pa.large_string()),
        "whole": pa.array(with_gaps, pa.int32()),
        "unsigned": pa.array(numbers, pa.uint16()),
        "float": pa.array([math.nan if n == 5 else n / 7 for n in numbers]),
        "half": pa.array(np.arange(count, dtype=np.float16)),
        "flag": pa.array([n % 2 == 0 for n in numbers]),
        "time": pa.array(times, pa.timestamp("us")),
        "zoned": pa.array(times, pa.timestamp("ms", tz="Europe/Rome")),
        "day": pa.array([None if t is None else t.date() for t in times]),
        "price": pa.array([decimal.Decimal(n) / 4 for n in numbers], pa.decimal128(9, 2)),
        "list": pa.array([None if x is None else list(map(str, x)) for x in lists]),
        "pair": pa.array([{"a": n, "b": str(n)} for n in with_gaps]),
        "map": pa.array([[(str(n), n)] for n in numbers], pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([bytes([n % 256]) * 3 for n in numbers], pa.binary(3)),
        "nothing": pa.nulls(count),
    }
    fields = [
        pa.field(name, column.type, metadata={"of": name}) for name, column in columns.items()
    ]
    schema = pa.schema(fields, metadata={"project": "of mine", b"\xff": b"\x00"})
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def values(rows: pa.Table) -> list[str]:
    """Return the values of every row; NaN is written as itself."""
    return [repr(row) for row in rows.to_pylist()]


def left(rows: pa.Table) -> list[str]:
    """Return the values of the rows that are to stay."""
    return [row for number, row in enumerate(values(rows)) if number not in GONE]


def layout(path: Path) -> list[Any]:
    """Return what the metadata of a Parquet file says about its column chunks, but for sizes."""
    metadata = pq.ParquetFile(path).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [
        (
            column.path_in_schema,
            column.physical_type,
            column.compression,
            column.encodings,
            column.is_stats_set,
            column.has_offset_index,
            group.sorting_columns,
        )
        for group in groups
        for column in (group.column(number) for number in range(group.num_columns))
    ]


VERSIONS = [
    {},
    {"version": "1.0"},
    {"version": "2.4", "compression": "zstd"},
    {"use_deprecated_int96_timestamps": True},
    {"store_schema": False, "compression": "none"},
    {"use_compliant_nested_type": False, "write_page_index": True},
    {"use_dictionary": ["text"], "column_encoding": {"whole": "DELTA_BINARY_PACKED"}},
    {"store_decimal_as_integer": True, "write_statistics": ["id", "whole"]},
    {"compression": {"id": "gzip", "text": "brotli"}, "use_dictionary": False},
    {"coerce_timestamps": "ms"},
    {"data_page_version": "2.0", "sorting_columns": [pq.SortingColumn(4)]},
]


@pytest.mark.parametrize("options", VERSIONS, ids=lambda found: ",".join(found) or "default")
def test_parquet_keeps_its_schema_and_layout(tmp_path: Path, options: dict[str, Any]) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    rows = some_rows()
    pq.write_table(rows, old, row_group_size=10, **options)
    check_parquet(old, "old")

    write_parquet_without(old, "old", GONE, new)

    before, after = pq.ParquetFile(old), pq.ParquetFile(new)
    assert str(before.schema).splitlines()[1:] == str(after.schema).splitlines()[1:]
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    keys = set(before.metadata.metadata or {}) - {b"ARROW:schema"}
    assert {key: after.metadata.metadata[key] for key in keys} == {
        key: before.metadata.metadata[key] for key in keys
    }
    assert (before.metadata.metadata or {}).keys() == (after.metadata.metadata or {}).keys()
    sizes = [after.metadata.row_group(n).num_rows for n in range(after.metadata.num_row_groups)]
    assert sizes == [sum(10 * n <= row < 10 * n + 10 for row in LEFT) for n in range(6)]
    assert values(after.read()) == left(before.read())
    assert layout(new) == layout(old)
    for group in range(after.metadata.num_row_groups):
        categories = after.read_row_group(group, columns=["category"])["category"]
        if pa.types.is_dictionary(categories.type):
            assert RARE not in categories.chunk(0).dictionary.to_pylist()


def test_a_row_group_without_rows_left_goes(tmp_path: Path) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    pq.write_table(some_rows(), old, row_group_size=10)

    write_parquet_without(old, "old", np.arange(10, 20), new)
    assert pq.ParquetFile(new).metadata.num_row_groups == 5
    write_parquet_without(old, "old", np.arange(COUNT), new)
    assert pq.read_table(new).num_rows == 0
    assert pq.ParquetFile(new).schema_arrow.equals(pq.ParquetFile(old).schema_arrow)


def test_metadata_of_pandas_and_its_categories_stay(tmp_path: Path) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    level = pd.Categorical(["low", "high", "mid", "low"], ["low", "mid", "high"], ordered=True)
    frame = pd.DataFrame({"level": level, "x": [1.0, 2.0, 3.0, 4.0]}, index=[5, 6, 7, 8])
    frame.attrs["made by"] = "tests"
    frame.to_parquet(old, row_group_size=2)

    write_parquet_without(old, "old", np.array([1]), new)

    left = pd.read_parquet(new)
    expected = frame.drop(index=6)
    expected["level"] = expected["level"].cat.remove_unused_categories()
    pd.testing.assert_frame_equal(left, expected)
    assert left.attrs == frame.attrs
    assert pq.read_schema(new).pandas_metadata == pq.read_schema(old).pandas_metadata


@pytest.mark.parametrize("year", [1700, 9999])
def test_times_of_96_bits_keep_their_values(tmp_path: Path, year: int) -> None:
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    times = pa.array([START.replace(year=year, microsecond=7), None, START] * 3)
    rows = pa.table({"t": times if year == 9999 else times.cast(pa.timestamp("ns"))})
    if year == 1700:
        odd = rows["t"].cast(pa.int64()).combine_chunks().to_pylist()
        rows = pa.table(
            {"t": pa.array([None if n is None else n + 3 for n in odd]).cast(pa.timestamp("ns"))}
        )
    pq.write_table(rows, old, use_deprecated_int96_timestamps=True, store_schema=False)

    write_parquet_without(old, "old", np.array([0, 4]), new)

    assert pq.ParquetFile(new).schema.column(0).physical_type == "INT96"
    unit = "us" if year == 9999 else "ns"
    read = [
        pq.ParquetFile(path, coerce_int96_timestamp_unit=unit).read()["t"].cast(pa.int64())
        for path in (old, new)
    ]
    assert read[0].take(pa.array([1, 2, 3, 5, 6, 7, 8])).to_pylist() == read[1].to_pylist()
    assert read[0].combine_chunks() == rows["t"].cast(pa.int64()).combine_chunks()


def written(rows: pa.Table, path: Path, *, kind: str, compression: str | None) -> None:
    options = ipc.IpcWriteOptions(compression=compression)
    if kind == "feather":
        feather.write_feather(
            rows, str(path), compression=compression or "uncompressed", chunksize=16
        )
        return
    new = ipc.new_stream if kind == "stream" else ipc.new_file
    more = {"metadata": {"of the": "footer"}} if kind == "file" else {}
    with pa.OSFile(str(path), "wb") as sink, new(sink, rows.schema, options=options, **more) as out:
        for number, batch in enumerate(rows.to_batches(max_chunksize=16)):
            out.write_batch(batch, custom_metadata={"batch": str(number)})


def batches(path: Path, kind: str) -> list[Any]:
    """Return the batches of a file, each with metadata of its own."""
    if kind == "stream":
        return list(ipc.open_stream(path.read_bytes()).iter_batches_with_custom_metadata())
    file = ipc.open_file(path.read_bytes())
    return [file.get_batch_with_custom_metadata(n) for n in range(file.num_record_batches)]


def unpacked(found: list[Any]) -> bytes:
    """Return all buffers of batches, without compression."""
    sink = io.BytesIO()
    with ipc.new_stream(sink, found[0][0].schema) as out:
        for batch, _ in found:
            out.write_batch(batch)
    return sink.getvalue()


def codecs(path: Path) -> set[str]:
    """Return the codecs of which a file has the first bytes."""
    marks = {"lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd"}
    return {name for name, mark in marks.items() if mark in path.read_bytes()}


@pytest.mark.parametrize("kind", ["feather", "file", "stream"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_keeps_its_schema_and_batches(
    tmp_path: Path, kind: str, compression: str | None
) -> None:
    old, new = tmp_path / "old.arrow", tmp_path / "new.arrow"
    rows = some_rows()
    views = pa.array(rows["text"].to_pylist(), pa.string_view())
    runs = pa.array(rows["text"].to_pylist()).cast(pa.string())
    rows = rows.append_column("view", views).append_column("runs", pc.run_end_encode(runs))
    written(rows, old, kind=kind, compression=compression)
    check_arrow(old, "old")

    write_arrow_without(old, "old", GONE, new)

    opened = ipc.open_stream if kind == "stream" else ipc.open_file
    before, after = opened(old.read_bytes()), opened(new.read_bytes())
    assert after.schema.equals(before.schema, check_metadata=True)
    if kind == "file":
        assert after.metadata == before.metadata
    assert codecs(old) == codecs(new) == {compression} - {None}
    sizes = [sum(16 * n <= row < 16 * n + 16 for row in LEFT) for n in range(4)]
    found = batches(new, kind)
    assert [batch.num_rows for batch, _ in found] == sizes
    assert values(pa.Table.from_batches([batch for batch, _ in found])) == left(rows)
    if kind != "feather":
        assert [dict(metadata) for _, metadata in found] == [
            {b"batch": str(number).encode()} for number in range(4)
        ]
    # What only rows had which went is in no buffer and no dictionary.
    assert RARE.encode() in unpacked(batches(old, kind))
    assert RARE.encode() not in unpacked(found)


def test_rows_are_taken_from_columns_in_several_pieces() -> None:
    whole = some_rows()
    views = pa.chunked_array([pa.array(whole["text"].to_pylist(), pa.string_view())])
    whole = whole.append_column("view", views)
    parts = [whole.slice(first, 13) for first in range(0, COUNT, 13)]
    plain = pa.array(["x"] * 13).dictionary_encode()
    parts[1] = parts[1].set_column(2, whole.schema.field(2), plain)  # another dictionary
    pieces = pa.concat_tables(parts)

    found = rows_taken(pieces, LEFT)

    assert values(found) == left(pieces)
    assert found["category"].num_chunks == 1
    assert rows_taken(pieces.slice(0, 0), LEFT[:0]).num_rows == 0


def test_all_rows_of_arrow_can_go(tmp_path: Path) -> None:
    old, new = tmp_path / "old.arrow", tmp_path / "new.arrow"
    written(some_rows(), old, kind="file", compression=None)

    write_arrow_without(old, "old", np.arange(COUNT), new)

    assert ipc.open_file(new.read_bytes()).read_all().num_rows == 0


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2]], pa.list_view(pa.int64())),
        pa.array([{"a": "x"}, {"a": "y"}], pa.struct([("a", pa.string_view())])),
        pa.StructArray.from_arrays([pa.array(["x", "y"]).dictionary_encode()], ["a"]),
        pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array(["x", "y"])]),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_that_would_keep_values_are_refused_by_name(
    tmp_path: Path, column: pa.Array
) -> None:
    path = tmp_path / "old.arrow"
    with (
        pa.OSFile(str(path), "wb") as sink,
        ipc.new_file(sink, pa.schema([("c", column.type)])) as out,
    ):
        out.write_batch(pa.record_batch([column], ["c"]))

    with pytest.raises(InputError, match="old: column 'c' has type .*, from which values cannot"):
        check_arrow(path, "old")
