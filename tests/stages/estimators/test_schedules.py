"""Schedules of the learning rate."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.networks import ScheduleParams
from unlearn.stages.estimators.schedules import rate_factors

NAMES = ("cosine", "step", "one_cycle")
SHARES = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0])


@given(name=st.sampled_from(NAMES), warm_up=SHARES, steps=st.integers(1, 60))
def test_every_factor_is_above_0_and_at_most_1(name: str, warm_up: float, steps: int) -> None:
    factor = rate_factors(ScheduleParams(name=name, warm_up=warm_up), steps)  # type: ignore[arg-type]  # sampled

    found = [factor(step) for step in range(steps)]

    assert all(0 < value <= 1 for value in found)
    rises = [one < other for one, other in pairwise(found)]
    if name != "step" or warm_up == 0:
        # Up first and down then, at most once each.
        assert rises == sorted(rises, reverse=True)


def test_no_schedule_is_a_constant_rate() -> None:
    factor = rate_factors(None, 3)

    assert [factor(step) for step in range(3)] == [1.0, 1.0, 1.0]


def test_cosine_is_that_of_torch() -> None:
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
    factor = rate_factors(ScheduleParams(name="cosine"), 9)

    for step in range(9):
        assert factor(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_one_cycle_is_that_of_torch() -> None:
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=21, pct_start=6 / 20, cycle_momentum=False
    )
    factor = rate_factors(ScheduleParams(name="one_cycle"), 21)

    for step in range(21):
        # Theirs is at its greatest a step earlier.
        if step != 5:
            assert factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=0.12)
        optimizer.step()
        theirs.step()
    assert factor(6) == 1
    assert factor(0) == pytest.approx(1 / 25)
    assert factor(20) == pytest.approx(1 / 250_000)


def test_steps_fall_at_the_same_shares_whatever_the_number_of_steps() -> None:
    for steps in (10, 30, 100):
        factor = rate_factors(ScheduleParams(name="step", every=0.3, factor=0.5), steps)
        falls = [step for step in range(1, steps) if factor(step) < factor(step - 1)]
        assert falls == [3 * steps // 10, 6 * steps // 10, 9 * steps // 10]
