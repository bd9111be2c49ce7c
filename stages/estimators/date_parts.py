"""Dates as weekday and month, beside the number that they are."""

import numpy as np
import numpy.typing as npt

WEEKDAYS = 7
MONTHS = 12

_SECONDS_OF_DAY = 86_400

#: The first of January 1970 was a Thursday, and Monday is 0.
_FIRST_WEEKDAY = 3


def weekday_and_month(
    seconds: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return weekday, Monday being 0, and month, January being 0; each of shape (n,).

    Parameters
    ----------
    seconds
        Seconds since the beginning of 1970; NaN is missing, and becomes -1.

    Examples
    --------
    >>> weekday_and_month(np.array([0.0, np.nan]))
    (array([ 3, -1]), array([ 0, -1]))
    """
    missing = np.isnan(seconds)
    days = np.floor(np.where(missing, 0.0, seconds) / _SECONDS_OF_DAY).astype(np.int64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % MONTHS
    weekdays = (days + _FIRST_WEEKDAY) % WEEKDAYS
    return np.where(missing, -1, weekdays), np.where(missing, -1, months)
