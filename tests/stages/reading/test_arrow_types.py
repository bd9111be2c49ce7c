"""Types of Parquet and Arrow: each is read with its value, or refused or left out with a reason."""

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc
from unlearn.stages.columns.schema_finder import SchemaFinder
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.errors import InputError
from unlearn.stages.reading.arrow_types import with_common_types
from unlearn.stages.reading.column_types import ColumnUses
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.roles import IdTypeFinder
from unlearn.stages.rows.schema import feature_column

DAY = dt.date(2024, 1, 31)
NOON = dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)
#: Seconds since 1970 of that day, and of its noon.
DAY_SECONDS, NOON_SECONDS = 1_706_659_200.0, 1_706_702_400.0
IDS = [uuid.UUID(int=5), uuid.UUID(int=6)]


@dataclass(frozen=True)
class Case:
    """A column of two values and a missing one.

    Attributes
    ----------
    column
        What is written.
    kind, values
        What it is as a feature, and its values there; None if it is left out.
    ids
        The first two values as ids; None if the type cannot be one.
    in_parquet
        Whether Parquet has such a type.
    """

    column: pa.Array
    kind: FeatureKind | None
    values: list[Any]
    ids: list[str] | None
    in_parquet: bool = True


def of_text(column: pa.Array, **more: Any) -> Case:
    return Case(column, "categorical", ["a", "b"], ["a", "b"], **more)


def decimal(make: Callable[..., pa.DataType], precision: int) -> Case:
    values = [Decimal("1.50"), Decimal("2.00"), None]
    return Case(pa.array(values, make(precision, 2)), "numeric", [1.5, 2.0], ["1.50", "2"])


def time(kind: pa.DataType) -> Case:
    return Case(pa.array([dt.time(12), dt.time(0), None], kind), "datetime", [43_200.0, 0.0], None)


def moment(kind: pa.DataType) -> Case:
    return Case(pa.array([NOON, NOON, None], kind), "datetime", [NOON_SECONDS] * 2, None)


def left_out(column: pa.Array, **more: Any) -> Case:
    return Case(column, None, [], None, **more)


def encoded(values: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), values)


def runs(values: pa.Array) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), values)


TEXT = pa.array(["a", "b", None])
LARGE = [2**64 - 1, 2**53 + 1, None]

CASES: dict[str, Case] = {
    "decimal32": decimal(pa.decimal32, 5),
    "decimal64": decimal(pa.decimal64, 12),
    "decimal128": decimal(pa.decimal128, 38),
    "decimal256": decimal(pa.decimal256, 60),
    "string": of_text(TEXT),
    "large string": of_text(TEXT.cast(pa.large_string())),
    "string view": of_text(TEXT.cast(pa.string_view())),
    "dictionary": of_text(TEXT.dictionary_encode()),
    "dictionary of large strings": of_text(encoded(pa.array(["a", "b"], pa.large_string()))),
    "dictionary of string views": of_text(
        encoded(pa.array(["a", "b"], pa.string_view())), in_parquet=False
    ),
    "dictionary of numbers": Case(encoded(pa.array([7, 8])), "numeric", [7.0, 8.0], ["7", "8"]),
    "dictionary of dates": Case(
        encoded(pa.array([DAY, DAY + dt.timedelta(1)])),
        "datetime",
        [DAY_SECONDS, DAY_SECONDS + 86_400],
        ["2024-01-31", "2024-02-01"],
    ),
    "dictionary of truth": Case(
        encoded(pa.array([True, False])), "boolean", [True, False], ["true", "false"]
    ),
    "run-end encoded": of_text(runs(TEXT), in_parquet=False),
    "run-end encoded numbers": Case(
        runs(pa.array([7, 8, None])), "numeric", [7.0, 8.0], ["7", "8"], in_parquet=False
    ),
    "date32": Case(pa.array([DAY, DAY, None]), "datetime", [DAY_SECONDS] * 2, ["2024-01-31"] * 2),
    "date64": Case(
        pa.array([DAY, DAY, None], pa.date64()),
        "datetime",
        [DAY_SECONDS] * 2,
        ["2024-01-31"] * 2,
    ),
    **{f"timestamp {unit}": moment(pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    "timestamp with zone": moment(pa.timestamp("us", "Europe/Berlin")),
    "timestamp with offset": moment(pa.timestamp("ns", "+02:00")),
    "time32": time(pa.time32("ms")),
    "time64": time(pa.time64("ns")),
    "duration": Case(
        pa.array([dt.timedelta(days=1), dt.timedelta(milliseconds=-1500), None]),
        "datetime",
        [86_400.0, -1.5],
        None,
    ),
    "float16": Case(pa.array([7.0, 8.0, None], pa.float16()), "numeric", [7.0, 8.0], ["7", "8"]),
    "float32": Case(pa.array([7.0, 8.0, None], pa.float32()), "numeric", [7.0, 8.0], ["7", "8"]),
    "uint64": Case(
        pa.array(LARGE, pa.uint64()),
        "numeric",
        [float(2**64 - 1), float(2**53 + 1)],
        [str(2**64 - 1), str(2**53 + 1)],
    ),
    "int8": Case(pa.array([7, 8, None], pa.int8()), "numeric", [7.0, 8.0], ["7", "8"]),
    "bool": Case(pa.array([True, False, None]), "boolean", [True, False], ["true", "false"]),
    "bool8": Case(
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())),
        "boolean",
        [True, False],
        ["true", "false"],
    ),
    "uuid": Case(
        pa.array([*(each.bytes for each in IDS), None], pa.uuid()),
        "categorical",
        [str(each) for each in IDS],
        [str(each) for each in IDS],
    ),
    "json": Case(
        pa.array(['{"k": 1}', "2", None], pa.json_()),
        "categorical",
        ['{"k": 1}', "2"],
        ['{"k": 1}', "2"],
    ),
    "null": Case(pa.nulls(3), "categorical", [None, None], None),
    "binary": left_out(pa.array([b"a", b"b", None])),
    "large binary": left_out(pa.array([b"a", b"b", None], pa.large_binary())),
    "binary view": left_out(pa.array([b"a", b"b", None], pa.binary_view())),
    "fixed-size binary": left_out(pa.array([b"a", b"b", None], pa.binary(1))),
    "dictionary of binary": left_out(encoded(pa.array([b"a", b"b"]))),
    "list": left_out(pa.array([[1], [2], None])),
    "large list": left_out(pa.array([[1], [2], None], pa.large_list(pa.int64()))),
    # Of numbers, each place would be a column of its own.
    "fixed-size list": left_out(pa.array([["a"], ["b"], None], pa.list_(pa.string(), 1))),
    "struct": left_out(pa.array([{"k": 1}, {"k": 2}, None])),
    "nested dictionary": left_out(pa.StructArray.from_arrays([TEXT.dictionary_encode()], ["k"])),
    "map": left_out(pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64()))),
    "union": left_out(
        pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), TEXT]),
        in_parquet=False,
    ),
    "interval": left_out(pa.array([pa.MonthDayNano([1, 2, 3])] * 3), in_parquet=False),
}

