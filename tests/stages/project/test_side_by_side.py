"""Work in two threads: the results, the errors and their order are those of a loop."""

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.project import side_by_side
from unlearn.stages.project.side_by_side import results_in_order


class ItemsError(Exception):
    """The items failed."""


def items_of(count: int, fails_at: int | None) -> Iterator[int]:
    for number in range(count):
        if number == fails_at:
            raise ItemsError(number)
        yield number


def of_a_loop(count: int, bad: set[int], fails_at: int | None) -> tuple[list[int], str]:
    done = []
    try:
        for number in items_of(count, fails_at):
            if number in bad:
                raise ValueError(number)
            done.append(number * 2)
    except (ValueError, ItemsError) as error:
        return done, repr(error)
    return done, ""


@given(st.integers(0, 9), st.sets(st.integers(0, 9), max_size=2), st.none() | st.integers(0, 9))
def test_results_and_the_first_error_are_those_of_a_loop(
    count: int, bad: set[int], fails_at: int | None
) -> None:
    def double(number: int) -> int:
        time.sleep(0.001 * (number % 3 == 0))  # a later item may be ready before
        if number in bad:
            raise ValueError(number)
        return number * 2

    done, error = [], ""
    try:
        for result in results_in_order(double, items_of(count, fails_at)):
            done.append(result)  # noqa: PERF402 - those before an error count
    except (ValueError, ItemsError) as found:
        error = repr(found)

    assert (done, error) == of_a_loop(count, bad, fails_at)


def test_two_items_are_worked_on_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    meeting = threading.Barrier(2, timeout=20)

    # Each waits for another one.
    assert len([meeting for _ in results_in_order(lambda _: meeting.wait(), range(4))]) == 4


def test_no_more_items_are_taken_than_are_needed() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = results_in_order(lambda number: number, items())
    next(results)

    assert len(taken) <= side_by_side.thread_count() + 1
