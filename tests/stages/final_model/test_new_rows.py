"""The same row has the same answer from every file, or is refused: never another answer."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from unlearn.stages.config.dataset import CsvParams, DatasetParams, FeatureKind
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.final_model.new_rows import NewRows, as_table, check_encoding, with_csv
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches

from tests.cli.conftest import SECRET

MISSING = ["", "NA", "-9", "1900-01-01"]


def dataset_of(**features: FeatureKind) -> DatasetParams:
    return DatasetParams.model_validate(
        {
            "path": "d",
            "id": "id",
            "target": "y",
            "classes": ["0", "1"],
            "missing": MISSING,
            "features": features,
        }
    )


CATEGORY = dataset_of(x="categorical")


def known(*categories: str, as_written: bool = False) -> NewRows:
    return NewRows(CATEGORY, {"x": frozenset(categories)}, as_written)


def read(rows: NewRows, values: pa.Array) -> list[str | None]:
    found: list[str | None] = rows.typed(pa.table({"x": values}), "it", 1)["x"].to_pylist()
    return found


ZIPS = ("01003", "20500", "94110")


@pytest.mark.parametrize(
    ("categories", "values", "expected"),
    [
        (ZIPS, pa.array(["01003", "20500", None, "NA"]), ["01003", "20500", None, None]),
        (ZIPS, pa.array(["01003"], pa.large_string()), ["01003"]),
        (ZIPS, pa.array(["01003"]).dictionary_encode(), ["01003"]),
        # No category writes these numbers in another way.
        (ZIPS, pa.array([20500, 94110]), ["20500", "94110"]),
        (ZIPS, pa.array([20500, None], pa.uint32()), ["20500", None]),
        # pandas makes floats of whole numbers once a value is missing.
        (ZIPS, pa.array([20500.0, None, float("nan")]), ["20500", None, None]),
        (ZIPS, pa.array([20500.0], pa.float32()), ["20500"]),
        (ZIPS, pa.array([Decimal("20500.00")]), ["20500"]),
        (ZIPS, pa.array([20500.0]).dictionary_encode(), ["20500"]),
        (("1.0", "2.0"), pa.array([1, 2]), ["1.0", "2.0"]),
        (("0.5", "1.5"), pa.array([0.5, 1.5]), ["0.5", "1.5"]),
        (("true", "false"), pa.array([True, False]), ["true", "false"]),
        (("2024-01-31",), pa.array([dt.date(2024, 1, 31)]), ["2024-01-31"]),
        # A category that the training tells apart.
        (("1", "01"), pa.array(["1", "01", "1.0"]), ["1", "01", "1.0"]),
        # Numbers that mean a missing value.
        (ZIPS, pa.array([-9, 20500]), [None, "20500"]),
        (ZIPS, pa.array([-9.0, 20500.0]), [None, "20500"]),
    ],
)
def test_a_category_is_read_as_the_training_read_it(
    categories: tuple[str, ...], values: pa.Array, expected: list[str | None]
) -> None:
    assert read(known(*categories), values) == expected


@pytest.mark.parametrize(
    ("categories", "values"),
    [
        (ZIPS, pa.array([20500, 1003])),
        (ZIPS, pa.array([20500.0, 1003.0])),
        (ZIPS, pa.array(["20500", "1003"])),
        (ZIPS, pa.array(["20500", "01003.0"])),
        (ZIPS, pa.array(["20500", "1003"]).dictionary_encode()),
        (("1", "01", "20500"), pa.array([20501, 1])),
        (("-9.0",), pa.array([1.5, -9.0])),
        (("1", "01", "7"), pa.array([20501, 7])),
        (("0.50",), pa.array([1.5, 0.5])),
        (("0.1",), pa.array([1.0, 0.1], pa.float32())),
        (("9007199254740993",), pa.array([1.0, 2.0**53])),
        (("True", "False"), pa.array([None, True])),
        (("True", "False"), pa.array(["x", "true"])),
        (("yes", "no"), pa.array([None, True])),
        (("1", "0"), pa.array([None, False])),
        (("2024-01-31",), pa.array([None, dt.datetime(2024, 1, 31)])),  # noqa: DTZ001 - no zone
        (("2024-01-31",), pa.array(["x", "2024-01-31 00:00"])),
        (ZIPS, pa.array(["20500", "-9.0"])),
    ],
)
def test_a_category_in_another_notation_is_refused_by_its_row(
    categories: tuple[str, ...], values: pa.Array
) -> None:
    with pytest.raises(InputError, match="it: column 'x', data row 2: .* another notation") as up:
        read(known(*categories), values)
    assert up.value.facts == Facts(file="it", row=2, column="x")

    rows = known(*categories, as_written=True)
    assert len(read(rows, values)) == 2
    assert rows.unknown["x"] >= 1 or values.type != pa.string()


def test_unknown_categories_are_counted_over_all_batches() -> None:
    rows = known("red", "blue")

    assert read(rows, pa.array(["red", "green", None, "green"])) == ["red", "green", None, "green"]
    read(rows, pa.array(["Red", "blue"]))

    assert rows.unknown == {"x": 3}
    (note,) = rows.notes_on_categories()
    assert note.startswith("column 'x': 3 rows have a category that the model does not know")
    assert known("red").notes_on_categories() == []


def test_columns_that_are_not_read_are_named() -> None:
    rows = known("red")
    rows.typed(pa.table({"x": ["red"], "y": ["0"], "X": ["a"], "note": ["b"]}), "it", 1)

    assert (rows.ignored, rows.has_ids) == (["X", "note"], False)
    assert rows.notes() == [
        "2 columns that the model does not read: 'X', 'note'",
        "there is no column 'id': the predictions have no ids",
    ]
    rows.typed(pa.table({"x": ["red"], "id": ["1"]}), "it", 1)
    assert rows.notes() == []


def test_all_missing_columns_are_named_with_the_nearest_ones() -> None:
    rows = NewRows(dataset_of(age="numeric", sign_up="datetime", city="categorical"))

    with pytest.raises(InputError) as up:
        rows.typed(pa.table({"Age": [1], "Sign up": ["2024-01-31"], "city": ["Rome"]}), "it", 1)

    assert up.value.message == "it has no columns 'age', 'sign_up'"
    assert up.value.hints[0] == "did you mean 'Age' for 'age', 'Sign up' for 'sign_up'?"
    assert up.value.facts is not None
    assert up.value.facts.missing == ("age", "sign_up")
    assert up.value.facts.nearest == "Age"


def test_columns_named_by_numbers_are_no_features() -> None:
    with pytest.raises(InputError, match="^the input has no column '0'$") as raised:
        as_table(pd.DataFrame([[1.0]]), ["0"], "the input")
    assert raised.value.hints[-1] == "its columns: '0 (not text)'"


class TestFrames:
    """Rows in Python."""

    def test_values_of_several_types_are_refused_without_a_value(self) -> None:
        frame = pd.DataFrame({"x": [1, SECRET], "z": [1, "a"]})

        with pytest.raises(InputError, match="column 'x' has values of several types") as up:
            as_table(frame, ["x"], "the input")
        assert SECRET not in " ".join((up.value.message, *up.value.hints))
        assert up.value.__cause__ is None

    def test_a_column_that_is_there_twice_is_refused(self) -> None:
        frame = pd.DataFrame([["a", "b"]], columns=["x", "x"])

        with pytest.raises(InputError, match="the column 'x' is there twice"):
            as_table(frame, ["x"], "the input")

    @pytest.mark.parametrize(
        ("series", "expected"),
        [
            (pd.Series(["01003", None]), ["01003", None]),
            (pd.Series(["01003", None], dtype="category"), ["01003", None]),
            (pd.Series([20500, None], dtype="Int64"), ["20500", None]),
            (pd.Series([20500, None]), ["20500", None]),
            (pd.Series([20500, 94110], dtype="category"), ["20500", "94110"]),
        ],
    )
    def test_a_series_is_read_as_its_file(self, series: Any, expected: list[str | None]) -> None:
        table = as_table(pd.DataFrame({"x": series}), ["x"], "the input")

        assert read(known(*ZIPS), table["x"].combine_chunks()) == expected

    def test_pictures_in_numpy_arrays_are_read_in_either_order_of_dimensions(self) -> None:
        draw = np.random.default_rng(0)
        pictures = draw.integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
        dataset = DatasetParams(
            path="the input",
            id="id",
            target="y",
            classes=["a", "b"],
            features={"photo": "image"},
            shapes={"photo": [3, 5, 6]},
        )
        last = pictures.transpose(0, 2, 3, 1)
        for arrays in (list(pictures), list(last), list(pictures.reshape(4, -1))):
            table = as_table(pd.DataFrame({"photo": arrays}), ["photo"], "the input")
            typed = NewRows(dataset).typed(table, "the input", 1)
            assert typed["photo"].to_pylist() == [each.tobytes() for each in pictures]

    def test_pictures_of_several_sizes_are_refused(self) -> None:
        arrays = [np.zeros((3, 5, 6), np.uint8), np.zeros((3, 6, 5), np.uint8)]
        with pytest.raises(InputError, match="column 'photo' has values of several types"):
            as_table(pd.DataFrame({"photo": arrays}), ["photo"], "the input")


def test_utf8_is_not_read_in_an_encoding_of_one_byte_a_character(tmp_path: Path) -> None:
    plain, accented, western = (tmp_path / f"{name}.csv" for name in "abc")
    plain.write_text("x\nRome\n", encoding="utf-8")
    accented.write_text("x\nMálaga\n", encoding="utf-8")
    western.write_bytes("x\nMálaga\n".encode("cp1252"))
    dataset = with_csv(CATEGORY, {"encoding": "cp1252"})

    check_encoding([plain, western], dataset, "d")
    check_encoding([plain, accented], CATEGORY, "d")
    with pytest.raises(InputError, match=r"d: b\.csv is UTF-8 text, .* were cp1252"):
        check_encoding([western, accented], dataset, "d")


def test_what_the_options_choose_replaces_only_that() -> None:
    pinned = with_csv(CATEGORY, {"delimiter": ";", "decimal": ","})

    assert with_csv(pinned, {}).csv == CsvParams(delimiter=";", decimal=",")
    assert with_csv(pinned, {"decimal": "."}).csv == CsvParams(delimiter=";", decimal=".")


# The law: for any table, written as the training's file was, and with other types.

KINDS: dict[str, FeatureKind] = {
    "code": "categorical",
    "amount": "numeric",
    "flag": "boolean",
    "when": "datetime",
}

_CODES = ["1", "01", "1.0", "1.50", "1.5", "7", "007", "7.0", "true", "True", "yes", "0", "red"]
_CODES += ["2024-01-31", "2024-01-31 00:00", "-9", "-9.0", "NA", "", "9007199254740993"]
_MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001 - no zone
_VALUES: dict[str, st.SearchStrategy[str]] = {
    "code": st.sampled_from(_CODES),
    "amount": st.one_of(
        st.sampled_from(["", "NA", "-9", "-9.0", "9007199254740993", "0.1"]),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.integers(-(2**63), 2**63 - 1).map(str),
        st.decimals(-1000, 1000, places=2).map(str),
    ),
    "flag": st.sampled_from(["true", "false", "True", "FALSE", "yes", "n", "1", "0", "", "NA"]),
    "when": st.one_of(
        st.sampled_from(["", "1900-01-01", "1900-01-01T00:00:00Z", "1969-12-31 23:59:59.9999999"]),
        _MOMENTS.map(lambda moment: moment.isoformat()),
        _MOMENTS.map(lambda moment: moment.date().isoformat()),
        _MOMENTS.map(lambda moment: f"{moment.isoformat(' ', 'seconds')}+05:30"),
    ),
}


def _true(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "n": False, "0": False}
    return words[text.lower()]


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if value != round(value, 4):
        raise ValueError
    return value


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


_Type = tuple[Callable[[str], Any], pa.DataType]

#: What programs make of a column of text: how they parse it, and with which type they write it.
_TEXT: _Type = (str, pa.string())
_TYPES: dict[str, list[_Type]] = {
    "code": [
        _TEXT,
        (int, pa.int64()),
        (float, pa.float64()),
        (float, pa.float32()),
        (_decimal, pa.decimal128(38, 6)),
        (_true, pa.bool_()),
        (lambda text: _moment(text).date(), pa.date32()),
        (_moment, pa.timestamp("us")),
        (str, pa.dictionary(pa.int32(), pa.string())),
        (str, pa.large_string()),
    ],
    "amount": [
        _TEXT,
        (int, pa.int64()),
        (float, pa.float64()),
        (_decimal, pa.decimal128(38, 4)),
        (str, pa.dictionary(pa.int32(), pa.string())),
    ],
    "flag": [
        _TEXT,
        (_true, pa.bool_()),
        (lambda text: int(_true(text)), pa.int8()),
        (lambda text: float(_true(text)), pa.float64()),
        (lambda text: "yes" if _true(text) else "no", pa.string()),
    ],
    "when": [
        _TEXT,
        (lambda text: _moment(text).date() if len(text) < 11 else int(text), pa.date32()),
        (_moment, pa.timestamp("us", "Asia/Tokyo")),
        (_moment, pa.timestamp("ns", "UTC")),
        (lambda text: _moment(text).isoformat(), pa.string()),
    ],
}


def _column(texts: Sequence[str], parse: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """Return what a program that knows the words for missing values writes."""
    words = ("", "NA")
    return pa.array([None if text in words else parse(text) for text in texts], kind)


def _can_write(texts: Sequence[str], parse: Callable[[str], Any], kind: pa.DataType) -> bool:
    try:
        _column(texts, parse, kind)
    except (ValueError, KeyError, ArithmeticError, pa.ArrowException):
        return False
    return True


@dataclass(frozen=True)
class Written:
    """A column as the training's file has it, and the same values with another type."""

    name: str
    texts: list[str]
    values: pa.Array


