"""What a training loop of the user's own gets of a slice."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from torch import nn
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.augmentation import Augmenter
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.network_steps import SliceRows
from unlearn.stages.estimators.torch_machine import seed_all
from unlearn.stages.estimators.torch_state import (
    WEIGHTS,
    Tensors,
    restore_optimizer,
    snapshot,
    weights_of,
)
from unlearn.stages.estimators.unpacking import NetworkInput, Unpack


class Networks:
    """Builds the networks of a shard, without a trace in the generators of the process.

    Parameters
    ----------
    build
        Returns a network with freshly drawn weights.
    seed
        What these are drawn from: they are the same in each slice.
    """

    def __init__(self, build: Callable[[], nn.Module], seed: int) -> None:
        self._build = build
        self._seed = seed

    def fresh(self) -> nn.Module:
        """Return a network with freshly drawn weights, ready to be trained."""
        with _kept_generators():
            seed_all(self._seed)
            return self._build().train()

    @cached_property
    def weights(self) -> Tensors:
        """What the network's state_dict has: for names, shapes and types."""
        return dict(self.fresh().state_dict())


class LoopRows:
    """The rows of slices 1 to r, which the loop trains on in slice r.

    Parameters
    ----------
    data
        Rows and budget, as estimators get them.
    rows
        Inputs as numbers or as bytes, with targets and weights, on the device.
    networks
        Builds the networks.
    batches
        The rows of each batch of an epoch, by their place in the epoch's order.
    unpack
        Turns bytes into what the network reads; None where rows are numbers.
    augmenter
        Changes pictures; None where the settings ask for no change.

    Attributes
    ----------
    targets
        Class indices (int64), or for a regression numbers in the pinned scale of the target
        (float32); shape (rows,).
    weights
        Weights of the rows (float32), shape (rows,); None where all count the same.
    number, new, steps
        The slice, from 1; how many of the last rows are its own; and the steps that the budget of
        params.yaml gives it.
    device
        Where all tensors are.
    """

    def __init__(
        self,
        data: SliceData,
        rows: SliceRows,
        networks: Networks,
        *,
        batches: list[slice],
        unpack: Unpack | None,
        augmenter: Augmenter | None,
    ) -> None:
        self._data = data
        self._inputs = rows.inputs
        self._batches = batches
        self._unpack = unpack
        self._augmenter = augmenter
        self.targets = rows.targets
        self.weights = rows.weights
        self.networks = networks
        self.number, self.new, self.steps = data.number, data.new, data.steps
        self.device = rows.inputs.device

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._inputs)

    @property
    def inputs(self) -> NetworkInput:
        """All rows as the network reads them; pictures take four times their memory."""
        # A copy: what is written to it does not reach the next slice.
        return self._inputs.clone() if self._unpack is None else self._unpacked(self._inputs)

    def batch(self, index: torch.Tensor) -> NetworkInput:
        """Return some rows as the network reads them: float32, or a dict of them by feature.

        Parameters
        ----------
        index
            Their numbers from 0, shape (n,), int64.
        """
        return self._unpacked(self._inputs[index])

    def augmented(self, index: torch.Tensor, epoch: int) -> NetworkInput:
        """Return some rows as the network reads them, their pictures changed as `augment` says.

        Parameters
        ----------
        index
            Their numbers from 0, shape (n,), int64.
        epoch
            The epoch of this slice, from 0: each epoch has other changes. A row's change depends on
            it, the slice and the row alone.
        """
        if self._augmenter is None or self._data.draws is None:
            return self.batch(index)
        draws = self._data.draws[index.cpu().numpy()]
        return self._unpacked(self._augmenter(self._inputs[index], draws, self._data.number, epoch))

    def batches(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield for each of `steps` the epoch and the numbers of the rows of its batch.

        Each epoch has a new order, which follows from the seed.
        """
        taken = epoch = 0
        while taken < self.steps:
            generator = torch.Generator().manual_seed(self._data.seed(epoch))
            order = torch.randperm(len(self), generator=generator).to(self.device)
            for batch in self._batches:
                if taken == self.steps:
                    return
                yield epoch, order[batch]
                taken += 1
            epoch += 1

    def build(self, state: Tensors | None = None) -> nn.Module:
        """Return the network, ready to be trained: with the weights of a state, or new ones.

        Its weights are drawn from a seed of the shard, and the generators of the process stay as
        they were.

        Parameters
        ----------
        state
            A state with the network's weights as `model.*`; None for newly drawn weights.
        """
        network = self.networks.fresh()
        if state is not None:
            try:
                network.load_state_dict(weights_of(state))
            except RuntimeError:
                raise InputError(
                    f"train.loop: the state that build() was given has not the network's weights "
                    f"as {WEIGHTS}*"
                ) from None
        return network

    def restore(self, optimizer: torch.optim.Optimizer, state: Tensors | None) -> None:
        """Give an optimizer what `snapshot` kept of one; nothing is done if `state` is None."""
        if state is not None:
            restore_optimizer(state, optimizer)

    def snapshot(
        self, network: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> Tensors:
        """Return a state: the network's weights as `model.*`, the optimizer's as `optimizer.*`.

        An optimizer's learning rate and other settings are not in it.
        """
        if optimizer is None:
            return {f"{WEIGHTS}{name}": value for name, value in network.state_dict().items()}
        return snapshot(network.state_dict(), optimizer)

    def _unpacked(self, inputs: torch.Tensor) -> NetworkInput:
        return inputs if self._unpack is None else self._unpack.unpacked(inputs)


@contextmanager
def _kept_generators() -> Iterator[None]:
    """Leave the generators of the process as they were before the block."""
    python, numpy, own = random.getstate(), np.random.get_state(), torch.get_rng_state()
    # Untyped in torch.
    has_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if has_gpu else ()
    others = [torch.cuda.get_rng_state(device) for device in devices]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(own)
        for device, state in zip(devices, others, strict=True):
            torch.cuda.set_rng_state(state, device)
