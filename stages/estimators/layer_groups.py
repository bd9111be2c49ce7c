"""Adapters whose layers are trained slice by slice, each slice a group of layers of its own.

Chowdhury et al., "Towards Scalable Exact Machine Unlearning Using Parameter-Efficient
Fine-Tuning" (S3T), ICLR 2025, section 3. The first slice trains the adapter on the last layers of
the base, the next slice on the layers before them, while all that was trained earlier stays as it
is. So what slices 1..r learned is in the layers of groups 1..r alone, and a row of slice r is
forgotten by switching the groups from r on off: their second matrices are zero, as before training.

Unlike in the paper, slice r is trained on the rows of slices 1..r, as all slices of this tool are.
"""

import re
from collections.abc import Sequence

import numpy as np
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import torch_state
from unlearn.stages.estimators.causal import LoraEstimator, TextSlice
from unlearn.stages.text import adapters

_NUMBER = re.compile(r"(?:^|\.)(\d+)\.")


def layer_groups(targets: Sequence[str], slices: int) -> list[list[str]]:
    """Return the adapter's layers that each slice trains.

    The numbered blocks of the base are split into groups of consecutive blocks, as equal in size
    as can be. The first group has the last blocks. Layers outside the blocks are in the last group.

    Parameters
    ----------
    targets
        Full names of the layers that the adapter is on.
    slices
        How many groups.

    Returns
    -------
    list of list of str
        The names by group; each name once.

    Raises
    ------
    InputError
        If there are fewer blocks with such layers than slices.

    Examples
    --------
    >>> layer_groups(["layers.0.up", "layers.0.down", "layers.1.up", "layers.2.up"], 2)
    [['layers.1.up', 'layers.2.up'], ['layers.0.up', 'layers.0.down']]
    """
    numbers = {name: _block_number(name) for name in targets}
    blocks = sorted({number for number in numbers.values() if number is not None}, reverse=True)
    if len(blocks) < slices:
        raise InputError(
            f"train.options.layers_by_slice: the adapter is on {len(blocks)} blocks of layers, and "
            f"{slices} slices need as many",
            f"set sharding.slices to at most {max(len(blocks), 1)}",
        )
    parts = np.array_split(np.array(blocks), slices)
    group_of = {int(block): group for group, part in enumerate(parts) for block in part}
    groups: list[list[str]] = [[] for _ in range(slices)]
    for name, number in numbers.items():
        groups[slices - 1 if number is None else group_of[number]].append(name)
    return groups


def _block_number(name: str) -> int | None:
    found = _NUMBER.search(name)
    return None if found is None else int(found[1])


class LayeredLoraEstimator(LoraEstimator):
    """An adapter, each group of whose layers is trained by a slice; see `LoraEstimator`."""

    def fit_slice(self, state: bytes | None, data: TextSlice, init_seed: int) -> bytes:
        """Train the layers of this slice's group; all others stay as they are.

        Parameters
        ----------
        state
            The weights after the slice before; None at the start.
        data
            The sequences and the budget.
        init_seed
            Seed of the adapter's first matrices.

        Raises
        ------
        InputError
            If the base has fewer blocks of layers than there are slices, or training diverges.
        """
        groups = layer_groups(self.shape.targets, data.slices)
        module, _ = self._start(init_seed)
        if state is not None:
            self._put(module, torch_state.weights_of(load_tensors(state)))
        trained = _train_only(module, groups[data.number - 1])
        optimizer = torch_state.make_optimizer(self.train.optimizer, trained)
        weights = self._tune(module, trained, optimizer, data)
        # The next slice trains other layers, and begins with an optimizer of its own.
        return save_tensors(torch_state.snapshot(weights, None))


def _train_only(wrapped: nn.Module, layers: Sequence[str]) -> list[nn.Parameter]:
    """Make an adapter's weights on some layers the only ones that are trained; return them."""
    wanted = {f"base_model.model.{name}" for name in layers}
    trained = []
    for path, layer in adapters.adapted_layers(wrapped, ["default"]):
        for matrix in (layer.lora_A["default"], layer.lora_B["default"]):
            matrix.weight.requires_grad_(path in wanted)
            if path in wanted:
                trained.append(matrix.weight)
    return trained
