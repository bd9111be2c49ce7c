"""The steps of a slice: batches in a drawn order, losses, and what the optimizer does with them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.averaging import WeightAverage
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.frozen import is_frozen
from unlearn.stages.estimators.network_loss import NetworkLoss
from unlearn.stages.estimators.packing import Packing
from unlearn.stages.estimators.schedules import rate_factors
from unlearn.stages.estimators.torch_machine import seed_all


@dataclass(frozen=True)
class SliceRows:
    """The rows of a slice's training, on the device.

    Parameters
    ----------
    inputs
        Rows as the network takes them, shape (rows, width).
    targets
        What the loss takes, shape (rows,).
    weights
        What each row's loss is multiplied by, shape (rows,); None where all count the same.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None

    def of(self, rows: torch.Tensor | slice) -> "SliceRows":
        """Return the rows at these places."""
        weights = None if self.weights is None else self.weights[rows]
        return SliceRows(self.inputs[rows], self.targets[rows], weights)


@dataclass(frozen=True)
class NetworkSteps:
    """Training's steps, by its settings.

    Parameters
    ----------
    train
        The settings.
    loss
        What is made small.
    device
        Where rows and module are.
    packing
        The parts of a row, where features are arrays.
    """

    train: TrainParams
    loss: NetworkLoss
    device: torch.device
    packing: Packing | None = None

    def take(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, rows: SliceRows, data: SliceData
    ) -> None:
        """Take the steps of a slice, and give the module the weights that they end with."""
        factor = rate_factors(self.train.schedule, data.steps)
        average = WeightAverage.of(module, self.train.average, data.steps)
        weights = list(module.parameters())
        module.train()
        for step, batch in enumerate(self._batches(module, rows, data)):
            if self.train.schedule is not None:
                for group in optimizer.param_groups:
                    group["lr"] = self.train.optimizer.rate * factor(step)
            loss = self._loss(module, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            if self.train.clip is not None:
                nn.utils.clip_grad_norm_(weights, self.train.clip)
            optimizer.step()
            if average is not None:
                average.count(step)
        if average is not None:
            average.write()

    def _loss(self, module: nn.Module, batch: SliceRows) -> torch.Tensor:
        with self._precision():
            answers = module(batch.inputs)
        if answers.dtype == torch.bfloat16:
            answers = answers.float()
        return self.loss.mean(answers, batch.targets, batch.weights)

    def _precision(self) -> AbstractContextManager[object]:
        if self.train.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _batches(self, module: nn.Module, rows: SliceRows, data: SliceData) -> Iterator[SliceRows]:
        """Yield the batch of each step, in epochs over all rows."""
        count = len(data.targets)
        places = batches(count, self.train.batch, joined=has_batch_norm(module))
        step = epoch = 0
        while step < data.steps:
            seed_all(data.seed(epoch))
            order = torch.randperm(count).to(self.device)
            # One gather an epoch, and batches are views; of arrays a batch at a time, which takes
            # less memory.
            gathered = rows.of(order) if self.packing is None else None
            for place in places[: data.steps - step]:
                yield rows.of(order[place]) if gathered is None else gathered.of(place)
                step += 1
            epoch += 1


def has_batch_norm(module: nn.Module) -> bool:
    """Tell whether a layer normalises over the rows of a batch: one row has no variance."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return any(isinstance(layer, kinds) and not is_frozen(layer) for layer in module.modules())


def batches(rows: int, size: int, *, joined: bool) -> list[slice]:
    """Return the batches of an epoch, in order.

    Parameters
    ----------
    rows, size
        Rows in all, and rows a batch.
    joined
        Whether a last batch of one row joins the batch before it.

    Examples
    --------
    >>> batches(5, 2, joined=False)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> batches(5, 2, joined=True)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    starts = list(range(0, rows, size))
    if joined and size > 1 and len(starts) > 1 and rows % size == 1:
        del starts[-1]
    return [slice(start, end) for start, end in pairwise([*starts, rows])]
