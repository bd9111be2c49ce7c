"""Weekdays and months are those of the calendar."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.estimators.date_parts import weekday_and_month


@given(st.datetimes(timezones=st.just(UTC)))
def test_they_are_those_of_pythons_calendar(moment: datetime) -> None:
    weekday, month = weekday_and_month(np.array([moment.timestamp(), np.nan]))

    assert weekday.tolist() == [moment.weekday(), -1]
    assert month.tolist() == [moment.month - 1, -1]
