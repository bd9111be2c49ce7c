"""Columns to numbers: fitted on some rows, and the same function of any others ever after."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.config.train import PreprocessingParams
from unlearn.stages.estimators.hashed_text import hashed
from unlearn.stages.estimators.preprocessing import (
    Preprocessor,
    fit_preprocessor,
    native_preprocessor,
)

from tests.stages.conftest import FEATURES, layout_of, make_rows


def column(kind: FeatureKind, values: list[Any]) -> pa.Table:
    return pa.table({"x": pa.array(values, layout_of({"x": kind}).schema.field("x").type)})


def transformed(
    kind: FeatureKind, fitted_on: list[Any], values: list[Any], **params: Any
) -> list[list[float]]:
    settings = PreprocessingParams.model_validate(params)
    preprocessor = fit_preprocessor(column(kind, fitted_on), layout_of({"x": kind}), settings)
    found = preprocessor.transform(column(kind, values), np.float64).tolist()
    assert isinstance(found, list)
    assert all(len(row) == preprocessor.width for row in found)
    return found


def test_categories_have_a_bucket_each_and_one_for_unknown_and_one_for_missing() -> None:
    found = transformed("categorical", ["b", "a", None, "b"], ["a", "b", "c", None, ""])

    assert found == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_categories_that_were_all_missing_leave_the_two_buckets() -> None:
    assert transformed("categorical", [None, None], ["a", None]) == [[1, 0], [0, 1]]


def test_pinned_categories_are_those_of_any_rows() -> None:
    layout = layout_of({"x": "categorical"}, {"x": ["b", "a"]})
    fitted = [
        fit_preprocessor(column("categorical", values), layout, PreprocessingParams())
        for values in (["a", "jane.roe"], ["jane.roe", None])
    ]

    assert fitted[0] == fitted[1]
    assert "jane.roe" not in json.dumps(fitted[0].as_json())
    rows = column("categorical", ["a", "b", "jane.roe", None])
    assert fitted[0].transform(rows, np.float64).tolist() == [
        [0, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_booleans_are_zero_and_one_and_a_missing_one_the_more_frequent() -> None:
    assert transformed("boolean", [True, True, False], [True, False, None]) == [[1], [0], [1]]
    assert transformed("boolean", [True, False, False], [None]) == [[0]]
    assert transformed("boolean", [True, False], [None]) == [[1]]
    assert transformed("boolean", [None], [None, True]) == [[0], [1]]


@pytest.mark.parametrize(("impute", "fill"), [("median", 2.0), ("mean", 11 / 3), ("zero", 0.0)])
def test_missing_numbers_are_filled_from_the_rows_of_the_fit(impute: str, fill: float) -> None:
    found = transformed("numeric", [1, 2, 8, None], [None, 5], scale="none", impute=impute)

    assert found == [[fill], [5]]


def test_scaling_is_scikit_learns() -> None:
    values = [1.0, 2.0, 8.0, -3.0]
    scaler = StandardScaler().fit(np.array(values)[:, None])
    expected = scaler.transform(np.array([[7.0], [1.0]]))

    assert np.allclose(transformed("numeric", values, [7, 1]), expected, rtol=1e-15)


def test_scaling_with_missing_values_is_scikit_learns_too() -> None:
    values = [1.0, math.nan, 8.0, -3.0]
    filled = SimpleImputer(strategy="median").fit(np.array(values)[:, None])
    scaler = StandardScaler().fit(np.array(values)[:, None])  # it leaves NaN out
    expected = scaler.transform(filled.transform([[math.nan], [4.0]]))

    given_values = [None if math.isnan(value) else value for value in values]
    assert np.allclose(transformed("numeric", given_values, [None, 4]), expected, rtol=1e-15)


@pytest.mark.parametrize("fitted_on", [[5.0, 5.0], [5.0], [None], [None, None]])
def test_a_column_that_does_not_vary_is_not_divided_by_zero(fitted_on: list[float | None]) -> None:
    found = np.array(transformed("numeric", fitted_on, [5, 6, None]))

    assert np.isfinite(found).all()
    assert found[1] - found[0] == 1


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_numbers_too_large_to_square_are_left_as_they_are() -> None:
    found = np.array(transformed("numeric", [1e200, -1e200], [1e200, 0]))

    assert np.isfinite(found).all()


def test_columns_stand_in_the_order_of_the_features() -> None:
    rows = make_rows(20)
    preprocessor = fit_preprocessor(rows, layout_of(FEATURES), PreprocessingParams())
    found = preprocessor.transform(rows, np.float64)

    assert list(preprocessor.columns) == list(FEATURES)
    assert preprocessor.width == found.shape[1] == 1 + 1 + 1 + (3 + 2)
    assert set(np.unique(found[:, 2])) == {0.0, 1.0}
    assert (found[:, 3:].sum(axis=1) == 1).all()


def test_a_row_is_transformed_alike_whatever_stands_beside_it() -> None:
    rows = make_rows(40)
    preprocessor = fit_preprocessor(rows.slice(0, 10), layout_of(FEATURES), PreprocessingParams())
    whole = preprocessor.transform(rows, np.float64)

    for start in (0, 13, 39):
        part = preprocessor.transform(rows.slice(start, 1), np.float64)
        assert np.array_equal(part[0], whole[start])
    assert preprocessor.transform(rows.slice(0, 0), np.float32).shape == (0, preprocessor.width)


@given(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1),
    st.sampled_from(["standard", "none"]),
    st.sampled_from(["median", "mean", "zero"]),
)
def test_what_was_fitted_survives_json(values: list[float | None], scale: str, impute: str) -> None:
    table = column("numeric", values)
    settings = PreprocessingParams.model_validate({"scale": scale, "impute": impute})
    preprocessor = fit_preprocessor(table, layout_of({"x": "numeric"}), settings)
    again = Preprocessor.from_json(json.loads(json.dumps(preprocessor.as_json())))

    assert again.columns == preprocessor.columns
    found, expected = (each.transform(table, np.float64) for each in (again, preprocessor))
    assert np.array_equal(found, expected)
    assert np.isfinite(found).all()


#: A Thursday in January, and a Monday in March.
THURSDAY, MONDAY = 0.0, (31 + 28 + 8) * 86_400.0


def test_a_calendar_date_is_a_number_a_weekday_and_a_month() -> None:
    found = np.array(
        transformed("calendar", [THURSDAY, MONDAY], [MONDAY, None], scale="none", impute="zero")
    )

    assert found.shape == (2, 1 + 7 + 12)
    assert found[0].tolist() == [MONDAY, *[1, 0, 0, 0, 0, 0, 0], *[0, 0, 1], *[0] * 9]
    assert found[1].tolist() == [0.0] * 20


@pytest.mark.parametrize(("scale", "small"), [("none", 0.0), ("standard", -1.0)])
def test_ordinal_values_are_their_places_in_the_list(scale: str, small: float) -> None:
    layout = layout_of({"x": "ordinal"}, {"x": ["small", "medium", "large"]})
    settings = PreprocessingParams.model_validate({"scale": scale, "impute": "mean"})
    rows = column("ordinal", ["large", "small", "large", "small"])
    preprocessor = fit_preprocessor(rows, layout, settings)
    found = preprocessor.transform(column("ordinal", ["small", "medium", None]), np.float64)

    assert found.tolist() == [[small], [small + 1], [small + 1]]


def test_hashed_text_has_as_many_columns_as_are_pinned_and_learns_nothing() -> None:
    layout = layout_of({"x": "hashed_text"}, hashed_columns={"x": 5})
    fitted = [
        fit_preprocessor(column("hashed_text", texts), layout, PreprocessingParams())
        for texts in (["knee pain"], ["fever", None])
    ]

    assert fitted[0] == fitted[1]
    assert fitted[0].width == 5
    texts = column("hashed_text", ["fever", None])
    assert np.array_equal(fitted[0].transform(texts, np.float64), hashed(texts["x"], 5))


def test_scaling_is_what_turns_unscaled_columns_into_scaled_ones() -> None:
    layout = layout_of(
        {"n": "numeric", "c": "categorical", "d": "calendar", "b": "boolean", "o": "ordinal"},
        {"o": ["x", "y", "z"]},
    )
    rows = pa.table(
        {
            "n": [3.0, 8.0, 1.0],
            "c": ["x", "y", "y"],
            "d": [THURSDAY, MONDAY, MONDAY],
            "b": [True, False, True],
            "o": ["z", "x", "y"],
        }
    )
    plain, scaled = (
        fit_preprocessor(rows, layout, PreprocessingParams(scale=scale))
        for scale in ("none", "standard")
    )

    shifts, scales = scaled.scaling

    expected = (plain.transform(rows, np.float64) - shifts) / scales
    assert np.array_equal(scaled.transform(rows, np.float64), expected)
    assert plain.scaling[0].tolist() == [0.0] * plain.width


def test_models_that_read_values_as_they_are_get_codes_and_no_scales() -> None:
    layout = layout_of(
        {
            "n": "numeric",
            "b": "boolean",
            "c": "categorical",
            "o": "ordinal",
            "d": "calendar",
            "t": "hashed_text",
        },
        {"o": ["small", "large"], "c": ["x", "y"]},
        {"t": 2},
    )
    rows = pa.table(
        {
            "n": [3.5, None, 1.0],
            "b": pa.array([True, None, False]),
            "c": ["y", None, "other"],
            "o": ["large", None, "small"],
            "d": [THURSDAY, None, MONDAY],
            "t": pa.array(["", None, ""], pa.string()),
        }
    )
    preprocessor = native_preprocessor(rows, layout)
    nothing = float("nan")

    found = preprocessor.transform(rows, np.float64)

    expected = [
        [3.5, 1, 1, 1, THURSDAY, 3, 0, 0, 0],
        [nothing] * 7 + [0, 0],
        [1, 0, 2, 0, MONDAY, 0, 2, 0, 0],
    ]
    assert np.array_equal(found, expected, equal_nan=True)
    assert preprocessor.categories == (0, 0, 3, 0, 0, 7, 12, 0, 0)
    assert native_preprocessor(rows.select(["n"]), layout_of({"n": "numeric"})).categories == ()
