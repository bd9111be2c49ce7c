"""The scale of a target of numbers, which `init` pins so that no training learns it."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.dataset import TargetScale

#: Shares of the rows below and above, and how many standard deviations of a normal distribution are
#: between their quantiles. The first pair that is apart decides: many targets are often 0.
_SPREADS = ((0.25, 1.349), (0.1, 2.563), (0.05, 3.290), (0.01, 4.653), (0.001, 6.180))

#: Larger numbers leave no room to compute with.
_LARGEST = 1e300


def find_scale(parts: Iterable[npt.NDArray[np.float64]]) -> TargetScale:
    """Return the scale of a target, from its median and its quartiles.

    The scale has two digits, and the centre no more than the first of these: so few that a single
    row hardly ever decides them, and that they say nothing about one.

    Parameters
    ----------
    parts
        The finite numbers of all rows, in any order.

    Examples
    --------
    >>> find_scale([np.arange(1_000.0, 3_001.0)])
    TargetScale(centre=2000.0, scale=740.0)
    >>> find_scale([np.array([0.0] * 91 + [5.0] * 9)])
    TargetScale(centre=0.0, scale=1.5)
    >>> find_scale([np.array([7.25, 7.25])])
    TargetScale(centre=7.0, scale=1.0)
    """
    values = np.concatenate([*parts, np.zeros(0)])
    if values.size == 0:
        return TargetScale()
    values = np.clip(values, -_LARGEST, _LARGEST)
    scale = _spread(values)
    place = 10.0 ** math.floor(math.log10(scale))
    centre = round(float(np.median(values)) / place) * place
    return TargetScale(centre=_rounded(centre, 15), scale=scale)


def _spread(values: npt.NDArray[np.float64]) -> float:
    for share, deviations in _SPREADS:
        low, high = np.quantile(values, [share, 1 - share])
        found = _rounded(float(high / deviations - low / deviations), 2)
        if found > 0:
            return found
    return 1.0


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
