"""What all network methods have in common: the loop with its guard, batches, and how rows are read.

BatchNorm has two ways to read rows. Here it reads the retain rows as in training, and its running
statistics follow them. It reads the forget rows, and a batch of one row (which has no variance),
with the running statistics as they are: nothing of the forget rows' own mean and variance gets
into the model that is to be without them. No batch is skipped or merged for it.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import torch
from torch import nn
from unlearn.stages.unlearn.tabular.problem import AnyRows, Run, Side
from unlearn.stages.unlearn.tabular.rows import Rows

#: How often in an epoch the guard asks its probes, the first steps of all apart.
_CHECKS_AN_EPOCH = 4

#: How the guard looks on. `strict`: within epochs too, and a fall past the budget ends the phase.
#: `patient`: the same, but within an epoch such a state is only not kept, because the losses win
#: accuracy on the retain rows back by its end. `epochs`: at the ends of epochs alone.
Looks = Literal["strict", "patient", "epochs"]

#: Yields the loss of one step after another of an epoch; each is computed when it is asked for.
Losses = Callable[[int], Iterator[torch.Tensor]]


class Seeded(Protocol):
    """A run of a method, of any kind of model: all that is drawn follows from its seed."""

    seed: int


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def iterate(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Losses,
    run: Run,
    *,
    epochs: int,
    steps: int,
    mask: dict[str, torch.Tensor] | None = None,
    looks: Looks = "strict",
) -> bool:
    """Take the steps until they are through or the guard stops them.

    The guard is asked at the end of every epoch, some times in each, and after the steps 1, 2, 4, 8
    and so on of all: what goes wrong with too large a rate goes wrong at once.

    Parameters
    ----------
    model, optimizer
        What is changed, by what. `run.guard.watch(model)` comes before the first phase of a
        method, and `run.guard.settle(model)` after the last.
    losses
        Yields the losses of an epoch.
    run
        Its guard looks on.
    epochs, steps
        How many epochs, and about how many steps in each.
    mask
        By parameter name: true where a weight may move. The others stay to the bit, whatever
        momentum and weight decay say.
    looks
        How the guard looks on.

    Returns
    -------
    bool
        False if the guard stopped it.
    """
    if run.guard.over:
        return False
    every = max(1, -(-steps // _CHECKS_AN_EPOCH))
    parameters = dict(model.named_parameters())
    moves = mask or {}
    before = {name: parameters[name].detach().clone() for name in moves}
    model.train()
    total = 0
    for epoch in range(epochs):
        for taken, loss in enumerate(losses(epoch), start=1):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for name, moving in moves.items():
                _silence(parameters[name], moving)
            if not run.guard.allows(model):
                return False
            optimizer.step()
            for name, moving in moves.items():
                _hold(parameters[name], moving, before[name])
            total += 1
            due = looks != "epochs" and taken < steps and is_due(total, taken, every)
            if due and run.guard.stops(model, patient=looks == "patient"):
                return False
        if run.guard.stops(model):
            return False
    return True


def is_due(total: int, taken: int, every: int) -> bool:
    """Tell whether the guard is to be asked after a step: after the first ones, then now and then.

    Parameters
    ----------
    total, taken
        Steps taken in all, and in this epoch.
    every
        After how many of an epoch's steps it is asked.
    """
    return (total < every and total & (total - 1) == 0) or taken % every == 0


def outputs(model: nn.Module, rows: Rows, side: Side) -> torch.Tensor:
    """Return what the model answers, shape (rows, classes), BatchNorm as said above."""
    if side == "retain" and len(rows) > 1:
        plain: torch.Tensor = model(rows.inputs)
        return plain
    layers = [m for m in _batch_norms(model) if m.training and m.track_running_stats]
    for layer in layers:
        layer.eval()
    try:
        answers: torch.Tensor = model(rows.inputs)
    finally:
        for layer in layers:
            layer.train()
    return answers


def both(model: nn.Module, forget: Rows, retain: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the model answers to either side's rows, of which one may have none.

    In one forward pass, unless BatchNorm has to read them apart.
    """
    if not _batch_norms(model):
        answers = model(torch.cat([forget.inputs, retain.inputs]))
        gone, kept = torch.split(answers, [len(forget), len(retain)])
        return gone, kept
    if len(forget) == 0:
        kept = outputs(model, retain, "retain")
        return kept[:0], kept
    gone = outputs(model, forget, "forget")
    return gone, outputs(model, retain, "retain") if len(retain) else gone[:0]


def mean_loss(model: nn.Module, rows: Rows, side: Side, run: Run) -> torch.Tensor:
    """Return the mean of the rows' losses, a scalar: training's own loss, without its penalty.

    That is cross-entropy, but for a ridge classifier, whose outputs are no logits.
    """
    return run.objective.losses(outputs(model, rows, side), rows.targets).mean()


def sgd(
    model: nn.Module, rate: float, *, momentum: float = 0.0, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent on all parameters, as training uses it."""
    return torch.optim.SGD(
        model.parameters(), lr=rate, momentum=momentum, weight_decay=weight_decay, fused=True
    )


def steps_of(run: Run, rows: Rows) -> int:
    """Return how many mini-batches the rows make."""
    return -(-len(rows) // run.batch)


def mixed(
    run: Run, forget: AnyRows, retain: AnyRows, epoch: int
) -> Iterator[tuple[AnyRows, AnyRows]]:
    """Yield mini-batches of both sides' rows in one order, each split by side, and count them.

    Either part may be empty.
    """
    order = torch.randperm(len(forget) + len(retain), generator=draws(run, f"mixed {epoch}"))
    for index in torch.split(order.to(forget.targets.device), run.batch):
        gone, kept = index[index < len(forget)], index[index >= len(forget)] - len(forget)
        run.ledger.count("forget", len(gone))
        run.ledger.count("retain", len(kept))
        yield forget.take(gone), retain.take(kept)


def draws(run: Seeded, purpose: str) -> torch.Generator:
    """Return a source of random numbers that follows from the run's seed and the purpose."""
    digest = hashlib.sha256(f"{run.seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _batch_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, _BATCH_NORMS)]


def _silence(parameter: nn.Parameter, moving: torch.Tensor) -> None:
    # Not times 0: a gradient that is no number would stay one.
    if parameter.grad is not None:
        parameter.grad.masked_fill_(~moving, 0.0)


def _hold(parameter: nn.Parameter, moving: torch.Tensor, value: torch.Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(torch.where(moving, parameter, value))
