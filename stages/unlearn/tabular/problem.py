"""What a method for tables is given: the model, rows, training's objective, a seed, a guard.

A method may replace `problem.model` by another module, or change it in place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from torch import nn
from unlearn.stages.config.train import OptimizerParams
from unlearn.stages.estimators.network_loss import NetworkLoss
from unlearn.stages.training.young import EPOCHS_SHARE
from unlearn.stages.unlearn.base.ledger import Side, limited_epochs
from unlearn.stages.unlearn.base.problem import Problem
from unlearn.stages.unlearn.tabular.guard import TabularGuard
from unlearn.stages.unlearn.tabular.rows import Rows, row_losses

AnyRows = TypeVar("AnyRows", bound=Rows)


class Steps(Protocol):
    """Training's own steps without autograd; see `mlp.MlpSteps`."""

    def take(
        self, inputs: torch.Tensor, targets: torch.Tensor, *, rate: float, l1: float = 0.0
    ) -> None:
        """Take a step on a batch."""

    def write(self) -> None:
        """Give the module the weights as they are now."""


#: Returns the steps of a module, given what draws the masks of dropout.
MakeSteps = Callable[[nn.Module, torch.Generator], Steps]


@dataclass(frozen=True)
class Objective:
    """What training made small: the sum of the rows' losses, and a penalty.

    sum_i loss_i + (l2 + l2_per_row * n) / 2 * |w|^2 + <noise, w>, over the n rows and the penalised
    parameters w. Training on mean losses with weight decay d is `l2_per_row = d`.

    Parameters
    ----------
    loss
        `cross_entropy` of softmax; `squared`: half the squared distance between the outputs and
        targets of +1 for the true class and -1 for the others; or `one_vs_rest`: the sum over the
        classes of the logistic loss of each against the rest, the outputs being log sigmoids; or
        `squared_error` of a number, in the pinned scale of the target.
    l2, l2_per_row
        See above.
    penalized
        Names of the parameters that the penalty covers; None for all.
    noise
        By parameter name: the linear term of an objective that was perturbed.
    sigma
        Standard deviation of the numbers in `noise`; 0 where there is none.
    network
        The loss that a network was trained on where `loss` alone does not say it: with smoothed
        labels, or a user's own.
    class_weights
        What the losses of each class's rows are multiplied by, shape (classes,).
    """

    loss: Literal["cross_entropy", "squared", "one_vs_rest", "squared_error"] = "cross_entropy"
    l2: float = 0.0
    l2_per_row: float = 0.0
    penalized: frozenset[str] | None = None
    noise: dict[str, torch.Tensor] = field(default_factory=dict)
    sigma: float = 0.0
    network: NetworkLoss | None = None
    class_weights: torch.Tensor | None = None

    def penalty(self, rows: int) -> float:
        """Return the weight of |w|^2 / 2 relative to the summed losses of this number of rows."""
        return self.l2 + self.l2_per_row * rows

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return every row's loss, shape (rows,), given outputs of shape (rows, classes).

        Outputs of a regression have the shape (rows, 1) or (rows,).
        """
        if self.class_weights is not None:
            return self._plain(outputs, targets) * self.class_weights.to(outputs)[targets]
        return self._plain(outputs, targets)

    def _plain(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.network is not None:
            return self.network.rows(outputs, targets)
        if self.loss in ("cross_entropy", "squared_error"):
            return row_losses(outputs, targets)
        if self.loss == "one_vs_rest":
            true = nn.functional.one_hot(targets, outputs.shape[1]).bool()
            # log(1 - sigmoid), which keeps its precision where the sigmoid is next to 1.
            return -torch.where(true, outputs, torch.log(-torch.expm1(outputs))).sum(dim=1)
        places = torch.arange(outputs.shape[1], device=outputs.device)
        signs = 2 * (targets.unsqueeze(1) == places).to(outputs.dtype) - 1
        return ((outputs - signs) ** 2).sum(dim=1) / 2

    def total(self, model: nn.Module, rows: Rows) -> torch.Tensor:
        """Return the objective's value on rows, a scalar."""
        return self.losses(model(rows.inputs), rows.targets).sum() + self.penalties(
            model, len(rows)
        )

    def penalties(self, model: nn.Module, rows: int) -> torch.Tensor:
        """Return penalty and linear term of a model trained on this number of rows, a scalar."""
        parameters = dict(model.named_parameters())
        total = next(iter(parameters.values())).new_zeros(())
        for name, value in parameters.items():
            if self.penalized is None or name in self.penalized:
                total = total + self.penalty(rows) / 2 * (value**2).sum()
            if name in self.noise:
                total = total + (self.noise[name] * value).sum()
        return total


@dataclass
class TabularProblem(Problem[Rows, TabularGuard]):
    """A model of a table, the rows to forget and to keep, and how a method is to work.

    Parameters
    ----------
    model
        A copy of the original; what it is in the end is the method's result.
    batch
        Rows a step in training.
    objective
        What training made small.
    fresh
        Returns a module of the same kind with new random weights.
    optimizer
        The optimizer of training, `train.optimizer`. A scikit-learn model has the section's
        defaults, which its own training does not read.
    steps
        Returns training's own steps for the model; None where autograd takes them.
    """

    model: nn.Module
    batch: int
    objective: Objective
    fresh: Callable[[], nn.Module]
    optimizer: OptimizerParams = field(default_factory=OptimizerParams, kw_only=True)
    steps: MakeSteps | None = field(default=None, kw_only=True)

    def epochs_of(self, wanted: int, cost: float = 1.0) -> int:
        """Return how many epochs an update may take: as wanted, or a fifth of training's.

        Parameters
        ----------
        wanted
            By the settings.
        cost
            How many of training's epochs one of the method's reads as many rows as.
        """
        return limited_epochs(wanted, self.epochs / EPOCHS_SHARE / cost)

    def batches(self, rows: AnyRows, epoch: int, side: Side) -> Iterator[AnyRows]:
        """Yield the rows in mini-batches, in an order drawn for the epoch, and count them."""
        draw = torch.Generator().manual_seed(self._seed(epoch, side))
        order = torch.randperm(len(rows), generator=draw)
        # One gather an epoch; batches are then views.
        for batch in rows.take(order.to(rows.targets.device)).pieces(self.batch):
            self.ledger.count(side, len(batch))
            yield batch

    def endless(self, rows: AnyRows, epoch: int, side: Side) -> Iterator[AnyRows]:
        """Yield mini-batches indefinitely, in a new order after each pass."""
        lap = 0
        while True:
            # Laps of one epoch must not repeat the orders of the next.
            yield from self.batches(rows, epoch * 1_000_003 + lap, side)
            lap += 1

    def _seed(self, epoch: int, side: Side) -> int:
        # Distinct for every pair; the seed itself is drawn from the key.
        return (self.seed * 31 + epoch * 2 + (side == "retain")) % 2**63
