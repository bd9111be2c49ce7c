"""From values as written to typed columns, and the schema that `init` pins."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.columns.schema_finder import MANY_CATEGORIES, SchemaFinder
from unlearn.stages.columns.target_facts import MAX_CLASSES
from unlearn.stages.config.dataset import DEFAULT_MISSING, FeatureKind
from unlearn.stages.errors import InputError
from unlearn.stages.reading.needed_columns import require_column, require_columns
from unlearn.stages.rows.schema import feature_column, feature_columns, target_column
from unlearn.stages.rows.texts import as_text

from tests.stages.conftest import make_params

SECRET = "jane.roe"


def column(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def feature(
    values: Sequence[Any], kind: FeatureKind, arrow: pa.DataType | None = None
) -> list[Any]:
    found = feature_column(column(values, arrow), "x", kind, DEFAULT_MISSING, 1)
    listed = found.to_pylist()
    assert isinstance(listed, list)
    return listed


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["007", " 7", ""], pa.string(), ["007", " 7", ""]),
        (["007"], pa.large_string(), ["007"]),
        ([7, -7, 0], pa.int64(), ["7", "-7", "0"]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([7.0, 0.1, 1e16, 1e-7], pa.float64(), ["7.0", "0.1", "1e+16", "1e-07"]),
        ([True, False], pa.bool_(), ["true", "false"]),
        ([Decimal("1.50")], pa.decimal128(5, 2), ["1.50"]),
        ([date(2024, 2, 29)], pa.date32(), ["2024-02-29"]),
        ([None, "a"], pa.string(), [None, "a"]),
        ([None, 7], pa.int64(), [None, "7"]),
        ([None, None], pa.null(), [None, None]),
    ],
)
def test_ids_and_targets_are_text_as_written(
    values: list[Any], kind: pa.DataType, expected: list[str | None]
) -> None:
    assert as_text(column(values, kind), "id").to_pylist() == expected


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("numeric", pa.array(["-9", "1", "-9.0"]), [None, 1.0, None]),
        ("numeric", pa.array([-9, 1, -9]), [None, 1.0, None]),
        ("numeric", pa.array([-9.0, 1.0, float("nan")]), [None, 1.0, None]),
        ("numeric", pa.array([-9, 1, -9]).dictionary_encode(), [None, 1.0, None]),
        ("numeric", pa.array([Decimal("-9.00"), Decimal(1)]), [None, 1.0]),
        (
            "datetime",
            pa.array(["1900-01-01", "1900-01-01T00:00Z", "1970-01-02"]),
            [None, None, 86400],
        ),
        ("datetime", pa.array([date(1900, 1, 1), date(1970, 1, 2)]), [None, 86400]),
        ("boolean", pa.array(["-", "true", "0"]), [None, True, False]),
        ("boolean", pa.array([None, 1.0, 0.0]), [None, True, False]),
        ("boolean", pa.array([None, Decimal(1), Decimal(0)]), [None, True, False]),
    ],
)
def test_a_missing_value_is_one_in_every_type(
    kind: FeatureKind, values: pa.Array, expected: list[Any]
) -> None:
    missing = ("-9", "1900-01-01", "-")

    assert feature_column(pa.chunked_array([values]), "x", kind, missing, 1).to_pylist() == expected


def test_a_word_for_missing_values_is_missing_in_a_boolean_column_too() -> None:
    column_ = pa.chunked_array([pa.array([True, False, None])])

    assert feature_column(column_, "x", "boolean", ("False",), 1).to_pylist() == [True, False, None]
    assert feature_column(column_, "x", "boolean", ("false",), 1).to_pylist() == [True, None, None]


@given(st.decimals(-10_000, 10_000, places=2))
def test_a_decimal_is_the_number_of_its_text(value: Decimal) -> None:
    """Arrow's own cast is off by the last digit for every seventh amount of money."""
    assert feature([value], "numeric", pa.decimal128(10, 2)) == [float(str(value))]


def test_all_missing_columns_are_named_at_once() -> None:
    table = pa.table({"Sign up": [1], "y": [1]})

    with pytest.raises(InputError) as up:
        require_columns(table, ["sign_up", "y", "zip"], "d.csv")
    assert up.value.message == "d.csv has no columns 'sign_up', 'zip'"
    assert up.value.hints == (
        "did you mean 'Sign up' for 'sign_up'?",
        "its columns: 'Sign up', 'y'",
    )


def test_dictionary_columns_are_the_text_they_stand_for() -> None:
    encoded = column(["b", "a", None, "b"]).dictionary_encode()

    assert as_text(encoded, "id").to_pylist() == ["b", "a", None, "b"]


