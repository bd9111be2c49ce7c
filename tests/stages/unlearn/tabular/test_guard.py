"""The guard: what it keeps, what it stops, and whether it says why."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from unlearn.stages.unlearn.tabular.guard import Probes, TabularGuard
from unlearn.stages.unlearn.tabular.rows import Rows

from tests.stages.unlearn.tabular.networks import Normed, loss_of, random_rows, rows_of, state_bytes

_EMPTY = Rows(torch.zeros(0, 1, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))


class Dial(nn.Module):
    """Answers so that the forget row has just this loss, and this share of retain rows is right.

    The forget row's input is 0; the retain rows' inputs lie between 0 and 1, and those up to the
    share are answered rightly. All rows are of class 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.share = nn.Parameter(torch.ones((), dtype=torch.float64))

    def at(self, loss: float, share: float = 1.0) -> "Dial":
        with torch.no_grad():
            self.loss.fill_(loss)
            self.share.fill_(share)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        column = inputs[:, 0]
        # Cross-entropy of class 0 is log(1 + exp(z)) for the logits 0 and z.
        wanted = torch.log(torch.expm1(self.loss))
        score = torch.where(column == 0, wanted, torch.where(column <= self.share, -1.0, 1.0))
        return torch.stack([torch.zeros_like(score), score], dim=1)


def dial_guard(
    target: float | None = 1.0, *, budget: float = 0.1, active: bool = True, limit: float = 10.0
) -> TabularGuard:
    forget = rows_of([[0.0]], [0])
    retain = rows_of([[n / 20] for n in range(1, 21)], [0] * 20)
    return TabularGuard(
        Probes(forget, retain, target), budget=budget, gradient_limit=limit, active=active
    )


def settled(guard: TabularGuard, model: Dial) -> tuple[float, float]:
    guard.settle(model)
    return float(model.loss.detach()), float(model.share.detach())


def test_it_stops_where_the_target_is_reached_and_keeps_what_is_nearest_to_it() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0)
    guard.watch(model)

    assert not guard.stops(model.at(0.5))
    assert not guard.stops(model.at(0.9))
    assert guard.stops(model.at(1.5))

    assert guard.stopped_by == "forget_target"
    assert settled(guard, model) == (0.9, 1.0)
    assert guard.rolled_back
    assert guard.kept is not None
    assert guard.kept.forget_loss == pytest.approx(0.9)


def test_a_state_just_past_the_target_is_kept_where_the_one_before_it_was_farther_away() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0)
    guard.watch(model)

    assert not guard.stops(model.at(0.5))
    assert guard.stops(model.at(1.1))

    assert settled(guard, model) == (1.1, 1.0)
    assert not guard.rolled_back


def test_a_first_state_far_past_the_target_is_kept_before_the_untouched_original() -> None:
    model, guard = Dial().at(0.9), dial_guard(1.0)
    guard.watch(model)

    assert guard.stops(model.at(3.0))

    assert settled(guard, model) == (3.0, 1.0)
    assert guard.moved


def test_a_model_that_reaches_the_target_at_the_start_is_left_alone() -> None:
    model, guard = Dial().at(1.1), dial_guard(1.0)
    guard.watch(model)

    assert guard.over
    assert guard.stopped_by == "forget_target"
    assert settled(guard, model) == (1.1, 1.0)
    assert not guard.moved
    assert not guard.rolled_back


def test_a_method_that_does_not_climb_goes_on_without_the_target_it_has_reached() -> None:
    """Rows that are hard for any model have a loss above their target, and may be remembered."""
    model, guard = Dial().at(1.5), dial_guard(1.0)
    guard.watch(model, ascends=False)
    assert not guard.over

    assert not guard.stops(model.at(2.0))
    assert not guard.stops(model.at(3.0))

    assert settled(guard, model) == (3.0, 1.0)
    assert guard.stopped_by == "epochs"


def test_it_stops_at_a_target_that_it_had_yet_to_reach() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0)
    guard.watch(model, ascends=False)

    assert guard.stops(model.at(1.1))
    assert guard.stopped_by == "forget_target"


def test_to_reach_the_target_is_enough() -> None:
    model, measured = Dial().at(0.7), dial_guard(None)
    measured.watch(model)
    assert measured.start is not None

    guard = dial_guard(measured.start.forget_loss)
    guard.watch(model.at(0.2))

    assert guard.stops(model.at(0.7))


def test_a_fall_past_the_budget_ends_it_and_goes_back() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0, budget=0.1)
    guard.watch(model)

    assert not guard.stops(model.at(0.4, 0.9)), "just the budget is allowed"
    assert guard.stops(model.at(0.8, 0.85))

    assert guard.stopped_by == "retain_budget"
    assert guard.over
    assert settled(guard, model) == (0.4, 0.9)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 20))
