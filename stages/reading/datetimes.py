"""Dates and times as numbers: seconds since 1970, in UTC where no zone is given."""

import datetime as dt
import re
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DateFormat

_TIME = r"(?P<hour>\d\d?):(?P<minute>\d\d)(:(?P<second>\d\d)(\.\d{1,9})?)?"

#: A date, or a date with a time of day, as ISO 8601 writes them.
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)

#: The other ways to write dates and times that are read, each with one separator throughout.
_FORMATS: dict[DateFormat, re.Pattern[str]] = {
    "year_first": re.compile(
        rf"(?P<year>\d{{4}})([/.-])(?P<month>\d\d?)\2(?P<day>\d\d?)([ T]{_TIME})?", re.ASCII
    ),
    "day_first": re.compile(
        rf"(?P<day>\d\d?)([/.-])(?P<month>\d\d?)\2(?P<year>\d{{4}})([ T]{_TIME})?", re.ASCII
    ),
    "month_first": re.compile(
        rf"(?P<month>\d\d?)([/.-])(?P<day>\d\d?)\2(?P<year>\d{{4}})([ T]{_TIME})?", re.ASCII
    ),
    "time": re.compile(_TIME, re.ASCII),
}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY = 86_400
_MICROSECONDS = 1_000_000

#: What a text that is a date or time could be.
DateKind = Literal["datetime", "either_first"] | DateFormat


def is_datetime(text: str) -> bool:
    """Return whether text is a date, or a date with a time, in ISO 8601."""
    return seconds_of_text(text) is not None


def date_kind(text: str) -> DateKind | None:
    """Return how a text is written if it is a date or time; None if it is something else.

    `datetime` is ISO 8601. `either_first` can be read with the day or with the month first.

    >>> [date_kind(text) for text in ("2024-12-31", "31/12/2024", "1/2/2024", "12:30", "x")]
    ['datetime', 'day_first', 'either_first', 'time', None]
    """
    if not text[:1].isdigit():
        return None
    if is_datetime(text):
        return "datetime"
    found = [form for form in _FORMATS if seconds_of_text(text, form) is not None]
    if {"day_first", "month_first"} <= set(found):
        return "either_first"
    return found[0] if found else None


def seconds_of_text(text: str, form: DateFormat | None = None) -> float | None:
    """Return a date and time as seconds since 1970; None if it is something else.

    A date is its midnight. What has no zone is UTC. A time of day is in seconds since midnight.

    Parameters
    ----------
    text
        The date or time, without outer spaces.
    form
        How it is written; by default as ISO 8601 says, which `year_first` reads too.
    """
    if form is not None:
        found = _seconds_of_format(text, form)
        return seconds_of_text(text) if found is None and form == "year_first" else found
    if _ISO.fullmatch(text) is None:
        return None
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        return None  # the 30th of February
    value = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    return (value - _EPOCH).total_seconds()


def _seconds_of_format(text: str, form: DateFormat) -> float | None:
    match = _FORMATS[form].fullmatch(text)
    if match is None:
        return None
    parts = {name: int(part) for name, part in match.groupdict().items() if part is not None}
    date = {name: parts.pop(name, 1) for name in ("month", "day")}
    try:
        value = dt.datetime(parts.pop("year", 1970), **date, **parts, tzinfo=dt.UTC)
    except ValueError:
        return None  # the 31st of a 13th month, or 25 o'clock
    fraction = text.rpartition(":")[2].partition(".")[2] if "second" in parts else ""
    return (value - _EPOCH).total_seconds() + float(f"0.{fraction or 0}")


def text_of_seconds(seconds: float) -> str:
    """Return seconds since 1970 as text that `seconds_of_text` reads, to the second.

    Dates that ISO 8601 cannot write are written as the first or the last day that it can.
    """
    whole = min(max(round(seconds), _seconds(1, 1, 1)), _seconds(9999, 12, 31))
    return (_EPOCH + dt.timedelta(seconds=whole)).replace(tzinfo=None).isoformat()


def _seconds(year: int, month: int, day: int) -> int:
    return int((dt.datetime(year, month, day, tzinfo=dt.UTC) - _EPOCH).total_seconds())


def seconds_of_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates, times of day, timestamps or durations as float64 seconds."""
    kind = column.type
    if pa.types.is_date(kind):
        days = pc.cast(pc.cast(column, pa.date32()), pa.int32())
        return pc.multiply(pc.cast(days, pa.float64()), float(_DAY))
    if pa.types.is_timestamp(kind):
        if kind.unit == "ns":
            # As text is read: to the microsecond before, also before 1970.
            column = pc.floor_temporal(column, unit="microsecond")
        column = pc.cast(column, pa.timestamp("us", kind.tz), safe=False)
    elif pa.types.is_duration(kind):
        column = pc.cast(column, pa.duration("us"), safe=False)
    else:
        column = pc.cast(column, pa.time64("us"), safe=False)
    # Not safe: from 2255 on, a double does not hold every microsecond.
    microseconds = pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False)
    return pc.divide(microseconds, float(_MICROSECONDS))