def test_a_float_that_is_no_number_is_a_missing_id() -> None:
    found = as_text(column([7.0, float("nan"), None], pa.float64()), "id")

    assert found.to_pylist() == ["7.0", None, None]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([b"a"], pa.binary()),
        ([[1]], pa.list_(pa.int64())),
        ([{"a": 1}], pa.struct([("a", "int8")])),
    ],
)
def test_other_types_are_refused(values: list[Any], kind: pa.DataType) -> None:
    with pytest.raises(InputError, match="column 'id' has type .* neither a number nor text"):
        as_text(column(values, kind), "id")


@pytest.mark.parametrize(
    "values",
    [
        [["1", "-2.5", "1e3", " 4 ", "+5", ".5"]],
        [["1", "?", "", "NA", "nan"], pa.string()],
        [[1, None], pa.int64()],
        [[1.5, float("nan"), None], pa.float64()],
        [[Decimal("1.50")], pa.decimal128(5, 2)],
        [[True, False, None], pa.bool_()],
    ],
)
def test_numbers_however_they_were_stored(values: list[Any]) -> None:
    expected: dict[str, float | None] = {"?": None, "": None, "NA": None, "nan": None}

    found = feature(values[0], "numeric", *values[1:])

    for value, number in zip(values[0], found, strict=True):
        if value is None or value != value:  # noqa: PLR0124 - the NaN test itself
            assert number is None
        elif value in expected:
            assert number == expected[value]
        else:
            assert number == float(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_from_its_shortest_text(value: float) -> None:
    assert feature([repr(value)], "numeric") == [value]


def test_forms_of_numbers_that_only_python_reads() -> None:
    assert feature(["+1", "2"], "numeric") == [1.0, 2.0]
    with pytest.raises(InputError, match=r"a value is not a number \(data row 2\)"):
        feature(["+1", "1_000"], "numeric")


@pytest.mark.parametrize(
    ("values", "kind", "arrow"),
    [
        (["true", "False", " T ", "yes", "N", "1", "0"], "boolean", None),
        ([True, False, True, True, False, True, False], "boolean", pa.bool_()),
        ([1, 0, 1, 1, 0, 1, 0], "boolean", pa.int64()),
    ],
)
def test_booleans_however_they_were_stored(
    values: list[Any], kind: FeatureKind, arrow: pa.DataType | None
) -> None:
    assert feature(values, kind, arrow) == [True, False, True, True, False, True, False]


def test_missing_values_of_each_kind() -> None:
    for kind in ("numeric", "boolean", "categorical"):
        assert feature([None, *DEFAULT_MISSING, " NA "], kind) == [None] * 10


def test_categories_are_kept_as_written() -> None:
    assert feature([" a", "A", "a\tb", "1.0"], "categorical") == [" a", "A", "a\tb", "1.0"]
    assert feature([1, 2], "categorical", pa.int64()) == ["1", "2"]


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (["1", SECRET, "3"], "numeric", r"a value is not a number \(data row 12\)"),
        (["1", "2", "1e999"], "numeric", r"not a finite number \(data row 13\)"),
        (["1", "-inf"], "numeric", r"not a finite number \(data row 12\)"),
        (["true", "2", SECRET], "boolean", r"neither true nor false \(data row 12\)"),
    ],
)
def test_a_value_of_another_kind_is_named_by_its_row_alone(
    values: list[str], kind: FeatureKind, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        feature_column(column(values), "x", kind, DEFAULT_MISSING, 11)

    assert SECRET not in caught.value.message
    assert "'x'" in caught.value.message


def test_an_infinite_number_in_parquet_is_refused() -> None:
    with pytest.raises(InputError, match=r"not a finite number \(data row 2\)"):
        feature([1.0, float("inf")], "numeric", pa.float64())


def test_targets_are_from_the_pinned_list() -> None:
    dataset = make_params().dataset
    found = target_column(pa.table({"label": ["c1", "c0", "c1"]}), dataset, "data/d.csv", 1)

    assert found.to_pylist() == ["c1", "c0", "c1"]


@pytest.mark.parametrize(
    ("label", "said"),
    [(label, "is not listed") for label in (SECRET, "C1", " c1")]
    + [(label, "is missing") for label in ("", None, " ", "NA", "null")],
)
def test_another_target_is_refused_by_its_row(label: str | None, said: str) -> None:
    dataset = make_params().dataset

    with pytest.raises(InputError, match=rf"a class {said}.*\(data row 32\)") as up:
        target_column(pa.table({"label": ["c1", label]}), dataset, "data/d.csv", 31)

    assert SECRET not in up.value.message


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"data/d\.csv has no column 'label'"):
        target_column(pa.table({"id": ["1"]}), make_params().dataset, "data/d.csv", 1)


def find(*batches: pa.Table, subject: str | None = None) -> SchemaFinder:
    finder = SchemaFinder("id", "label", subject)
    for batch in batches:
        finder.see(batch, "data/d.csv")
    return finder


