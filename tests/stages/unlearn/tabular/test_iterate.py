"""The loop: when the guard looks, what a mask holds, how BatchNorm reads, and what is drawn."""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.tabular.guard import Probes, TabularGuard
from unlearn.stages.unlearn.tabular.iterate import Looks, iterate, mixed, outputs, steps_of
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows

from tests.stages.unlearn.tabular.networks import (
    Line,
    Normed,
    random_rows,
    rows_of,
    run_of,
    state_bytes,
)

ONE = rows_of([[1.0, 2.0]], [1])


def walk(
    looks: Looks,
    *,
    steps: int,
    epochs: int,
    really: int | None = None,
    run: TabularProblem | None = None,
) -> tuple[list[tuple[int, bool]], TabularProblem]:
    """Take steps of size 1 on the first weight; return when, and how, the guard was asked."""
    run = run_of(ONE, ONE, active=True) if run is None else run
    guard = run.guard
    model = Line([0.0, 0.0])
    asked: list[tuple[int, bool]] = []

    class Noting:
        def __getattr__(self, name: str) -> object:
            return getattr(guard, name)

        def stops(self, module: nn.Module, *, recovers: bool = False) -> bool:
            asked.append((round(float(next(module.parameters())[0].detach())), recovers))
            return guard.stops(module, recovers=recovers)

    noted = run_of(ONE, ONE)
    noted.guard = Noting()  # type: ignore[assignment]  # the same, and a note of every look
    guard.watch(model)

    def losses(_: int) -> Iterator[torch.Tensor]:
        for _step in range(steps if really is None else really):
            noted.ledger.count("retain", 1)
            yield -model.weights[0]

    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    iterate(model, sgd, losses, noted, epochs=epochs, steps=steps, looks=looks)
    return asked, run


def steps_asked(looks: Looks, *, steps: int, epochs: int, really: int | None = None) -> list[int]:
    return [step for step, _ in walk(looks, steps=steps, epochs=epochs, really=really)[0]]


def test_the_guard_looks_in_the_middle_and_at_the_end_of_every_epoch() -> None:
    assert steps_asked("strict", steps=20, epochs=2) == [10, 20, 30, 40]
    assert steps_asked("recovers", steps=3, epochs=2) == [2, 3, 5, 6]
    assert steps_asked("strict", steps=1, epochs=3) == [1, 2, 3]


@given(
    share=st.floats(0, 1),
    rows=st.integers(1, 64),
    probe=st.integers(1, 500),
    steps=st.integers(1, 12),
    epochs=st.integers(1, 8),
)
@settings(deadline=None)
def test_looks_stay_within_their_share_of_the_work(
    share: float, rows: int, probe: int, steps: int, epochs: int
) -> None:
    """But for the first one and the one after the last step, which are always made."""
    some = rows_of([[1.0, 2.0]] * probe, [1] * probe)
    run = run_of(ONE, ONE)
    run.guard = TabularGuard(Probes(ONE, some, None), budget=1.0, gradient_limit=9.0, share=share)
    run.guard.watch(model := Line([0.0, 0.0]))
    cost, work, looks = probe + 1, 0, [0]
    measure = run.guard.stops

    def stops(model: nn.Module, *, recovers: bool = False) -> bool:
        looks.append(work)
        return measure(model, recovers=recovers)

    run.guard.stops = stops  # type: ignore[method-assign]  # the same, and a note of the work

    def losses(_: int) -> Iterator[torch.Tensor]:
        nonlocal work
        for _step in range(steps):
            run.ledger.count("retain", rows)
            work += 3 * rows
            yield model.weights[0]

    sgd = torch.optim.SGD(model.parameters(), lr=0.0)
    iterate(model, sgd, losses, run, epochs=epochs, steps=steps)

    assert looks[-1] == work == 3 * rows * steps * epochs
    assert len(looks) - 1 <= 2 * epochs
    for number, done in enumerate(looks[1:-1], start=2):
        assert number * cost <= share * done + 1e-9


def test_it_may_be_told_to_look_at_the_ends_of_epochs_alone() -> None:
    assert walk("epochs", steps=20, epochs=3)[0] == [(20, False), (40, False), (60, False)]


def test_its_patience_ends_with_the_epoch() -> None:
    for looks, patience in (("recovers", {4, 8}), ("strict", {2, 4, 6, 8})):
        asked, _ = walk(looks, steps=4, epochs=2)  # type: ignore[arg-type]  # both are `Looks`
        assert {step for step, recovers in asked if not recovers} == patience


def test_the_last_state_of_an_epoch_is_looked_at_however_many_steps_it_had() -> None:
    assert steps_asked("strict", steps=8, epochs=1, really=3) == [3]
    assert steps_asked("strict", steps=8, epochs=1, really=9) == [4, 9]


def test_steps_are_taken_in_training_mode() -> None:
    model = Line([0.0, 0.0]).eval()
    run = run_of(ONE, ONE)
    run.guard.watch(model)
    modes = []

    def losses(_: int) -> Iterator[torch.Tensor]:
        modes.append(model.training)
        yield model.weights[0]

    iterate(model, torch.optim.SGD(model.parameters()), losses, run, epochs=2, steps=1)
    assert modes == [True, True]


