"""Files of one dataset: the same columns of the same types, or refused by file and column."""

import datetime as dt
import itertools
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.column_types import ColumnUse, ColumnUses, TypeCheck
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import place_of_row, read_batches

SECRET = "jane.roe"
DAY = dt.date(2024, 1, 31)
NOON = dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)


def put(folder: Path, **files: Any) -> Path:
    """Write a file for each name: Parquet from a table or an array, CSV from text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, str):
            (folder / f"{name}.csv").write_text(content, encoding="utf-8")
        else:
            table = content if isinstance(content, pa.Table) else pa.table({"x": content})
            pq.write_table(table, folder / f"{name}.parquet")
    return folder


def read(folder: Path, reading: Reading) -> list[dict[str, Any]]:
    return [
        row for batch in read_batches(folder, "d", reading=reading) for row in batch.to_pylist()
    ]


def used(use: ColumnUse) -> Reading:
    return Reading(uses=ColumnUses({"x": use}))


#: Two values of each type.
TYPES: dict[str, pa.Array | str] = {
    "int8": pa.array([1, 2], pa.int8()),
    "int64": pa.array([1, 2]),
    "uint64": pa.array([1, 2], pa.uint64()),
    "float": pa.array([1.0, 2.0], pa.float32()),
    "double": pa.array([1.0, 2.0]),
    "decimal": pa.array([Decimal("1.00"), Decimal("2.00")]),
    "cents": pa.array([Decimal("1.0"), Decimal("2.0")]),
    "dictionary of int": pa.array([1, 2]).dictionary_encode(),
    "bool": pa.array([True, False]),
    "string": pa.array(["1", "2"]),
    "large": pa.array(["1", "2"], pa.large_string()),
    "dictionary": pa.array(["1", "2"]).dictionary_encode(),
    "csv": "x\n1\n2\n",
    "date": pa.array([DAY, DAY]),
    "timestamp": pa.array([NOON, NOON], pa.timestamp("ms")),
    "nanoseconds": pa.array([NOON, NOON], pa.timestamp("ns")),
    "berlin": pa.array([NOON, NOON], pa.timestamp("ms", "Europe/Berlin")),
    "utc": pa.array([NOON, NOON], pa.timestamp("us", "UTC")),
    "time": pa.array([dt.time(12), dt.time(13)]),
    "duration": pa.array([dt.timedelta(1), dt.timedelta(2)]),
    "binary": pa.array([b"1", b"2"]),
    "list": pa.array([[1], [2]]),
    "null": pa.nulls(2),
}

#: Types that go together, by what the column is used as. Any goes with `null` and with itself.
NUMBERS = {"int8", "int64", "uint64", "float", "double", "decimal", "cents", "dictionary of int"}
TEXT = {"string", "large", "dictionary"}
WHOLE = {"int8", "int64", "uint64", "dictionary of int"}
TOGETHER: dict[ColumnUse, list[set[str]]] = {
    "value": [
        NUMBERS,
        TEXT,
        {"date", "timestamp", "nanoseconds"},
        {"berlin", "utc"},
        # Values of a file without types decide.
        *({"csv", name} for name in TYPES),
    ],
    "label": [TEXT | {"csv"}, WHOLE, *({"csv", name} for name in WHOLE)],
    "id": [set(TYPES)],
    "none": [set(TYPES)],
}


def check(use: ColumnUse, *names: str) -> None:
    """Compare files of these types, in this order."""
    types = TypeCheck(ColumnUses(others=use) if use != "id" else ColumnUses({"x": use}))
    for number, name in enumerate(names):
        content = TYPES[name]
        is_typed = not isinstance(content, str)
        table = pa.table({"x": content if is_typed else pa.array(["1", "2"])})
        types.see(table, f"d/{number}", is_typed=is_typed, named=())


@pytest.mark.parametrize("use", TOGETHER)
def test_every_pair_of_types_goes_together_or_is_refused(use: ColumnUse) -> None:
    for one, other in itertools.product(TYPES, repeat=2):
        fine = one == other or "null" in (one, other)
        if fine or any({one, other} <= types for types in TOGETHER[use]):
            check(use, one, other)
            continue
        with pytest.raises(InputError) as caught:
            check(use, one, other)
        assert caught.value.message.startswith("d/1: column 'x' has "), (one, other)
        assert ", but in d/0 it has " in caught.value.message
        assert caught.value.hints


@pytest.mark.parametrize("use", ["value", "label"])
def test_files_of_other_types_are_refused_when_they_are_read(
    tmp_path: Path, use: ColumnUse
) -> None:
    folder = put(tmp_path / "d", a=TYPES["int64"], b=TYPES["string"])

    message = r"d/b\.parquet: column 'x' has type string, but in d/a\.parquet it has type int64"
    with pytest.raises(InputError, match=message):
        read(folder, used(use))
    assert len(read(put(tmp_path / "e", a=TYPES["int64"], b=TYPES["int8"]), used(use))) == 4
    assert len(read(folder, used("none"))) == 4


def test_a_type_is_compared_with_all_before_and_not_with_the_first_alone(tmp_path: Path) -> None:
    folder = put(tmp_path / "d", a=TYPES["csv"], b=TYPES["string"], c=TYPES["int64"])

    with pytest.raises(InputError, match=r"d/c\.parquet: .* type int64, but in d/b\.parquet "):
        read(folder, used("label"))


def test_numbers_beside_digits_with_leading_zeros_are_no_ids(tmp_path: Path) -> None:
    """Is 007 the person 7? The files do not tell."""
    for number, text in enumerate(["x\n007\nA\n", pa.array(["A", "00"])]):
        for names in (("a", "b"), ("b", "a")):
            folder = put(tmp_path / f"{number}{names[0]}")
            put(folder, **{names[0]: text, names[1]: pa.array([7.0, 8.0])})
            with pytest.raises(InputError, match=r"d/b\.\w+: column 'x' has") as caught:
                read(folder, used("id"))
            assert "digits with leading zeros" in caught.value.message
            assert "007" not in caught.value.message
    folder = put(tmp_path / "fine", a="x\n0\n7\nA07\n0.5\n", b=pa.array([7, 8]))
    assert len(read(folder, used("id"))) == 6


def dataset(**settings: Any) -> DatasetParams:
    values: dict[str, Any] = {
        "path": "data/d",
        "id": "id",
        "id_type": "text",
        "subject": "person",
        "subject_type": "integer",
        "target": "y",
        "classes": ["a"],
        "features": {"n": "numeric", "c": "categorical", "b": "boolean", "t": "datetime"},
    }
    return DatasetParams.model_validate(values | settings)


def test_settings_decide_what_columns_are_used_as() -> None:
    uses = Reading.of(dataset()).uses
    expected: Mapping[str, ColumnUse] = {
        "id": "id",
        "person": "none",
        "y": "label",
        "c": "label",
        "n": "value",
        "b": "value",
        "t": "value",
        "nobody": "none",
    }
    assert {name: uses.of(name) for name in expected} == expected
    # A project from before the setting reads ids as they are typed.
    assert Reading.of(dataset(id_type=None)).uses.of("id") == "none"


def test_yaml_null_is_the_word() -> None:
    assert dataset(missing_columns=None).missing_columns == "null"
    assert dataset().missing_columns == "refuse"
    again = dataset(missing_columns="null").model_dump(mode="json")
    assert DatasetParams.model_validate(again).missing_columns == "null"


UNIFIED = Reading(missing_columns="null", required=frozenset({"id"}))


def test_columns_that_a_file_lacks_are_missing_for_its_rows(tmp_path: Path) -> None:
    put(tmp_path / "d/site=east", a="id,x\n1,5\n")
    put(tmp_path / "d", b=pa.table({"y": [True], "id": [2]}), c="id\n3\n")
    (tmp_path / "d/c2.csv").touch()
    (tmp_path / "d/d.jsonl").write_text('{"x": "7", "id": "4"}\n', encoding="utf-8")

    found = read(tmp_path / "d", UNIFIED)

    columns = {"y": None, "id": None, "x": None, "site": None}
    assert found == [
        {**columns, "y": True, "id": 2},
        {**columns, "id": "3"},
        {**columns, "id": "4", "x": "7"},
        {**columns, "id": "1", "x": "5", "site": "east"},
    ]
    assert all(list(row) == list(columns) for row in found)
    batches = list(read_batches(tmp_path / "d", "d", reading=UNIFIED))
    assert str(place_of_row(batches[1], 0, "", 1)) == "d/c.csv, data row 1"


def test_no_file_may_lack_an_id(tmp_path: Path) -> None:
    put(tmp_path / "d", a="id,x\n1,5\n", b=f"Id ,x\n{SECRET},5\n")

    with pytest.raises(InputError, match=r"^d/b\.csv has no column 'id', which no file") as caught:
        read(tmp_path / "d", UNIFIED)
    assert caught.value.hints == ("it has a column 'Id ': if that is the same one, rename it",)


def test_a_column_that_is_written_in_two_ways_is_not_two_columns(tmp_path: Path) -> None:
    put(tmp_path / "d", a="id,age\n1,5\n", b="id,Age \n2,5\n")

    with pytest.raises(
        InputError, match=r"d/b\.csv has a column 'Age ', and d/a\.csv has a column 'age'"
    ):
        read(tmp_path / "d", UNIFIED)
    with pytest.raises(InputError, match=r"d/b\.csv has no column 'age', which d/a\.csv") as caught:
        read(tmp_path / "d", Reading())
    assert caught.value.hints[0] == "it has a column 'Age ': if that is the same one, rename it"
    assert "--missing-columns null" in caught.value.hints[1]


def test_two_columns_of_one_file_may_differ_in_case(tmp_path: Path) -> None:
    put(tmp_path / "d", a="id,age,Age\n1,5,6\n", b="id,age,Age\n2,7,8\n")

    assert [row["Age"] for row in read(tmp_path / "d", UNIFIED)] == ["6", "8"]
