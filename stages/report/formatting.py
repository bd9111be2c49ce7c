"""Values as a person reads them: numbers with their intervals, names that cannot do harm."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

#: The text for a number that the report does not have.
MISSING = "not measured"

_TOKEN = re.compile(r"u[1-9][0-9]{0,2}_[0-9a-f]{64}")
_SHARD = re.compile(r"([A-Za-z]+)([0-9]+)")
#: Characters that change the direction of the text after them, controls and line separators.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Measured:
    """A number, its interval as text, and both as a picture."""

    value: str
    span: str | None
    picture: Markup | None = None


def number(value: object) -> float | None:
    """Return a finite number; None for anything else, so that a damaged report does no harm."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def interval(value: object) -> tuple[float, float] | None:
    """Return the two ends of an interval in order; None where they are not both there."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:  # noqa: PLR2004 - an interval has two ends
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (min(low, high), max(low, high))


def plain(value: object, longest: int = 72) -> str:
    """Return a name or sentence as text for one line.

    What cannot be seen, and what turns the direction of writing, is spelled out; the middle of a
    very long text is left out; a token is named as such and not repeated.

    Parameters
    ----------
    value
        Whatever a tracked file holds there.
    longest
        Characters to keep.
    """
    if value is None:
        return "not given"
    text = _TOKEN.sub("(a token)", str(value))
    text = "".join(
        f"<U+{ord(sign):04X}>"
        if sign in _TURNING or unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}
        else sign
        for sign in text
    )
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail - 1].rstrip()}…{text[-tail:].lstrip()}"


def decimal(value: object, digits: int = 3) -> str:
    """Return a number with fixed digits, or that it was not measured."""
    found = number(value)
    return MISSING if found is None else f"{found:.{digits}f}"


def amount(value: float | None) -> str:
    """Return a number in a unit of its own: four digits, or whole from 1,000 on.

    >>> amount(1714.074736), amount(0.0123456), amount(12.0), amount(None)
    ('1,714', '0.01235', '12', 'not measured')
    """
    found = number(value)
    if found is None:
        return MISSING
    return f"{found:,.0f}" if 1_000 <= abs(found) < 1e15 else f"{found:.4g}"  # noqa: PLR2004


def percent(value: object) -> str:
    """Return a share as a percentage with as many digits as it needs, or that it is missing."""
    found = number(value)
    if found is None:
        return MISSING
    if found in {0.0, 1.0}:
        return f"{found:.0%}"
    if found < 0.01:  # noqa: PLR2004 - below one per cent, a second digit distinguishes values
        return f"{found:.2%}" if found >= 5e-5 else "under 0.01%"  # noqa: PLR2004 - what rounds to 0
    return f"{min(found, 0.999) if found < 1 else found:.1%}"


def count(value: object) -> str:
    """Return a whole number with thousands separators, or that it was not measured."""
    found = number(value)
    return MISSING if found is None else f"{found:,.0f}"


def out_of(some: object, total: object) -> str:
    """Return a count with what it is part of, or that it was not measured."""
    known = number(some) is not None and number(total) is not None
    return f"{count(some)} of {count(total)}" if known else MISSING


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun: `1 shard`, `2 shards`."""
    return f"{value:,} {noun if value == 1 else nouns or noun + 's'}"


def between(value: object, digits: int = 3) -> str | None:
    """Return an interval as text; None where there is none."""
    ends = interval(value)
    return None if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def between_shares(value: object) -> str | None:
    """Return an interval of shares as text; None where there is none."""
    ends = interval(value)
    return None if ends is None else f"{percent(ends[0])} to {percent(ends[1])}"


def duration(seconds: object) -> str:
    """Return seconds in the unit that a person would use, or that they are not known."""
    found = number(seconds)
    if found is None:
        return "not known"
    for size, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if found >= 2 * size:
            return f"{found / size:.1f} {name}"
    return f"{found:.1f} seconds" if found >= 0.1 else "under 0.1 seconds"  # noqa: PLR2004 - one digit


def moment(value: object) -> datetime | None:
    """Return a time of the request log, in UTC; None where it is none."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def day(value: datetime) -> str:
    """Return a day as `3 May 2026`, in English wherever the command runs."""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{value.day} {months[value.month - 1]} {value.year}"


def ranges(shards: Sequence[str]) -> str:
    """Return shard names with runs drawn together: `s000 to s004, s009`."""
    runs: list[list[str]] = []
    for name in shards:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    said = []
    for run in runs:
        said += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else run  # noqa: PLR2004 - two are no run
    return ", ".join(said)


def _follows(before: str, name: str) -> bool:
    one, other = _SHARD.fullmatch(before), _SHARD.fullmatch(name)
    return bool(one and other and one[1] == other[1] and int(one[2]) + 1 == int(other[2]))


def wilson(share: object, rows: object) -> tuple[float, float] | None:
    """Return the 95 % interval of a share (Wilson 1927); None where either number is missing.

    Parameters
    ----------
    share
        Observed, from 0 to 1.
    rows
        How many were observed.
    """
    p, n = number(share), number(rows)
    if p is None or n is None or n < 1 or not 0 <= p <= 1:
        return None
    z = 1.959963984540054
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