def test_a_phase_that_is_over_takes_no_step() -> None:
    # The odds are even: a loss of log 2, more than the target.
    asked, run = walk("strict", steps=5, epochs=1, run=run_of(ONE, ONE, active=True, target=0.1))

    assert asked == []
    assert run.guard.stopped_by == "forget_target"


def test_a_gradient_that_is_not_allowed_is_not_followed() -> None:
    run = run_of(ONE, ONE, active=True, gradient_limit=0.5)
    model = Line([0.0, 0.0])
    run.guard.watch(model)

    def losses(_: int) -> Iterator[torch.Tensor]:
        yield model.weights[0]

    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    assert not iterate(model, sgd, losses, run, epochs=1, steps=1)
    assert run.guard.stopped_by == "gradient"
    assert state_bytes(model) == state_bytes(Line([0.0, 0.0]))


def test_what_a_mask_holds_stays_to_the_bit_under_momentum_and_decay_and_bad_gradients() -> None:
    model = Line([0.3, 0.7])
    mask = {"weights": torch.tensor([True, False])}
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5)
    # As if a step before had set the weight rolling.
    sgd.state[model.weights]["momentum_buffer"] = torch.ones(2, dtype=torch.float64)
    run = run_of(ONE, ONE, active=True)
    run.guard.watch(model)

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        # The derivative of the square root at 0 is infinite.
        rough = torch.sqrt(model.weights[1] - model.weights[1].detach())
        yield model.weights.sum() if epoch else model.weights[0] + rough

    assert iterate(model, sgd, losses, run, epochs=2, steps=1, mask=mask)
    assert float(model.weights[1].detach()) == 0.7
    assert float(model.weights[0].detach()) < 0.2


def statistics(model: Normed) -> tuple[bytes, bytes, int]:
    mean, variance = model.norm.running_mean, model.norm.running_var
    assert mean is not None
    assert variance is not None
    assert model.norm.num_batches_tracked is not None
    return (
        mean.numpy().tobytes(),
        variance.numpy().tobytes(),
        int(model.norm.num_batches_tracked),
    )


def test_running_statistics_follow_the_retain_rows_and_never_the_forget_rows() -> None:
    model = Normed().train()
    before = statistics(model)

    outputs(model, random_rows(8, seed=1), "forget")
    assert statistics(model) == before
    assert all(module.training for module in model.modules())

    outputs(model, random_rows(8, seed=1), "retain")
    assert statistics(model)[2] == 1
    assert statistics(model) != before


def test_forget_rows_are_read_as_the_model_will_be_asked_and_retain_rows_as_in_training() -> None:
    torch.manual_seed(1)
    model, rows = Normed(), random_rows(8, seed=1)
    plainly = model.eval()(rows.inputs)
    model.train()

    assert torch.equal(outputs(model, rows, "forget"), plainly)
    assert not torch.allclose(outputs(model, rows, "retain"), plainly)


def test_one_row_alone_is_no_error() -> None:
    model, row = Normed().train(), random_rows(1, seed=1)

    assert outputs(model, row, "retain").shape == (1, 2)
    with pytest.raises(ValueError, match="more than 1 value"):
        model(row.inputs)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.integers(0, 3))
def test_mixed_batches_hold_every_row_once_and_count_it(
    gone: int, kept: int, batch: int, epoch: int
) -> None:
    forget = Rows(torch.arange(gone)[:, None], torch.zeros(gone, dtype=torch.int64))
    retain = Rows(torch.arange(kept)[:, None], torch.ones(kept, dtype=torch.int64))
    run = run_of(forget, retain, batch=batch)

    seen: Counter[tuple[int, int]] = Counter()
    sizes = []
    for leaving, staying in mixed(run, forget, retain, epoch):
        sizes.append(len(leaving) + len(staying))
        for part in (leaving, staying):
            seen.update(zip(part.targets.tolist(), part.inputs[:, 0].tolist(), strict=True))

    assert set(seen.values()) == {1}
    assert len(seen) == gone + kept
    assert (run.ledger.forget, run.ledger.retain) == (gone, kept)
    assert all(size == batch for size in sizes[:-1])


def test_the_order_of_mixed_batches_follows_from_the_seed_and_the_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        forget, retain = random_rows(20, seed=1), random_rows(30, seed=2)
        run = run_of(forget, retain, batch=5, seed=seed)
        return [len(leaving) for leaving, _ in mixed(run, forget, retain, epoch)]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(1, epoch)) for epoch in range(5)}) > 1
    assert len({tuple(order(seed, 0)) for seed in range(5)}) > 1


def test_what_is_drawn_follows_from_the_seed_and_the_purpose() -> None:
    def drawn(seed: int, purpose: str) -> int:
        source = draws(run_of(ONE, ONE, seed=seed), purpose)
        return int(torch.randint(2**40, (), generator=source))

    assert drawn(1, "a") == drawn(1, "a")
    assert len({drawn(1, "a"), drawn(1, "b"), drawn(2, "a")}) == 3


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 12))
def test_pieces_are_all_rows_as_they_stand(count: int, size: int) -> None:
    rows = random_rows(count, seed=4)

    pieces = list(rows.pieces(size))

    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert len(pieces) == steps_of(run_of(rows, rows, batch=size), rows)
    if count:
        assert torch.equal(torch.cat([piece.inputs for piece in pieces]), rows.inputs)
        assert torch.equal(torch.cat([piece.targets for piece in pieces]), rows.targets)
