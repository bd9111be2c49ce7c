"""Values as a person reads them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.report import formatting


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.5, "50.0%"),
        (0.0123, "1.2%"),
        (0.0031, "0.31%"),
        (0.00001, "under 0.01%"),
        (0.99999, "99.9%"),
        (None, "not measured"),
        (math.nan, "not measured"),
        (math.inf, "not measured"),
        (True, "not measured"),
        ("0.5", "not measured"),
    ],
)
def test_a_share_is_a_percentage_that_never_rounds_to_all_or_nothing(
    share: object, said: str
) -> None:
    assert formatting.percent(share) == said


@pytest.mark.parametrize(
    "value", [None, [], [0.1], [0.1, None], [0.1, math.nan], "ab", {"low": 1}, [1, 2, 3], 0.5]
)
def test_what_is_no_interval_is_missing(value: object) -> None:
    assert formatting.interval(value) is None
    assert formatting.between(value) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("a\u202eb", "a<U+202E>b"),
        ("a\u2066b\u2069", "a<U+2066>b<U+2069>"),
        ("a\nb\0c", "a<U+000A>b<U+0000>c"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("u1_" + "0" * 64, "(a token)"),
        ("s001: u1_" + "ab" * 32 + ".u1_" + "cd" * 32, "s001: (a token).(a token)"),
    ],
)
def test_names_cannot_turn_the_text_around_them_nor_tell_a_token(text: str, said: str) -> None:
    assert formatting.plain(text) == said


@given(st.text(max_size=400), st.integers(min_value=8, max_value=100))
def test_no_name_is_longer_than_asked_and_short_ones_stay(text: str, longest: int) -> None:
    said = formatting.plain(text, longest)

    assert len(said) <= longest
    assert "\n" not in said
    if text.isalnum() and text.isascii() and len(text) <= longest:
        assert said == text


def test_two_long_names_are_told_apart_by_their_ends() -> None:
    one, other = ("x" * 300 + end for end in ("one", "two"))

    assert formatting.plain(one) != formatting.plain(other)


@pytest.mark.parametrize(
    ("shards", "said"),
    [
        ([], ""),
        (["s000"], "s000"),
        (["s000", "s001"], "s000, s001"),
        (["s000", "s001", "s002", "s009"], "s000 to s002, s009"),
        (["s098", "s099", "s100"], "s098 to s100"),
    ],
)
def test_runs_of_shards_are_drawn_together(shards: list[str], said: str) -> None:
    assert formatting.ranges(shards) == said


def test_wilson_intervals_are_the_published_ones() -> None:
    """Eight of ten: .490 to .943 (Newcombe 1998, method 3, by hand)."""
    assert formatting.wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)
    assert formatting.wilson(1.0, 5) == pytest.approx((0.566, 1.0), abs=5e-4)
    assert formatting.wilson(0.8, 0) is None
    assert formatting.wilson(None, 10) is None
    assert formatting.wilson(1.4, 10) is None


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_a_share_lies_in_its_interval(share: float, rows: int) -> None:
    ends = formatting.wilson(share, rows)

    assert ends is not None
    assert 0 <= ends[0] <= share + 1e-12
    assert share - 1e-12 <= ends[1] <= 1


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", None, "9999-12-31T23:59:59-12:00"])
def test_what_is_no_time_is_none(text: object) -> None:
    assert formatting.moment(text) is None


def test_times_are_told_in_utc() -> None:
    found = formatting.moment("2026-05-03T01:30:00+03:00")

    assert found is not None
    assert formatting.day(found) == "2 May 2026"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.01, "under 0.1 seconds"),
        (4.21, "4.2 seconds"),
        (90, "90.0 seconds"),
        (600, "10.0 minutes"),
        (9000, "2.5 hours"),
        (400_000, "4.6 days"),
        (None, "not known"),
    ],
)
def test_seconds_come_in_the_unit_that_fits(seconds: object, said: str) -> None:
    assert formatting.duration(seconds) == said
