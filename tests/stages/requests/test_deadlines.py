"""When a request has to be answered."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.params import Regime
from unlearn.stages.errors import InputError
from unlearn.stages.requests.deadlines import (
    Period,
    check_received,
    confirm_by,
    due_date,
    today,
)


@pytest.mark.parametrize(
    ("regime", "received", "due", "extended"),
    [
        # One calendar month, and three with the extension.
        ("gdpr", "2026-01-15", "2026-02-15", "2026-04-15"),
        ("gdpr", "2026-12-03", "2027-01-03", "2027-03-03"),
        # Months without such a day end on their last day, which does not carry over.
        ("gdpr", "2026-01-31", "2026-02-28", "2026-04-30"),
        ("gdpr", "2028-01-31", "2028-02-29", "2028-04-30"),
        ("gdpr", "2028-01-29", "2028-02-29", "2028-04-29"),
        ("gdpr", "2027-01-29", "2027-02-28", "2027-04-29"),
        ("gdpr", "2028-02-29", "2028-03-29", "2028-05-29"),
        ("gdpr", "2026-02-28", "2026-03-28", "2026-05-28"),
        ("gdpr", "2026-08-31", "2026-09-30", "2026-11-30"),
        ("gdpr", "2026-11-30", "2026-12-30", "2027-02-28"),
        ("gdpr", "2027-11-30", "2027-12-30", "2028-02-29"),
        # 1900 and 2100 are no leap years, 2000 was one.
        ("gdpr", "2100-01-30", "2100-02-28", "2100-04-30"),
        ("gdpr", "2000-01-30", "2000-02-29", "2000-04-30"),
        # 45 days, and 90 with the extension.
        ("ccpa", "2026-01-01", "2026-02-15", "2026-04-01"),
        ("ccpa", "2028-01-15", "2028-02-29", "2028-04-14"),
        ("ccpa", "2027-01-15", "2027-03-01", "2027-04-15"),
        ("ccpa", "2026-12-01", "2027-01-15", "2027-03-01"),
        # No extension.
        ("drop", "2026-08-01", "2026-09-15", "2026-09-15"),
        ("drop", "2028-02-01", "2028-03-17", "2028-03-17"),
    ],
)
def test_the_due_date(regime: Regime, received: str, due: str, extended: str) -> None:
    day = date.fromisoformat(received)

    assert due_date(regime, day).isoformat() == due
    assert due_date(regime, day, extended=True).isoformat() == extended


@pytest.mark.parametrize(
    ("received", "by"),
    [
        ("2026-11-02", "2026-11-16"),  # a Monday: two weeks
        ("2026-11-06", "2026-11-20"),  # a Friday
        ("2026-11-07", "2026-11-20"),  # a Saturday: counted from Monday
        ("2026-11-08", "2026-11-20"),  # a Sunday
        ("2026-12-24", "2027-01-07"),  # over the end of a year
        ("2028-02-21", "2028-03-06"),  # over the 29th of February
    ],
)
def test_the_receipt_is_confirmed_within_ten_business_days(received: str, by: str) -> None:
    assert confirm_by("ccpa", date.fromisoformat(received)) == date.fromisoformat(by)
    assert confirm_by("gdpr", date.fromisoformat(received)) is None
    assert confirm_by("drop", date.fromisoformat(received)) is None


@given(st.dates(max_value=date(9000, 1, 1)), st.integers(1, 36))
def test_months_end_on_the_same_day_or_on_the_last_one(start: date, months: int) -> None:
    end = Period(months=months).after(start)

    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    is_last = (end + timedelta(days=1)).day == 1
    assert end.day == start.day or (is_last and end.day < start.day)


def test_a_period_after_the_last_year_is_an_error() -> None:
    with pytest.raises(OverflowError):
        Period(months=1).after(date(9999, 12, 31))


def test_a_request_is_received_today_at_the_latest() -> None:
    check_received(None)
    check_received(today())
    with pytest.raises(InputError, match=r"--received .* is in the future"):
        check_received(today() + timedelta(days=1))
