"""Dates and times as numbers: seconds since 1970, in UTC where no zone is given."""

import datetime as dt
import re

import pyarrow as pa
import pyarrow.compute as pc

#: A date, or a date with a time of day, as ISO 8601 writes them.
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY = 86_400
_MICROSECONDS = 1_000_000


def is_datetime(text: str) -> bool:
    """Return whether text is a date, or a date with a time, in ISO 8601."""
    return seconds_of_text(text) is not None


def seconds_of_text(text: str) -> float | None:
    """Return a date and time in ISO 8601 as seconds since 1970; None if it is something else.

    A date is its midnight. What has no zone is UTC.
    """
    if _ISO.fullmatch(text) is None:
        return None
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        return None  # the 30th of February
    value = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    return (value - _EPOCH).total_seconds()


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
