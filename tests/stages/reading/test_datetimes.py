"""Dates and times as numbers: the same ones from text and from every type."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.dataset import DateFormat
from unlearn.stages.errors import InputError
from unlearn.stages.reading.datetimes import date_kind, seconds_of_text, text_of_seconds
from unlearn.stages.rows.schema import feature_column

SECRET = "jane.roe"

NOON = 1_706_702_400.0  # `date -u -d '2024-01-31 12:00' +%s`


def column(values: pa.Array) -> list[float | None]:
    typed = feature_column(pa.chunked_array([values]), "x", "datetime", ("", "-"), 1)
    assert typed.type == pa.float64()
    found: list[float | None] = typed.to_pylist()
    return found


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31T12:00",
        "2024-01-31 12:00:00",
        " 2024-01-31T12:00:00.000000 ",
        "2024-01-31T12:00:00Z",
        "2024-01-31T14:00:00+02:00",
        "2024-01-31T06:30:00-0530",
        "2024-01-31 12:00:00.000000001",
    ],
)
def test_text_is_seconds_since_1970(text: str) -> None:
    assert column(pa.array([text, None, "", "-"])) == [NOON, None, None, None]


def test_every_type_has_the_seconds_of_its_text() -> None:
    naive = dt.datetime(2024, 1, 31, 12)  # noqa: DTZ001 - as files without a zone have it
    day = dt.date(2024, 1, 31)
    for unit in ("s", "ms", "us", "ns"):
        assert column(pa.array([naive, None], pa.timestamp(unit))) == [NOON, None]
        zoned = pa.array([naive, None], pa.timestamp(unit, "UTC")).cast(
            pa.timestamp(unit, "Asia/Tokyo")
        )
        assert column(zoned) == [NOON, None]
        lasting = pa.array([dt.timedelta(minutes=1), None], pa.duration(unit))
        assert column(lasting) == [60.0, None]
    for kind in (pa.date32(), pa.date64()):
        assert column(pa.array([day, None], kind)) == [NOON - 43_200, None]
        assert column(pa.array([dt.date(1969, 12, 31)], kind)) == [-86_400]
    for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")):
        assert column(pa.array([dt.time(1, 0, 30), None], kind)) == [3_630.0, None]
    assert column(pa.array([naive], pa.timestamp("us")).dictionary_encode().cast(pa.string())) == [
        NOON
    ]


def test_nanoseconds_before_1970_are_read_as_their_text() -> None:
    text = "1969-12-31 23:59:59.999999999"

    assert column(pa.array([-1], pa.timestamp("ns"))) == column(pa.array([text])) == [-1e-06]


@given(st.datetimes().map(lambda value: value.replace(microsecond=0)))
def test_seconds_written_as_text_are_read_as_the_same(value: dt.datetime) -> None:
    seconds = seconds_of_text(value.isoformat())

    assert seconds is not None
    if value < dt.datetime(9999, 12, 31):  # noqa: DTZ001 - all of them are UTC here
        assert text_of_seconds(seconds) == value.isoformat()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_of_seconds_has_a_text(seconds: float) -> None:
    assert seconds_of_text(text_of_seconds(seconds)) is not None


@pytest.mark.parametrize("text", [SECRET, "31.01.2024", "2024-02-30", "12:00", "20240131", "1"])
def test_other_text_is_refused_with_its_row(text: str) -> None:
    with pytest.raises(InputError, match=r"not one in ISO 8601 \(data row 2\)") as caught:
        column(pa.array(["2024-01-31", text]))
    assert text == "1" or text not in caught.value.message


@pytest.mark.parametrize(
    ("text", "form", "seconds"),
    [
        ("31/01/2024", "day_first", NOON - 43_200),
        ("31.1.2024 12:00", "day_first", NOON),
        ("01/31/2024", "month_first", NOON - 43_200),
        ("1-31-2024 12:00:00.5", "month_first", NOON + 0.5),
        ("2024/1/31", "year_first", NOON - 43_200),
        ("2024-1-31 12:00", "year_first", NOON),
        ("2024-01-31", "year_first", NOON - 43_200),  # ISO 8601 too
        ("12:30", "time", 45_000.0),
        ("9:30:15.25", "time", 34_215.25),
    ],
)
def test_other_formats_are_read_where_they_are_pinned(
    text: str, form: DateFormat, seconds: float
) -> None:
    values = pa.chunked_array([pa.array([f" {text}", None])])
    assert feature_column(values, "x", "datetime", [], 1, form).to_pylist() == [seconds, None]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("01/31/2024", "day_first"),
        ("31/01/2024", "month_first"),
        ("30/02/2024", "day_first"),
        ("1/2-2024", "day_first"),
        ("1/2/24", "day_first"),
        ("2024-01-31", "day_first"),
        ("24:00", "time"),
        ("12:60", "time"),
        (SECRET, "year_first"),
    ],
)
def test_text_of_another_format_is_refused_with_its_row(text: str, form: DateFormat) -> None:
    with pytest.raises(InputError, match=r"a value is not one .*\(data row 1\)") as caught:
        feature_column(pa.chunked_array([pa.array([text])]), "x", "datetime", [], 1, form)
    assert text not in caught.value.message


@given(st.datetimes(min_value=dt.datetime(1000, 1, 1)))  # noqa: DTZ001 - all of them are UTC here
def test_a_date_is_read_in_two_ways_only_if_both_are_dates(value: dt.datetime) -> None:
    expected = "either_first" if value.day <= 12 else "day_first"

    assert date_kind(f"{value:%d/%m/%Y}") == expected
    assert date_kind(f"{value:%m.%d.%Y %H:%M}") == expected.replace("day", "month")
    assert date_kind(f"{value:%Y/%m/%d}") == "year_first"
    assert date_kind(f"{value:%H:%M:%S}") == "time"
    iso = seconds_of_text(f"{value:%Y-%m-%d}")
    assert iso == seconds_of_text(f"{value:%d/%m/%Y}", "day_first")
    assert iso == seconds_of_text(f"{value:%m/%d/%Y}", "month_first")
