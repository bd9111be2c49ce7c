"""Grids do not follow from single rows, and codes follow from one row alone."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.estimators.hashed_text import column_of
from unlearn.stages.estimators.row_sets.code_columns import (
    BINS,
    BUCKETS,
    CategoricalColumn,
    HashedColumn,
    NumericColumn,
)
from unlearn.stages.estimators.row_sets.grids import check_columns, find_ends, make_grid, two_digits
from unlearn.stages.estimators.row_sets.preprocessing import CodePreprocessor

from tests.stages.conftest import layout_of
from tests.stages.estimators.row_sets.laws import KEY


def test_bins_are_even_between_the_ends() -> None:
    column = NumericColumn(-1.0, 3.0)
    values = np.array([-np.inf, -5, -1, -1 + 4.5 / BINS, 1, 3 - 1e-9, 3, 7e300, np.inf, np.nan])
    expected = [1, 1, 1, 2, BINS // 2 + 1, BINS, BINS, BINS, BINS, 0]
    assert column.encode(values).tolist() == expected


def test_categories_have_codes() -> None:
    column = CategoricalColumn(("b", "a"))
    values = pa.chunked_array([["a", None], ["zz", "b"]])
    assert column.encode(values).tolist() == [2, 0, 3, 1]
    assert column.codes == 4


def test_categories_that_are_not_pinned_have_codes_by_their_text_alone() -> None:
    column = HashedColumn("00" * 32)
    one = column.encode(pa.chunked_array([["x", None, "y", "x"]]))
    assert one[1] == 0
    assert one[0] == one[3] == column.encode(pa.chunked_array([["x"]]))[0]
    many = pa.chunked_array([[str(at) for at in range(2000)]])
    assert set(column.encode(many).tolist()) == set(range(1, BUCKETS + 1))
    assert not np.array_equal(column.encode(many), HashedColumn("01" * 32).encode(many))
    assert column.encode(pa.chunked_array([pa.array([], pa.string())])).tolist() == []


def test_a_table_is_encoded_column_by_column() -> None:
    rows = pa.table(
        {
            "age": pa.array([0.0, None, 10.0]),
            "color": pa.array(["red", None, "blue"]),
            "member": pa.array([True, None, False]),
            "city": pa.array(["a", None, "b"]),
        }
    )
    kinds = {
        "age": "numeric",
        "color": "categorical",
        "member": "boolean",
        "city": "categorical",
    }
    grid = make_grid(layout_of(kinds, {"color": ["blue", "red"]}), {"age": (0.0, 10.0)}, KEY)
    column = grid.columns["city"]
    assert isinstance(column, HashedColumn)
    city = column.encode(rows["city"])
    assert city[1] == 0
    expected = [[1, 2, 2, city[0]], [0, 0, 0, 0], [BINS, 1, 1, city[2]]]
    assert grid.encode(rows).tolist() == expected
    assert grid.sizes == (4096, 4, 4, BUCKETS + 1)
    assert grid.categorical == (False, True, True, True)


def test_codes_of_dates_orders_and_words() -> None:
    layout = layout_of(
        {"day": "calendar", "size": "ordinal", "note": "hashed_text"},
        {"size": ["small", "large"]},
        {"note": 7},
    )
    day = 86_400.0
    rows = pa.table(
        {
            "day": pa.array([0.0, None, 31 * day]),  # a Thursday, and a Sunday in February
            "size": pa.array(["large", None, "small"]),
            "note": pa.array(["knee pain", None, ""]),
        }
    )
    grid = make_grid(layout, {"day": (0.0, 31 * day)}, KEY)
    known = {column_of(word, 7)[0] for word in ("knee", "pain")}
    words = [2 if at in known else 1 for at in range(7)]

    assert grid.encode(rows).tolist() == [
        [1, 4, 1, 2, *words],
        [0, 0, 0, 0, *[0] * 7],
        [BINS, 7, 2, 1, *[1] * 7],
    ]
    assert grid.sizes == (BINS + 1, 8, 13, 3, *[3] * 7)
    assert grid.categorical == (False, True, True, *[False] * 8)
    again = CodePreprocessor.from_json(CodePreprocessor.of_grid(grid, layout.features).as_json())
    assert again.grid == grid
    assert again.transform(rows, np.float64).tolist() == grid.encode(rows).tolist()


def test_a_number_without_ends_has_no_grid() -> None:
    with pytest.raises(ValueError, match="no range is given for 'age'"):
        make_grid(layout_of({"age": "datetime"}), {}, KEY)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=45, max_size=80), at=st.integers(0, 79))
def test_no_end_is_one_of_the_19_least_or_greatest_values(values: list[float], at: int) -> None:
    """What one row is replaced by moves an end no further than the next value in the middle."""
    low, high = find_ends(np.array(values))
    ordered = sorted(values)
    assert low == two_digits(ordered[19])
    assert high == two_digits(ordered[-20]) or two_digits(ordered[-20]) <= low
    for extreme in (-1e9, 1e9):
        other = list(values)
        other[at % len(values)] = extreme
        moved, _ = find_ends(np.array(other))
        assert two_digits(ordered[18]) <= moved <= two_digits(ordered[20])


def test_a_grid_of_few_or_equal_values_is_wide_enough() -> None:
    assert find_ends(np.array([3.0, 250.0])) == (-1000.0, 1000.0)
    assert find_ends(np.array([])) == (-1.0, 1.0)
    assert find_ends(np.zeros(100)) == (0.0, 1.0)
    assert find_ends(np.append(np.zeros(100), 1e9)) == (0.0, 1.0)
    assert find_ends(np.array([0.0])) == (-1.0, 1.0)
    assert find_ends(np.array([2e-7, 3e-7, 4e-7])) == (-1e-5, 1e-5)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=39),
    at=st.integers(0, 38),
    other=st.sampled_from([-1e300, -1.0, 0.0, 1e-300, 1e300]),
)
def test_one_of_few_values_moves_no_end_past_what_its_neighbours_give(
    values: list[float], at: int, other: float
) -> None:
    ordered = sorted(map(abs, values))
    middle = len(values) // 2

    def bound(place: int) -> float:
        return find_ends(np.full(3, ordered[place]))[1]

    assert find_ends(np.array(values)) == (-bound(middle), bound(middle))
    replaced = list(values)
    replaced[at % len(values)] = other
    low, high = find_ends(np.array(replaced))
    assert low == -high
    places = (middle - 1, middle, min(middle + 1, len(values) - 1))
    is_between = ordered[places[0]] <= abs(other) <= ordered[places[-1]]
    assert high in [bound(place) for place in places] or is_between


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
@example([3e306])
@example([-1e308] * 20 + [1e308] * 20)
def test_any_values_have_a_grid(values: list[float]) -> None:
    low, high = find_ends(np.array(values))
    column = NumericColumn(low, high)
    check_columns({"x": column})
    codes = column.encode(np.array(values))
    assert ((codes == 0) == np.isnan(np.array(values))).all()
    assert (codes <= BINS).all()


@pytest.mark.parametrize(
    "column",
    [
        NumericColumn(1.0, 1.0),
        NumericColumn(np.nan, 1.0),
        CategoricalColumn(("a", "a")),
        CategoricalColumn(tuple(map(str, range(BINS)))),
    ],
)
def test_grids_that_make_no_sense_are_refused(column: NumericColumn | CategoricalColumn) -> None:
    with pytest.raises(ValueError, match="grid of 'x'"):
        check_columns({"x": column})