FORMATS = [
    pytest.param(ending, name, id=f"{name}-{ending}")
    for name, case in CASES.items()
    for ending in ("parquet", "arrow")
    if case.in_parquet or ending == "arrow"
]


def write(path: Path, column: pa.Array) -> Path:
    """Write a column with ids and classes."""
    rows = range(len(column))
    table = pa.table({"rec": [f"R{row}" for row in rows], "label": ["a"] * len(rows), "x": column})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


def read(path: Path, reading: Reading | None = None) -> pa.Table:
    return pa.concat_tables(read_batches(path, f"d/{path.name}", reading=reading or Reading()))


@pytest.mark.parametrize(("ending", "name"), FORMATS)
def test_a_feature_of_every_type_has_its_values_or_is_left_out(
    tmp_path: Path, ending: str, name: str
) -> None:
    case = CASES[name]
    table = read(write(tmp_path / f"a.{ending}", case.column))
    finder = SchemaFinder("rec", "label", None)

    finder.see(table, "d/a")

    if case.kind is None:
        assert list(finder.left_out) == ["x"]
        assert finder.left_out["x"].startswith("it has ")
        return
    assert finder.features == {"x": case.kind}
    values = feature_column(table["x"], "x", case.kind, [""], 1).to_pylist()
    assert values == [*case.values, None]


@pytest.mark.parametrize(("ending", "name"), FORMATS)
def test_an_id_of_every_type_is_its_text_or_refused(tmp_path: Path, ending: str, name: str) -> None:
    case = CASES[name]
    table = read(write(tmp_path / f"a.{ending}", case.column))
    finder = IdTypeFinder("record", "x", folded=False)

    if case.ids is None and name != "null":
        with pytest.raises(InputError, match="which cannot be an id") as caught:
            finder.see(table, "d/a")
        assert f"d/a.{ending}: column 'x'" in caught.value.message
        assert "write the column as text" in caught.value.hints[0]
        return
    ids: list[str | None] = [*(case.ids or [])]
    assert finder.see(table, "d/a").to_pylist() == [*(ids or [None, None]), None]


@pytest.mark.parametrize(("ending", "name"), FORMATS)
@pytest.mark.parametrize("use", ["label", "value"])
def test_a_column_that_is_needed_and_has_no_text_or_number_is_refused_by_file_and_name(
    tmp_path: Path, ending: str, name: str, use: Any
) -> None:
    path = write(tmp_path / f"a.{ending}", CASES[name].column)
    needed = Reading(uses=ColumnUses({"x": use}))

    if CASES[name].kind is not None:
        read(path, needed)
        return
    with pytest.raises(InputError, match="which is neither a number nor text") as caught:
        read(path, needed)
    assert caught.value.message.startswith(f"d/a.{ending}: column 'x' has type ")
    assert caught.value.hints == ("write the column as text or numbers",)


def test_timestamps_of_spark_do_not_overflow(tmp_path: Path) -> None:
    """As nanoseconds, the last day of 9999 would be one of 1816."""
    last = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    table = pa.table({"x": pa.array([last, NOON], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)

    column = read(tmp_path / "a.parquet")["x"]

    assert [value.replace(tzinfo=dt.UTC) for value in column.to_pylist()] == [last, NOON]
    seconds = feature_column(column, "x", "datetime", [], 1).to_pylist()
    assert seconds == [last.timestamp(), NOON_SECONDS]


def test_columns_without_a_chunk_stay_columns() -> None:
    kinds = [case.column.type for case in CASES.values()]
    table = pa.table({str(at): pa.chunked_array([], kind) for at, kind in enumerate(kinds)})

    found = with_common_types(table)

    assert found.num_rows == 0
    assert found.column_names == table.column_names