def table(**columns: Sequence[Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"id": [str(row) for row in range(rows)], **columns, "label": ["a"] * rows})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5", "?", ""], "numeric"),
        (["0", "1"], "numeric"),
        (["-7", "1e3"], "numeric"),
        (["true", "False", ""], "boolean"),
        (["yes", "No", ""], "boolean"),
        (["yes", "no", "perhaps"], "categorical"),
        (["1", "a"], "categorical"),
        (["inf", "1"], "categorical"),
        (["", "?"], "categorical"),
        ([1, None], "numeric"),
        ([1.5, float("nan")], "numeric"),
        ([True, None], "boolean"),
    ],
)
def test_kinds_are_found_in_the_values(values: list[Any], kind: str) -> None:
    assert find(table(x=values)).features == {"x": kind}


def test_a_later_batch_can_widen_a_kind() -> None:
    finder = find(table(x=["1"], y=["true"], z=[""]), table(x=["b"], y=["false"], z=["2"]))

    assert finder.features == {"x": "categorical", "y": "boolean", "z": "numeric"}
    assert finder.rows == 2


def test_id_target_and_subject_are_no_features() -> None:
    finder = find(table(who=["p", "q"], x=["1", "2"]), subject="who")

    assert finder.features == {"x": "numeric"}


def test_classes_that_are_numbers_are_in_their_order() -> None:
    def labels(values: list[Any]) -> list[str]:
        return find(pa.table({"id": values, "x": values, "label": values})).classes

    assert labels(["10", "9", "9", "-1"]) == ["-1", "9", "10"]
    assert labels([10, 9, -1]) == ["-1", "9", "10"]
    assert labels(["10", "9", "b"]) == ["10", "9", "b"]
    assert labels([True, False]) == ["false", "true"]


@pytest.mark.parametrize("label", [None, ""])
def test_rows_without_a_class_are_refused(label: str | None) -> None:
    with pytest.raises(InputError, match="column 'label': 1 row without a class: .*row 2"):
        _ = find(pa.table({"id": ["1", "2"], "x": ["1", "2"], "label": ["a", label]})).classes


def test_a_missing_column_is_named_with_those_that_there_are() -> None:
    with pytest.raises(InputError) as caught:
        require_column(pa.table({"person_id": ["1"], "x": ["1"]}), "personid", "d.csv")
    assert caught.value.hints == ("did you mean 'person_id'?", "its columns: 'person_id', 'x'")
    with pytest.raises(InputError) as caught:
        require_column(pa.table({"id;x;y": ["1;2;3"]}), "id", "d.csv")
    assert caught.value.hints[-1] == "one column only: is the delimiter a semicolon?"


def test_a_target_with_a_value_for_every_row_is_no_class() -> None:
    many = [f"c{number}" for number in range(MAX_CLASSES + 1)]

    with pytest.raises(InputError, match="a classifier's target has few"):
        find(pa.table({"id": many, "x": many, "label": many}))


@pytest.mark.parametrize("column_name", ["id", "label", "who"])
def test_a_column_that_was_asked_for_has_to_be_there(column_name: str) -> None:
    whole = table(who=["p"], x=["1"])

    with pytest.raises(InputError, match=f"has no column '{column_name}'"):
        find(whole.drop_columns([column_name]), subject="who")


def test_free_text_is_pointed_out() -> None:
    few = [f"c{number % MANY_CATEGORIES}" for number in range(300)]
    many = [f"c{number}" for number in range(300)]

    assert find(table(x=few)).many_categories == []
    assert find(table(x=many, y=few)).many_categories == ["x"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(f"{SECRET}\n", "has a line end"), ("é" * 201, "has more than 200 characters")],
)
def test_text_in_a_later_file_is_no_category(value: str, said: str) -> None:
    dataset = make_params(features={"city": "categorical"}).dataset
    place = {b"unlearn.file": b"d/part-2.jsonl", b"unlearn.row": b"1"}
    batch = pa.table({"city": ["é" * 200, None, value]}).replace_schema_metadata(place)

    with pytest.raises(InputError) as caught:
        feature_columns(batch, dataset, "d", 501)

    assert caught.value.message == (
        f"d/part-2.jsonl: column 'city' is categorical: a value {said} (data row 3)"
    )


@given(
    st.lists(st.sampled_from(["1", "-7", "2.5", "1e3", "-999", "-999.0", " 3", "nan", "0x1"])),
    st.sets(st.sampled_from(["-999", "3", "nan", "1000", "2.50"])),
)
def test_numbers_alone_are_those_beside_a_missing_value(texts: list[str], named: set[str]) -> None:
    # With a missing value in it, a column is not read as a whole.
    def read(values: list[str]) -> list[float | None] | str:
        values_of_x = column(values, pa.string())
        try:
            found = feature_column(values_of_x, "x", "numeric", ["", *named], 1)
        except InputError as error:
            return error.message
        return list(found.to_pylist())

    beside = read([*texts, ""])

    assert read(texts) == (beside if isinstance(beside, str) else beside[:-1])
