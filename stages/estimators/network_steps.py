"""The steps of a slice: batches in a drawn order, losses, and what the optimizer does with them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.augmentation import Augmenter
from unlearn.stages.estimators.averaging import WeightAverage
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.frozen import is_frozen
from unlearn.stages.estimators.mixup import mix_rows
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
    augment
        Changes the pictures of rows, where the settings ask for it.
    """

    train: TrainParams
    loss: NetworkLoss
    device: torch.device
    packing: Packing | None = None
    augment: Augmenter | None = None

    def take(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, rows: SliceRows, data: SliceData
    ) -> None:
        """Take the steps of a slice, and give the module the weights that they end with."""
        factor = rate_factors(self.train.schedule, data.steps)
        average = WeightAverage.of(module, self.train.average, data.steps)
        weights = list(module.parameters())
        mixes = self._mixes
        module.train()
        for step, batch in enumerate(self._batches(module, rows, data)):
            if self.train.schedule is not None:
                for group in optimizer.param_groups:
                    group["lr"] = self.train.optimizer.rate * factor(step)
            loss = self._loss(module, batch, data.step_seed(step) if mixes else 0)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            if self.train.clip is not None:
                nn.utils.clip_grad_norm_(weights, self.train.clip)
            optimizer.step()
            if average is not None:
                average.count(step)
        if average is not None:
            average.write()

    @property
    def _mixes(self) -> bool:
        settings = self.train.augment
        return settings is not None and settings.mixup > 0

    def _loss(self, module: nn.Module, batch: SliceRows, seed: int) -> torch.Tensor:
        """Return the loss of a batch, a scalar; the seed is that of a step that mixes rows."""
        mixed = None
        if self._mixes and self.packing is not None and self.train.augment is not None:
            mixed = mix_rows(batch.inputs, self.packing, self.train.augment.mixup, seed)
        with self._precision():
            answers = module(batch.inputs if mixed is None else mixed.batch)
        if answers.dtype == torch.bfloat16:
            answers = answers.float()
        own = self.loss.mean(answers, batch.targets, batch.weights)
        if mixed is None:
            return own
        partners = batch.of(mixed.partners)
        return mixed.loss(own, self.loss.mean(answers, partners.targets, partners.weights))

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
                batch = rows.of(order[place]) if gathered is None else gathered.of(place)
                yield self._augmented(batch, order[place], data, epoch)
                step += 1
            epoch += 1

    def _augmented(
        self, batch: SliceRows, places: torch.Tensor, data: SliceData, epoch: int
    ) -> SliceRows:
        """Return a batch with changed pictures, given the places of its rows in `data`."""
        if self.augment is None:
            return batch
        if data.draws is None:
            raise ValueError("augmentation needs what is drawn for each row")
        draws = data.draws[places.cpu().numpy()]
        return replace(batch, inputs=self.augment(batch.inputs, draws, data.number, epoch))


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
