"""What a method is given, beside the model: rows, training's objective, a seed, a guard.

A method is `method(model, forget, retain, settings, run) -> model`. It may change the module that
it is given, which is a copy, and returns the module that is to take the original's place.
Everything that it draws follows from `run.seed`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.unlearn.tabular.guard import Guard, StoppedBy
from unlearn.stages.unlearn.tabular.rows import Rows

Side = Literal["forget", "retain"]

AnyRows = TypeVar("AnyRows", bound=Rows)

#: An update method takes at most this share of the epochs that training took.
EPOCHS_SHARE = 5


class NotApplicableError(Exception):
    """A method does not apply to this model or these rows; its message says why, to people."""


class MustRetrainError(Exception):
    """A method's guarantee is used up: only training anew will do.

    Parameters
    ----------
    reason
        Why, to people.
    facts
        What the report is to say of it, as JSON values.
    """

    def __init__(self, reason: str, facts: dict[str, Any]) -> None:
        super().__init__(reason)
        self.facts = facts


@dataclass(frozen=True)
class Changed:
    """A model that a method changed.

    Parameters
    ----------
    files
        Of the model, by name.
    stopped_by, rolled_back
        What ended an iterative method, and whether the guard took steps back.
    passes
        How often the method read each row of either side, on average.
    facts
        What else there is to say, as JSON values.
    """

    files: dict[str, bytes]
    stopped_by: StoppedBy
    rolled_back: bool
    passes: dict[str, float]
    facts: dict[str, Any]


@contextmanager
def told_by_name() -> Iterator[None]:
    """Turn what a user's method or module raises into an error that says its name only.

    Its message may quote a row.
    """
    try:
        yield
    except (NotApplicableError, MustRetrainError, InputError):
        raise
    except Exception as error:
        raise InputError(
            f"the method failed ({type(error).__name__})", "--debug shows where"
        ) from error


def check_facts(facts: dict[str, Any]) -> None:
    """Raise an InputError if what a method has left to be said is no JSON."""
    try:
        json_bytes(facts)
    except (TypeError, ValueError):
        raise InputError("the method leaves facts that are no JSON values") from None


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
        classes of the logistic loss of each against the rest, the outputs being log sigmoids.
    l2, l2_per_row
        See above.
    penalized
        Names of the parameters that the penalty covers; None for all.
    noise
        By parameter name: the linear term of an objective that was perturbed.
    sigma
        Standard deviation of the numbers in `noise`; 0 where there is none.
    """

    loss: Literal["cross_entropy", "squared", "one_vs_rest"] = "cross_entropy"
    l2: float = 0.0
    l2_per_row: float = 0.0
    penalized: frozenset[str] | None = None
    noise: dict[str, torch.Tensor] = field(default_factory=dict)
    sigma: float = 0.0

    def penalty(self, rows: int) -> float:
        """Return the weight of |w|^2 / 2 beside the summed losses of so many rows."""
        return self.l2 + self.l2_per_row * rows

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return every row's loss, shape (rows,), given outputs of shape (rows, classes)."""
        if self.loss == "cross_entropy":
            return nn.functional.cross_entropy(outputs, targets, reduction="none")
        if self.loss == "one_vs_rest":
            true = nn.functional.one_hot(targets, outputs.shape[1]).bool()
            # log(1 - sigmoid), which keeps its precision where the sigmoid is next to 1.
            return -torch.where(true, outputs, torch.log(-torch.expm1(outputs))).sum(dim=1)
        places = torch.arange(outputs.shape[1], device=outputs.device)
        signs = 2 * (targets.unsqueeze(1) == places).to(outputs.dtype) - 1
        return ((outputs - signs) ** 2).sum(dim=1) / 2

    def total(self, model: nn.Module, rows: Rows) -> torch.Tensor:
        """Return the objective's value on rows, a scalar."""
        return self.losses(model(rows.inputs), rows.targets).sum() + self.beside(model, len(rows))

    def beside(self, model: nn.Module, rows: int) -> torch.Tensor:
        """Return penalty and linear term of a model trained on so many rows, a scalar."""
        parameters = dict(model.named_parameters())
        total = next(iter(parameters.values())).new_zeros(())
        for name, value in parameters.items():
            if self.penalized is None or name in self.penalized:
                total = total + self.penalty(rows) / 2 * (value**2).sum()
            if name in self.noise:
                total = total + (self.noise[name] * value).sum()
        return total


@dataclass
class Ledger:
    """How many rows a method read of either side, each time that it read them."""

    forget: int = 0
    retain: int = 0

    def count(self, side: Side, rows: int) -> None:
        """Note that rows were read, for a step or for a sum over all of them."""
        setattr(self, side, getattr(self, side) + rows)


@dataclass
class Run:
    """How a method is to work.

    Parameters
    ----------
    seed
        What every random number follows from.
    batch, epochs
        Rows a step, and passes over the rows, in training.
    objective
        What training made small.
    fresh
        Returns a module of the same kind with weights drawn anew.
    guard
        Watches over iterative methods.
    ledger
        What was read; `batches` counts by itself.
    facts
        What else the report is to say, as JSON values; a method may add to it.
    """

    seed: int
    batch: int
    epochs: int
    objective: Objective
    fresh: Callable[[], nn.Module]
    guard: Guard
    ledger: Ledger = field(default_factory=Ledger)
    facts: dict[str, Any] = field(default_factory=dict)

    def epochs_of(self, wanted: int, cost: float = 1.0) -> int:
        """Return how many epochs an update may take: as wanted, or a fifth of training's.

        Parameters
        ----------
        wanted
            By the settings.
        cost
            How many of training's epochs one of the method's reads as many rows as.
        """
        return min(wanted, max(1, int(self.epochs / EPOCHS_SHARE / cost)))

    def batches(self, rows: AnyRows, epoch: int, side: Side) -> Iterator[AnyRows]:
        """Yield the rows in mini-batches, in an order drawn for the epoch, and count them."""
        draw = torch.Generator().manual_seed(self._seed(epoch, side))
        order = torch.randperm(len(rows), generator=draw)
        # One gather an epoch; batches are then views.
        for batch in rows.take(order.to(rows.targets.device)).pieces(self.batch):
            self.ledger.count(side, len(batch))
            yield batch

    def endless(self, rows: AnyRows, epoch: int, side: Side) -> Iterator[AnyRows]:
        """Yield mini-batches without end, in a new order each time that all rows were read."""
        lap = 0
        while True:
            # Laps of one epoch must not repeat the orders of the next.
            yield from self.batches(rows, epoch * 1_000_003 + lap, side)
            lap += 1

    def _seed(self, epoch: int, side: Side) -> int:
        # Distinct for every pair; the seed itself is drawn from the key.
        return (self.seed * 31 + epoch * 2 + (side == "retain")) % 2**63