def test_the_budget_is_exact_whatever_fractions_round_to(right: int, lost: int) -> None:
    model, guard = Dial().at(0.2, right / 20), dial_guard(None, budget=lost / 20)
    guard.watch(model)

    assert not guard.stops(model.at(0.3, max(0, right - lost) / 20))
    if right - lost >= 1:
        assert guard.stops(model.at(0.3, (right - lost - 1) / 20))


def test_a_patient_look_bars_a_state_past_the_budget_and_goes_on() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0)
    guard.watch(model)

    assert not guard.stops(model.at(1.0, 0.5), recovers=True), "nor does the target count there"
    assert not guard.stops(model.at(0.4, 0.95), recovers=True)

    assert guard.stopped_by == "epochs"
    assert settled(guard, model) == (0.4, 0.95)


def test_the_original_comes_back_where_no_state_was_allowed_and_the_guard_says_so() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0)
    guard.watch(model)

    assert guard.stops(model.at(1.0, 0.1))

    assert settled(guard, model) == (0.2, 1.0)
    assert guard.rolled_back
    assert not guard.moved
    assert guard.kept == guard.start


def test_without_a_target_the_latest_state_within_the_budget_is_kept() -> None:
    model, guard = Dial().at(0.2), dial_guard(None)
    guard.watch(model)

    for loss in (5.0, 0.1, 3.0):
        assert not guard.stops(model.at(loss))

    assert guard.stopped_by == "epochs"
    assert settled(guard, model) == (3.0, 1.0)


def test_weights_that_are_no_numbers_end_it_even_if_no_probe_shows_them() -> None:
    model = Dial().at(0.2)
    model.register_buffer("unused", torch.zeros(3))
    guard = dial_guard(1.0)
    guard.watch(model)
    assert not guard.stops(model.at(0.3))

    model.get_buffer("unused")[1] = math.nan
    assert guard.stops(model.at(0.4))

    assert guard.stopped_by == "not_finite"
    assert settled(guard, model) == (0.3, 1.0)
    assert torch.equal(model.get_buffer("unused"), torch.zeros(3))


def test_answers_that_are_no_numbers_end_it_even_if_the_method_is_to_be_patient() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0)
    guard.watch(model)

    # The logarithm of a negative number.
    assert guard.stops(model.at(-1.0), recovers=True)

    assert guard.stopped_by == "not_finite"
    assert settled(guard, model) == (0.2, 1.0)


def test_an_original_that_is_not_finite_is_not_touched() -> None:
    model, guard = Dial().at(-1.0), dial_guard(1.0)

    guard.watch(model)

    assert guard.over
    assert guard.stopped_by == "not_finite"


@pytest.mark.parametrize(
    ("gradient", "reason"),
    [(9.9, None), (10.1, "gradient"), (math.inf, "not_finite"), (math.nan, "not_finite")],
)
def test_a_gradient_too_large_is_not_followed(gradient: float, reason: str | None) -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0, limit=10.0)
    guard.watch(model)
    guard.stops(model.at(0.5))
    model.at(0.6)
    model.loss.grad = torch.tensor(gradient, dtype=torch.float64)

    assert guard.allows(model) == (reason is None)

    assert guard.stopped_by == (reason or "epochs")
    assert settled(guard, model)[0] == 0.5


def test_the_gradient_is_that_of_all_parameters_at_once_and_may_be_large_in_float32() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0, limit=10.0)
    guard.watch(model)
    model.loss.grad = torch.tensor(8.0, dtype=torch.float64)
    model.share.grad = torch.tensor(8.0, dtype=torch.float64)
    assert not guard.allows(model)

    single = nn.Linear(2, 2)
    single.weight.grad = torch.full((2, 2), 1e30)
    guard.allows(single)
    assert guard.stopped_by == "gradient", "its square would be infinite in float32"


def test_an_inactive_guard_stops_nothing_and_takes_nothing_back() -> None:
    model, guard = Dial().at(0.2), dial_guard(1.0, active=False)
    guard.watch(model)
    model.loss.grad = torch.tensor(math.nan, dtype=torch.float64)

    assert guard.allows(model)
    assert not guard.stops(model.at(9.0, 0.0))
    assert guard.hold(model) is model
    assert not guard.stops(model.at(8.0, 0.0))

    assert settled(guard, model) == (8.0, 0.0)
    assert (guard.stopped_by, guard.held_by) == ("unguarded", "unguarded")
    assert not guard.rolled_back
    assert guard.kept is not None
    assert guard.kept.forget_loss == pytest.approx(8.0)


