"""When a request has to be answered, by the law that it was made under.

Only calendar dates are counted. Public holidays, and the rule of some laws that a period which
ends on a weekend goes on to the next working day, are left out: they differ by place, and without
them a date is never later than the law's.
"""

import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from unlearn.stages.config.params import Regime
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.entry import first_day

_FRIDAY = 4


@dataclass(frozen=True)
class Period:
    """A period in calendar months or calendar days.

    Parameters
    ----------
    months, days
        One of them is 0.
    """

    months: int = 0
    days: int = 0

    def after(self, start: date) -> date:
        """Return the last day of the period.

        Months end on the same day of a later month, or on its last day if it has no such day.

        >>> Period(months=1).after(date(2024, 1, 31))
        datetime.date(2024, 2, 29)

        Raises
        ------
        OverflowError
            If the day is after the year 9999.
        """
        if not self.months:
            return start + timedelta(days=self.days)
        years, month = divmod(start.month - 1 + self.months, 12)
        year = start.year + years
        if year > date.max.year:
            raise OverflowError("the last day is after the year 9999")
        last = calendar.monthrange(year, month + 1)[1]
        return date(year, month + 1, min(start.day, last))


@dataclass(frozen=True)
class Terms:
    """The periods of a law; each begins on the day when the request was received.

    Parameters
    ----------
    answer
        The period for the answer.
    extended
        The same if it was extended, which the person has to be told within `answer`; None where
        the law has no extension.
    confirm
        Business days until the receipt of the request has to be confirmed; None where the law
        does not ask for it.
    source
        Where the law says so.
    """

    answer: Period
    extended: Period | None
    confirm: int | None
    source: str


TERMS: dict[Regime, Terms] = {
    "gdpr": Terms(
        Period(months=1),
        extended=Period(months=3),
        confirm=None,
        source="GDPR and UK GDPR, article 12 (3)",
    ),
    "ccpa": Terms(
        Period(days=45),
        extended=Period(days=90),
        confirm=10,
        source="CCPA regulations, California Code of Regulations, title 11, section 7021",
    ),
    "drop": Terms(
        Period(days=45),
        extended=None,
        confirm=None,
        source="California Delete Act, Civil Code section 1798.99.86",
    ),
}


def due_date(regime: Regime, received: date, *, extended: bool = False) -> date:
    """Return the last day on which a request can be answered in time.

    Parameters
    ----------
    regime
        The law.
    received
        The day when the request was received.
    extended
        Whether the period was extended. It makes no difference where the law has no extension.
    """
    terms = TERMS[regime]
    period = terms.extended if extended and terms.extended is not None else terms.answer
    return period.after(received)


def confirm_by(regime: Regime, received: date) -> date | None:
    """Return the last day for confirming that a request was received; None if nothing asks for it.

    Saturdays and Sundays are no business days.
    """
    days = TERMS[regime].confirm
    if days is None:
        return None
    day = received
    while days:
        day += timedelta(days=1)
        days -= day.weekday() <= _FRIDAY
    return day


def today() -> date:
    """Return the date at this place."""
    return datetime.now().astimezone().date()


def received_today() -> date:
    """Return the day of a request that is received now: the earlier one, of this place and UTC."""
    return first_day(datetime.now().astimezone())


def check_received(received: date | None) -> None:
    """Raise an InputError if a request was received after today."""
    if received is not None and received > today():
        raise InputError(f"--received {received} is in the future")
