"""Columns of ids: every type that a file may have, read as one text; others refused by row."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.identity import dataset_tokens
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.roles import IdTypeFinder, RoleReader
from unlearn.stages.rows.tokens import Tokenizer

from tests.stages.conftest import KEY

#: In cells; no message may repeat it.
SECRET = "80012345"


def dataset(**settings: Any) -> DatasetParams:
    values = {"path": "data/d", "id": "id", "target": "y", "classes": ["a"]}
    return DatasetParams.model_validate(values | {"features": {"x": "numeric"}} | settings)


def put(folder: Path, **files: pa.Array | str) -> Path:
    """Write files of ids: Parquet from an array, CSV or JSONL from text."""
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, str):
            ending = "jsonl" if content.startswith("{") else "csv"
            (folder / f"{name}.{ending}").write_text(content, encoding="utf-8")
        else:
            pq.write_table(pa.table({"id": content}), folder / f"{name}.parquet")
    return folder


def tokens(folder: Path, **settings: Any) -> list[str]:
    named = dataset(**settings)
    found = dataset_tokens(folder, named, Tokenizer(KEY, IdRules.of(named)))
    return [token for batch in found for token in batch.records]


def type_of(folder: Path, *, folded: bool = False) -> str:
    finder = IdTypeFinder("record", "id", folded=folded)
    for batch in read_batches(folder, folder.name):
        finder.see(batch, folder.name)
    return finder.id_type


NUMBERS = {
    **{f"int{bits}": pa.array([7, 100], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": pa.array([7, 100], f"uint{bits}") for bits in (8, 16, 32, 64)},
    "half": pa.array([7.0, 100.0], pa.float16()),
    "float": pa.array([7.0, 100.0], pa.float32()),
    "double": pa.array([7.0, 100.0], pa.float64()),
    "decimal": pa.array([Decimal("7.00"), Decimal("100.00")], pa.decimal128(9, 2)),
    "large_decimal": pa.array([Decimal(7), Decimal(100)], pa.decimal256(50, 0)),
    "string": pa.array(["7", "100.0"], pa.string()),
    "large_string": pa.array(["7.0", "100"], pa.large_string()),
    "dictionary": pa.array(["7", "100"]).dictionary_encode(),
    "dictionary_of_numbers": pa.array([7, 100]).dictionary_encode(),
    "csv": "id\n7\n100.0\n",
    "jsonl": '{"id":7}\n{"id":100.0}\n',
}

#: What these write is the id, where ids are text.
AS_TEXT = ("string", "large_string", "csv", "jsonl")


def test_whole_numbers_of_every_type_are_one_id(tmp_path: Path) -> None:
    folder = put(tmp_path / "d", **NUMBERS)

    assert type_of(folder) == "integer"
    found = tokens(folder, id_type="integer")
    assert found[:2] * len(NUMBERS) == found
    assert found[:2] == [Tokenizer(KEY).token("record", raw) for raw in ("7", "100")]


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in AS_TEXT])
def test_numbers_among_text_are_their_digits(tmp_path: Path, name: str) -> None:
    """One word in one file makes the column text; typed numbers still have one spelling."""
    folder = put(tmp_path / "d", **{"a": "id\n7\n100\nA17\n", name: NUMBERS[name]})

    assert type_of(folder) == "text"
    found = tokens(folder, id_type="text")
    assert found[3:] == found[:2]


def test_dates_and_booleans_are_text(tmp_path: Path) -> None:
    days = [date(2024, 1, 31), date(1969, 12, 31)]
    folder = put(
        tmp_path / "d",
        a="id\n2024-01-31\n1969-12-31\n",
        b=pa.array(days, pa.date32()),
        c=pa.array(days, pa.date64()),
    )

    assert type_of(folder) == "text"
    found = tokens(folder, id_type="text")
    assert found == found[:2] * 3
    truth = put(tmp_path / "t", a="id\ntrue\nfalse\n", b=pa.array([True, False]))
    found = tokens(truth, id_type="text")
    assert found == found[:2] * 2


@pytest.mark.parametrize("value", ["007", "A17", "7.5", " 7", "1e3", "7 ", "x" * 100])
def test_one_other_value_makes_a_column_text(tmp_path: Path, value: str) -> None:
    rows = "".join(f"{number}\n" for number in range(50))

    assert type_of(put(tmp_path / "d", a=f"id\n{rows}", b=f'id\n"{value}"\n')) == "text"


def test_spaces_around_numbers_are_none_where_ids_are_folded(tmp_path: Path) -> None:
    folder = put(tmp_path / "d", a="id\n 7\n", b=pa.array([7.0]))

    assert (type_of(folder), type_of(folder, folded=True)) == ("text", "integer")
    found = tokens(folder, id_type="integer", identity="folded")
    assert found[0] == found[1]


UNREADABLE: dict[str, tuple[pa.Array, str]] = {
    "timestamp": (pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 2), "timestamp.* cannot be an id"),
    "duration": (pa.array([timedelta(1)] * 2), "duration.* cannot be an id"),
    "binary": (pa.array([b"a", b"b"]), "binary, which cannot be an id"),
    "fixed": (pa.array([b"a", b"b"], pa.binary(1)), "which cannot be an id"),
    "list": (pa.array([[1], [2]]), "which cannot be an id"),
    "fraction": (pa.array([7.0, 80012345.5]), "data row 2: a number is not whole"),
    "infinity": (pa.array([7.0, float("inf")]), "data row 2: a number is not whole"),
    "double": (pa.array([7.0, 2.0**53]), "data row 2: a number is too large .*double"),
    "float": (pa.array([7.0, 2.0**24], pa.float32()), "data row 2: a number is too large .*float"),
    "half": (pa.array([7.0, 2.0**11], pa.float16()), "data row 2: a number is too large"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_types_that_cannot_name_anybody_are_refused_with_the_way_out(
    tmp_path: Path, name: str
) -> None:
    values, expected = UNREADABLE[name]
    folder = put(tmp_path / "d", a=pa.array([1, 2]), b=values)

    for read in (lambda: type_of(folder), lambda: tokens(folder, id_type="integer")):
        with pytest.raises(InputError, match=expected) as caught:
            read()
        assert "d/b.parquet: column 'id'" in caught.value.message
        assert "write the column as text" in caught.value.hints[0]
        assert SECRET not in caught.value.message


def test_missing_ids_are_named_by_file_and_row(tmp_path: Path) -> None:
    for number, values in enumerate((pa.array([7, None]), pa.array([7.0, float("nan")]))):
        folder = put(tmp_path / str(number), a=pa.array([1, 2, 3]), b=values)
        assert type_of(folder) == "integer"
        with pytest.raises(
            InputError, match="b.parquet: column 'id', data row 2: an id is missing"
        ):
            tokens(folder, id_type="integer")


LATER: dict[str, Callable[[], pa.Array | str]] = {
    "word": lambda: f"id\n7\nR{SECRET}\n",
    "zeros": lambda: f"id\n7\n0{SECRET}\n",
    "space": lambda: f"id\n7\n{SECRET} \n",
    "text": lambda: pa.array(["7", f"R{SECRET}"]),
    "fraction": lambda: pa.array([Decimal("7.0"), Decimal(f"{SECRET}.5")], pa.decimal128(12, 1)),
    "date": lambda: pa.array([date(2024, 1, 1), date(2024, 1, 2)]),
}


@pytest.mark.parametrize("name", LATER)
def test_a_later_value_of_another_type_is_named_by_file_and_row(tmp_path: Path, name: str) -> None:
    folder = put(tmp_path / "d", a=pa.array([1, 2, 3]), b=LATER[name]())

    with pytest.raises(InputError, match="not a whole number") as caught:
        tokens(folder, id_type="integer")

    ending = "csv" if isinstance(LATER[name](), str) else "parquet"
    row = 1 if name == "date" else 2
    assert f"data/d/b.{ending}: column 'id', data row {row}:" in caught.value.message
    assert "dataset.id_type" in caught.value.message
    assert SECRET not in caught.value.message + "".join(caught.value.hints)


def test_numbers_that_a_float_cannot_hold_are_refused_as_whole_numbers(tmp_path: Path) -> None:
    large = f"id\n7\n{2**53}.0\n"
    with pytest.raises(InputError, match="a.csv: column 'id', data row 2: .* 2\\^53 or more"):
        type_of(put(tmp_path / "d", a=large))
    # Among other text they are text as any other.
    assert type_of(put(tmp_path / "e", a=large, b="id\nA17\n")) == "text"
    # Whole numbers without a decimal point have no limit.
    assert type_of(put(tmp_path / "f", a=f"id\n{'9' * 40}\n")) == "integer"


def test_a_project_without_the_settings_reads_ids_as_before(tmp_path: Path) -> None:
    folder = put(tmp_path / "d", a=pa.array([1003, 7]), b=pa.array([1003.0, 2.5]))

    expected = [Tokenizer(KEY).token("record", raw) for raw in ("1003", "7", "1003.0", "2.5")]
    assert tokens(folder) == expected


@pytest.mark.parametrize("others", [["1", "2"], ["a", "b"]])
def test_an_id_that_a_spreadsheet_cut_is_refused(others: list[str]) -> None:
    finder = IdTypeFinder("record", "id", folded=False)
    with pytest.raises(InputError, match="row 3: .* last digits may be lost") as caught:
        finder.see(pa.table({"id": [*others, "8.00123E+07"]}), "a.csv")
    assert "format the column as text" in caught.value.hints[0]
    assert "8.00123" not in str(caught.value)


def test_an_id_that_a_spreadsheet_cut_is_refused_in_a_later_file() -> None:
    reader = RoleReader("record", "id", IdRules("integer", None))
    with pytest.raises(InputError, match="row 2: .* last digits may be lost"):
        reader.checked(pa.table({"id": ["1", "8.00123E+07"]}), "a.csv", 1)
