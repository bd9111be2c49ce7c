"""The mean of the weights after each of a slice's last steps."""

import math
from typing import Self

import torch
from torch import nn


class WeightAverage:
    """The mean of a module's weights over the last steps of a slice.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
    Running statistics of BatchNorm are averaged as weights are, so that no pass over the rows is
    needed after the last step. Counters keep their last value.

    Parameters
    ----------
    module
        What is trained.
    first
        The first step whose weights count, from 0.
    """

    def __init__(self, module: nn.Module, first: int) -> None:
        self._first = first
        self._count = 0
        self._weights = [
            value for value in module.state_dict().values() if value.is_floating_point()
        ]
        self._means: list[torch.Tensor] = []

    @classmethod
    def of(cls, module: nn.Module, share: float, steps: int) -> Self | None:
        """Return the average over a share of a slice's steps; None for a share of 0.

        The share is of at least one step.
        """
        if share == 0:
            return None
        # 1e-9: a share that is no binary fraction must not add a step.
        return cls(module, steps - max(1, math.ceil(share * steps - 1e-9)))

    def count(self, step: int) -> None:
        """Take in the weights after a step."""
        if step < self._first:
            return
        self._count += 1
        with torch.no_grad():
            if not self._means:
                self._means = [value.detach().clone() for value in self._weights]
            else:
                torch._foreach_lerp_(self._means, self._weights, 1 / self._count)

    def write(self) -> None:
        """Give the module the mean."""
        with torch.no_grad():
            for weight, mean in zip(self._weights, self._means, strict=False):
                weight.copy_(mean)
