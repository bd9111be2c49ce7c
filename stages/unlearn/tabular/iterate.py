"""What all network methods have in common: the loop with its guard, batches, and how rows are read.

BatchNorm has two ways to read rows. Here it reads the retain rows as in training, and its running
statistics follow them. It reads the forget rows, and a batch of one row (which has no variance),
with the running statistics as they are: nothing of the forget rows' own mean and variance gets
into the model that is to be without them. No batch is skipped or merged for it.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import nn
from unlearn.stages.unlearn.base.ledger import Side
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.tabular.problem import AnyRows, TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows

#: How the guard looks on. `strict`: in the middle of epochs too, and a fall past the budget ends
#: the phase. `recovers`: the same, but within an epoch such a state is only not kept, because the
#: losses recover accuracy on the retain rows by its end. `epochs`: at the ends of epochs alone.
#: `end`: after the last step alone, for what starts from a model that was damaged on purpose.
Looks = Literal["strict", "recovers", "epochs", "end"]

#: Yields the losses of an epoch's steps; each is computed when it is requested.
Losses = Callable[[int], Iterator[torch.Tensor]]


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def iterate(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Losses,
    problem: TabularProblem,
    *,
    epochs: int,
    steps: int,
    mask: dict[str, torch.Tensor] | None = None,
    looks: Looks = "strict",
) -> bool:
    """Take the steps until they are through or the guard stops them.

    The guard measures in the middle and at the end of every epoch, as long as that takes no more
    than its share of the work, and after the last step. `looks` may be less.

    Parameters
    ----------
    model, optimizer
        What is changed, by what. `problem.guard.watch(model)` comes before the first phase of a
        method, and `problem.guard.settle(model)` after the last.
    losses
        Yields the losses of an epoch.
    problem
        Its guard looks on.
    epochs, steps
        How many epochs, and about how many steps in each.
    mask
        By parameter name: true where a weight may change. The others do not change by a bit, with
        any momentum and weight decay.
    looks
        How the guard looks on.

    Returns
    -------
    bool
        False if the guard stopped it.
    """
    guard, ledger = problem.guard, problem.ledger
    if guard.over:
        return False
    middle = -(-steps // 2)
    parameters = dict(model.named_parameters())
    moves = mask or {}
    before = {name: parameters[name].detach().clone() for name in moves}
    model.train()
    for epoch in range(epochs):
        read = ledger.rows
        for taken, loss in enumerate(losses(epoch), start=1):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for name, moving in moves.items():
                _silence(parameters[name], moving)
            if not guard.allows(model):
                return False
            optimizer.step()
            for name, moving in moves.items():
                _hold(parameters[name], moving, before[name])
            guard.count_step(ledger.rows - read, guard.overhead)
            read = ledger.rows
            due = looks in ("strict", "recovers") and taken == middle < steps
            if due and guard.affords_a_look and guard.stops(model, recovers=looks == "recovers"):
                return False
        ends = looks != "end" and guard.affords_a_look
        if (ends or epoch == epochs - 1) and guard.stops(model):
            return False
    return True


def outputs(model: nn.Module, rows: Rows, side: Side) -> torch.Tensor:
    """Return what the model answers, shape (rows, classes), BatchNorm as described above."""
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

    In one forward pass, unless BatchNorm has to read them separately.
    """
    if not _batch_norms(model):
        answers = model(torch.cat([forget.inputs, retain.inputs]))
        forget_answers, retain_answers = torch.split(answers, [len(forget), len(retain)])
        return forget_answers, retain_answers
    if len(forget) == 0:
        retain_answers = outputs(model, retain, "retain")
        return retain_answers[:0], retain_answers
    forget_answers = outputs(model, forget, "forget")
    return forget_answers, outputs(model, retain, "retain") if len(retain) else forget_answers[:0]


def mean_loss(model: nn.Module, rows: Rows, side: Side, problem: TabularProblem) -> torch.Tensor:
    """Return the mean of the rows' losses, a scalar: training's own loss, without its penalty.

    That is cross-entropy, but for a ridge classifier, whose outputs are no logits.
    """
    return problem.objective.losses(outputs(model, rows, side), rows.targets).mean()


def sgd(
    model: nn.Module, rate: float, *, momentum: float = 0.0, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent on all parameters, as training uses it."""
    return torch.optim.SGD(
        model.parameters(), lr=rate, momentum=momentum, weight_decay=weight_decay, fused=True
    )


def steps_of(problem: TabularProblem, rows: Rows) -> int:
    """Return how many mini-batches the rows make."""
    return -(-len(rows) // problem.batch)


def mixed(
    problem: TabularProblem, forget: AnyRows, retain: AnyRows, epoch: int
) -> Iterator[tuple[AnyRows, AnyRows]]:
    """Yield mini-batches of both sides' rows in one order, each split by side, and count them.

    Either part may be empty.
    """
    order = torch.randperm(len(forget) + len(retain), generator=draws(problem, f"mixed {epoch}"))
    for index in torch.split(order.to(forget.targets.device), problem.batch):
        forgotten, retained = index[index < len(forget)], index[index >= len(forget)] - len(forget)
        problem.ledger.count("forget", len(forgotten))
        problem.ledger.count("retain", len(retained))
        yield forget.take(forgotten), retain.take(retained)


def _batch_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, _BATCH_NORMS)]


def _silence(parameter: nn.Parameter, moving: torch.Tensor) -> None:
    # Not times 0: a gradient that is no number would stay one.
    if parameter.grad is not None:
        parameter.grad.masked_fill_(~moving, 0.0)


def _hold(parameter: nn.Parameter, moving: torch.Tensor, value: torch.Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(torch.where(moving, parameter, value))