def test_buffers_go_back_with_the_weights() -> None:
    torch.manual_seed(0)
    model = Normed()
    rows = random_rows(32, seed=1)
    guard = TabularGuard(Probes(rows, rows, 100.0), budget=1.0, gradient_limit=10.0)
    guard.watch(model)
    assert not guard.stops(model)
    before = state_bytes(model)

    model.train()
    model(rows.inputs + 3)
    with torch.no_grad():
        model.last.bias.fill_(math.nan)
    assert guard.stops(model)
    guard.settle(model)

    assert state_bytes(model) == before
    assert guard.rolled_back


def test_asking_changes_nothing_of_the_model_nor_of_the_random_numbers_to_come() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Normed(), nn.Dropout(0.5))
    model.train()
    model[0].get_submodule("norm").eval()
    rows = random_rows(9, seed=1)
    guard = TabularGuard(Probes(rows, rows, 1.0), budget=1.0, gradient_limit=10.0)
    modes = [module.training for module in model.modules()]
    before, state = state_bytes(model), torch.get_rng_state()

    guard.watch(model)

    assert [module.training for module in model.modules()] == modes
    assert state_bytes(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert guard.start is not None
    assert guard.start.forget_loss == pytest.approx(loss_of(model, rows))


def test_empty_probes_neither_stop_nor_fail() -> None:
    guard = TabularGuard(Probes(_EMPTY, _EMPTY, 1.0), budget=0.0, gradient_limit=1.0)
    model = Dial().at(0.5)
    guard.watch(model)

    assert not guard.stops(model.at(0.6))
    assert guard.start is not None
    assert (guard.start.forget_loss, guard.start.retain_accuracy) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["stops", "settle"])
def test_a_method_that_forgets_to_watch_is_told(name: str) -> None:
    with pytest.raises(RuntimeError, match="watch"):
        getattr(dial_guard(), name)(Dial())


class TestTheSecondPhase:
    def begun(
        self, reached: Sequence[tuple[float, float]], target: float | None = 1.0
    ) -> tuple[Dial, TabularGuard]:
        model, guard = Dial().at(0.2), dial_guard(target)
        guard.watch(model)
        for loss, share in reached:
            guard.stops(model.at(loss, share))
        return model, guard

    def test_it_starts_from_the_best_state_of_the_first(self) -> None:
        model, guard = self.begun([(0.6, 0.95), (0.7, 0.5)])
        guard.hold(model)

        assert float(model.loss.detach()) == 0.6
        assert guard.stopped_by == "retain_budget"
        assert guard.held_by == "epochs"
        assert not guard.over

    def test_too_high_a_loss_may_fall_to_the_target_but_not_below_it(self) -> None:
        model, guard = self.begun([(2.0, 0.9)])
        guard.hold(model)

        assert not guard.stops(model.at(1.4, 0.95))
        assert not guard.stops(model.at(1.01, 0.95))
        assert guard.stops(model.at(0.9, 1.0))

        assert (guard.stopped_by, guard.held_by) == ("forget_target", "forgetting")
        assert settled(guard, model) == (1.01, 0.95)

    def test_what_fell_short_of_the_target_must_not_fall_at_all(self) -> None:
        model, guard = self.begun([(0.6, 0.95)])
        guard.hold(model)

        assert not guard.stops(model.at(0.65, 1.0))
        assert guard.stops(model.at(0.64, 1.0)), "what is kept counts, not what came first"

        assert guard.stopped_by == "epochs"
        assert settled(guard, model) == (0.65, 1.0)

    def test_without_a_target_it_must_not_fall_either(self) -> None:
        model, guard = self.begun([(5.0, 0.95)], target=None)
        guard.hold(model)

        assert guard.stops(model.at(4.9, 1.0))
        assert guard.held_by == "forgetting"

    def test_a_state_that_repairs_nothing_is_not_kept(self) -> None:
        model, guard = self.begun([(2.0, 0.95)])
        guard.hold(model)

        assert not guard.stops(model.at(1.5, 0.92))

        assert guard.held_by == "epochs"
        assert settled(guard, model) == (2.0, 0.95)

    def test_the_budget_the_gradient_and_numbers_count_as_before(self) -> None:
        for loss, share, reason in ((1.5, 0.5, "retain_budget"), (-1.0, 1.0, "not_finite")):
            model, guard = self.begun([(2.0, 0.95)])
            guard.hold(model)
            assert guard.stops(model.at(loss, share))
            assert (guard.stopped_by, guard.held_by) == ("forget_target", reason)
            assert settled(guard, model) == (2.0, 0.95)

    def test_there_is_none_where_the_first_left_nothing_but_the_original(self) -> None:
        model, guard = self.begun([(0.5, 0.0)])
        guard.hold(model)

        assert guard.over
        assert (guard.stopped_by, guard.held_by) == ("retain_budget", "done")
        assert settled(guard, model) == (0.2, 1.0)