@st.composite
def _columns(draw: st.DrawFn) -> Written:
    name = draw(st.sampled_from(sorted(KINDS)))
    texts = draw(st.lists(_VALUES[name], min_size=1, max_size=3))
    able = [kind for kind in _TYPES[name] if _can_write(texts, *kind)]
    return Written(name, texts, _column(texts, *draw(st.sampled_from(able))))


def _answers(
    path: Path, rows: NewRows, preprocessor: Preprocessor
) -> np.ndarray[Any, Any] | InputError:
    try:
        batches = [
            rows.typed(batch, path.name, 1)
            for batch in read_batches(path, path.name, reading=Reading.of(rows.dataset))
        ]
    except InputError as error:
        return error
    return preprocessor.transform(pa.concat_tables(batches), np.float64)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    column=_columns(),
    categories=st.sets(
        st.sampled_from([code for code in _CODES if code not in MISSING]), max_size=5
    ),
)
def test_other_types_have_the_same_answer_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, column: Written, categories: set[str]
) -> None:
    name = column.name
    dataset = dataset_of(**{name: KINDS[name]})
    known = {name: frozenset(categories)} if name == "code" else {}
    states: dict[str, dict[str, Any]] = {
        "code": {"kind": "categorical", "categories": sorted(categories)},
        "flag": {"kind": "boolean", "fill": 0.5},
        "amount": {"kind": "numeric", "mean": 0.0, "scale": 1.0, "fill": 0.25},
        "when": {"kind": "datetime", "mean": 0.0, "scale": 1.0, "fill": 0.25},
    }
    preprocessor = Preprocessor({name: states[name]})
    folder = tmp_path_factory.getbasetemp()
    pd.DataFrame({name: column.texts, "id": "r"}).to_csv(folder / "a.csv", index=False)
    pq.write_table(pa.table({name: column.values}), folder / "b.parquet")

    trained = _answers(folder / "a.csv", NewRows(dataset, known), preprocessor)
    other = _answers(folder / "b.parquet", NewRows(dataset, known), preprocessor)

    errors = [answer for answer in (trained, other) if isinstance(answer, InputError)]
    event(f"{name} {column.values.type}: {'refused' if errors else 'equal'}")
    for error in errors:
        assert error.facts is not None
        assert error.facts.file in ("a.csv", "b.parquet")
        assert (error.facts.column, error.facts.row in range(1, 4)) == (name, True)
    if not isinstance(trained, InputError) and not isinstance(other, InputError):
        assert np.array_equal(trained, other)
