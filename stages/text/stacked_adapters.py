"""All adapters of an ensemble in one pass: their matrices stacked, one product for all of them.

PEFT reads a batch of several adapters one adapter after another, in each layer. With stacked
matrices a layer takes one product for all of them. Generation reads a token in a pass, so that many
small products are what takes its time.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from unlearn.stages.text.adapters import adapted_layers


class Routes:
    """Which adapter each sequence of a batch is read by; None where all adapters read all of it.

    The layers of one model share it.
    """

    def __init__(self) -> None:
        self.adapters: torch.Tensor | None = None


class StackedLinear(nn.Module):
    """A linear layer with several low-rank adapters: x W + x A_m B_m for each adapter m.

    Parameters
    ----------
    base
        The layer.
    down
        First matrices A, shape (adapters, inputs, rank).
    up
        Second matrices B times their scales, shape (adapters, rank, outputs).
    routes
        Which adapter reads which sequence. Without routes the batch has the sequences of the first
        adapter, then those of the second, and so on, as many for each.
    """

    def __init__(
        self, base: nn.Module, down: torch.Tensor, up: torch.Tensor, routes: Routes
    ) -> None:
        super().__init__()
        self.base = base
        # Of the module, but not of its state: the weights are the adapters'.
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("up", up, persistent=False)
        self._routes = routes

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of all sequences, shape (sequences, length, outputs)."""
        found: torch.Tensor = self.base(inputs)
        down: Any = self.down
        up: Any = self.up
        if self._routes.adapters is not None:
            down, up = down[self._routes.adapters], up[self._routes.adapters]
        grouped = inputs.reshape(len(down), -1, inputs.shape[-1])
        change = torch.bmm(torch.bmm(grouped.to(down.dtype), down), up)
        return found + change.view_as(found).to(found.dtype)


def stack(wrapped: nn.Module, names: Sequence[str], routes: Routes) -> nn.Module:
    """Return the model below PEFT with stacked adapters; it shares all other weights.

    Parameters
    ----------
    wrapped
        A model of PEFT.
    names
        The adapters, in the order of the stack. They may have different ranks and layers.
    routes
        Which adapter reads which sequence.
    """
    inner: Any = wrapped.get_base_model()  # type: ignore[operator]  # of PEFT
    weights = (*inner.parameters(), *inner.buffers())
    module: nn.Module = copy.deepcopy(inner, {id(weight): weight for weight in weights})
    for path, layer in adapted_layers(module, names):
        parent, _, last = path.rpartition(".")
        stacked = StackedLinear(layer.base_layer, *_matrices(layer, names), routes)
        setattr(module.get_submodule(parent), last, stacked)
    return module.eval()


def _matrices(layer: Any, names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's matrices as `StackedLinear` takes them; zeros where an adapter has none."""
    there = [name for name in names if name in layer.lora_A]
    first, second = layer.lora_A[there[0]].weight, layer.lora_B[there[0]].weight
    rank = max(layer.lora_A[name].weight.shape[0] for name in there)
    down = first.new_zeros(len(names), first.shape[1], rank)
    up = second.new_zeros(len(names), rank, second.shape[0])
    with torch.no_grad():
        for at, name in enumerate(names):
            if name in there:
                own = layer.lora_A[name].weight
                down[at, :, : len(own)] = own.T
                up[at, : len(own)] = layer.lora_B[name].weight.T * layer.scaling[name]
    return down, up
