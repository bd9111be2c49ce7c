"""Schedules: what the learning rate is multiplied by at each step of a slice."""

import math
from collections.abc import Callable

from unlearn.stages.config.networks import ScheduleParams

#: Where `one_cycle` starts and ends, as parts of the rate: the defaults of PyTorch's OneCycleLR.
_CYCLE_START = 1 / 25
_CYCLE_END = 1 / (25 * 10_000)
#: The share of the steps over which `one_cycle` rises where params.yaml says none.
_CYCLE_RISE = 0.3


def rate_factors(schedule: ScheduleParams | None, steps: int) -> Callable[[int], float]:
    """Return what gives the factor of the learning rate at a step of a slice.

    Parameters
    ----------
    schedule
        The settings; None for a constant rate.
    steps
        Steps of the slice.

    Examples
    --------
    >>> factor = rate_factors(ScheduleParams(name="cosine", warm_up=0.2), 10)
    >>> [round(factor(step), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    >>> factor = rate_factors(ScheduleParams(name="step", every=0.5), 4)
    >>> [round(factor(step), 2) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    if schedule is None:
        return lambda _step: 1.0
    if schedule.name == "one_cycle":
        rise = max(1, round((schedule.warm_up or _CYCLE_RISE) * steps))
        return lambda step: _one_cycle(step, rise, steps)
    rise = round(schedule.warm_up * steps)

    def factor(step: int) -> float:
        # The first step is not at 0, which would change nothing.
        warm = (step + 1) / rise if step < rise else 1.0
        if schedule.name == "cosine":
            return warm if step < rise else _falling((step - rise) / max(1, steps - rise))
        # In whole steps: a share that is no binary fraction must not move a border.
        passed = math.floor(step / (schedule.every * steps) + 1e-9)
        return warm * schedule.factor**passed

    return factor


def _falling(part: float) -> float:
    """Return half a cosine, from 1 at part 0 to 0 at part 1."""
    return (1 + math.cos(math.pi * part)) / 2


def _one_cycle(step: int, rise: int, steps: int) -> float:
    if step < rise:
        return 1 + (_CYCLE_START - 1) * _falling(step / rise)
    fall = max(1, steps - 1 - rise)
    return _CYCLE_END + (1 - _CYCLE_END) * _falling(min(1.0, (step - rise) / fall))
