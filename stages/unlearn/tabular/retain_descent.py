"""Training that goes on with the retain rows, at a rate that falls along half a cosine.

By training's own optimizer, whose steps a built-in perceptron takes without autograd, as in
training: a method that is to cost a fifth of it cannot take three times as long for a step.
"""

import math
from collections.abc import Callable, Iterator

import torch
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.tabular.iterate import Looks, iterate, mean_loss, steps_of
from unlearn.stages.unlearn.tabular.problem import MakeSteps, TabularProblem

#: Returns the weight of the sum of absolute weights, given the epoch, from 0, and their number.
L1 = Callable[[int, int], float]


def descend_retain(
    problem: TabularProblem,
    optimizer: torch.optim.Optimizer,
    *,
    wanted: int,
    looks: Looks = "recovers",
    l1: L1 | None = None,
) -> None:
    """Take steps on the mean loss of retain batches, and settle the guard, which watches already.

    The rate falls along half a cosine over all steps, to 0 after the last one (Loshchilov and
    Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5 without
    restarts).

    Parameters
    ----------
    problem
        Its model is trained.
    optimizer
        Of the model.
    wanted
        Epochs by the settings; a fifth of training's is the limit.
    looks
        How the guard looks on.
    l1
        The weight of the sum of absolute weights, which is added to the loss; None for no penalty.
    """
    model = problem.model
    epochs, steps = problem.epochs_of(wanted), steps_of(problem, problem.retain)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for batch in problem.batches(problem.retain, epoch, "retain"):
            loss = mean_loss(model, batch, "retain", problem)
            if l1 is not None:
                total = torch.stack([weight.abs().sum() for weight in weights]).sum()
                loss = loss + l1(epoch, epochs) * total
            yield loss
            # Asked for the next loss: the step is taken.
            schedule.step()

    iterate(model, optimizer, losses, problem, epochs=epochs, steps=steps, looks=looks)
    problem.guard.settle(model)


def train_on_retain(
    problem: TabularProblem, *, wanted: int, rate_factor: float, l1: L1 | None = None
) -> None:
    """Descend by training's own optimizer, with its decay and momentum; see `descend_retain`.

    The guard looks after the last step alone: before the rate has fallen, a model is worse than it
    will be.

    Parameters
    ----------
    problem, wanted, l1
        See `descend_retain`.
    rate_factor
        How many times training's rate the cosine starts from.
    """
    own = problem.optimizer.model_copy(update={"rate": rate_factor * problem.optimizer.rate})
    if problem.steps is None or problem.objective.loss != "cross_entropy":
        optimizer = make_optimizer(own, list(problem.model.parameters()))
        descend_retain(problem, optimizer, wanted=wanted, looks="end", l1=l1)
        return
    if not problem.guard.over:
        _take_steps(problem, problem.steps, own.rate, problem.epochs_of(wanted), l1)
        problem.guard.stops(problem.model)
    problem.guard.settle(problem.model)


def _take_steps(
    problem: TabularProblem, make: MakeSteps, start: float, epochs: int, l1: L1 | None
) -> None:
    draw = torch.Generator(problem.retain.targets.device)
    draw.manual_seed(draws(problem, "dropout").initial_seed())
    steps, count = make(problem.model, draw), steps_of(problem, problem.retain)
    for epoch in range(epochs):
        weight = 0.0 if l1 is None else l1(epoch, epochs)
        for number, batch in enumerate(problem.batches(problem.retain, epoch, "retain")):
            done = (epoch * count + number) / (epochs * count)
            rate = start * (1 + math.cos(math.pi * done)) / 2
            steps.take(batch.inputs, batch.targets, rate=rate, l1=weight)
    steps.write()
