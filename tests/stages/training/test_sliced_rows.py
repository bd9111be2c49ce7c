"""Rows by slice, and the steps of each slice: both follow from the rows alone."""

import math

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.rows.shard_file import governing_tokens
from unlearn.stages.rows.tokens import place
from unlearn.stages.training.sliced_rows import by_slice, step_totals

from tests.stages.conftest import (
    make_rows,
)

SLICES = 4
ROWS = make_rows(60)


def slice_of(token: str) -> int:
    return place(token, 1, SLICES, 0.0).slice


sizes = st.lists(st.integers(0, 500), min_size=1, max_size=8)
budgets = st.integers(1, 50), st.integers(1, 64)


@given(sizes, *budgets)
def test_steps_follow_the_formula(rows: list[int], epochs: int, batch: int) -> None:
    totals = step_totals(rows, epochs, batch)
    steps = [after - before for before, after in zip([0, *totals], totals, strict=False)]

    union = 0
    for number in range(len(rows)):
        union += sum(rows[: number + 1])
        formula = -(-2 * epochs * union // ((len(rows) + 1) * batch))
        least = sum(1 for size in rows[: number + 1] if size)
        assert totals[number] >= formula
        # The least of a step a slice is all that it may exceed the formula by.
        assert totals[number] <= max(formula, 0) + least
    assert all(taken >= (1 if size else 0) for taken, size in zip(steps, rows, strict=True))


@given(st.integers(1, 5000), *budgets)
def test_one_slice_takes_the_epochs_and_no_step_more(rows: int, epochs: int, batch: int) -> None:
    assert step_totals([rows], epochs, batch) == [math.ceil(epochs * rows / batch)]


def test_slices_of_equal_size_cost_the_epochs_of_the_whole() -> None:
    # Bourtoule et al. 2021, section V-B: 2e/(R+1) epochs a slice.
    assert step_totals([320] * 4, epochs=10, batch=32) == [40, 120, 240, 400]
    assert step_totals([0, 0], epochs=10, batch=32) == [0, 0]
    assert step_totals([1, 1, 1], epochs=1, batch=64) == [1, 2, 3]
    assert step_totals([0, 10, 0], epochs=2, batch=10) == [0, 1, 2]


@given(sizes, *budgets)
@example([5, 0], 3, 2)
def test_empty_slices_take_no_step_where_they_are_skipped(
    rows: list[int], epochs: int, batch: int
) -> None:
    totals = step_totals(rows, epochs, batch, skips_empty=True)
    for size, before, total in zip(rows, [0, *totals], totals, strict=False):
        assert (total > before) == (size > 0)
    # Slices that are empty at the end change nothing of what was trained before.
    assert step_totals([*rows[:-1], 0], epochs, batch, skips_empty=True)[:-1] == totals[:-1]
    if all(rows):
        assert totals == step_totals(rows, epochs, batch)


@given(sizes, st.data(), *budgets)
def test_a_later_slice_changes_no_earlier_budget(
    rows: list[int], data: st.DataObject, epochs: int, batch: int
) -> None:
    number = data.draw(st.integers(0, len(rows) - 1))
    other = [*rows]
    other[number] += 1

    assert step_totals(rows, epochs, batch)[:number] == step_totals(other, epochs, batch)[:number]


@pytest.mark.parametrize("subjects", [0, 9])
def test_rows_are_sorted_into_their_slices_and_keep_their_order(subjects: int) -> None:
    rows = make_rows(60, subjects=subjects)
    sliced = by_slice(rows, SLICES)

    assert sum(sliced.sizes) == sliced.rows.num_rows == sliced.ends[-1] == 60
    for number in range(1, SLICES + 1):
        part = sliced.slice_rows(number)
        wanted = [slice_of(token) == number for token in governing_tokens(rows)]
        assert part.equals(rows.filter(pa.array(wanted)).combine_chunks())
        assert part.num_rows == sliced.sizes[number - 1]


def test_one_slice_holds_the_rows_as_the_file_has_them() -> None:
    assert by_slice(ROWS, 1).rows.equals(ROWS)
    assert by_slice(ROWS.slice(0, 0), 3).sizes == (0, 0, 0)
