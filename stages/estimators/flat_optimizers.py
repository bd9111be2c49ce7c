"""Optimizers of weights that stand in one flat tensor.

They take the same steps as `torch.optim`, up to rounding. A `step` there loads torch's compiler
when it is called first, which takes longer than the training of a small shard, and sorts its groups
of weights at each call, which takes as long as the update of a small network.
"""

from typing import Protocol

import torch
from unlearn.stages.config.train import OptimizerParams

#: As in torch.optim: decay of the two averages, and what keeps the quotient finite.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class FlatOptimizer(Protocol):
    """Changes weights by their gradients, both shape (n,).

    Attributes
    ----------
    rate
        The learning rate of the next step.
    """

    rate: float

    @property
    def slots(self) -> dict[str, torch.Tensor]:
        """What the next step reads, by name; what a state is restored to."""

    def step(self) -> None:
        """Take a step by the gradients as they are now."""


class FlatAdam:
    """Adam, or Adam with decoupled weight decay.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019. Adam adds the decay to the gradient, AdamW
    takes rate * decay * weights off the weights.
    """

    def __init__(
        self, params: OptimizerParams, weights: torch.Tensor, gradients: torch.Tensor
    ) -> None:
        # The kernels of torch.optim with `fused=True`. The functions that are public sort the
        # weights by device and type first: 9 us of the 40 that a step of 90,000 weights takes.
        self._update = torch._fused_adamw_ if params.name == "adamw" else torch._fused_adam_
        self.rate, self._decay = params.rate, params.weight_decay
        self._weights, self._gradients = [weights], [gradients]
        self._means = [torch.zeros_like(weights)]
        self._squares = [torch.zeros_like(weights)]
        # In float32 whatever the weights are, as in torch.optim.
        self._steps = [torch.zeros((), dtype=torch.float32, device=weights.device)]

    @property
    def slots(self) -> dict[str, torch.Tensor]:
        """Steps taken, and the averages of gradients and of their squares."""
        return {
            "step": self._steps[0],
            "exp_avg": self._means[0],
            "exp_avg_sq": self._squares[0],
        }

    def step(self) -> None:
        """Take a step: one pass over all weights."""
        self._steps[0].add_(1)
        self._update(
            self._weights,
            self._gradients,
            self._means,
            self._squares,
            [],
            self._steps,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=self.rate,
            weight_decay=self._decay,
            eps=_EPSILON,
            maximize=False,
        )


class FlatSgd:
    """Stochastic gradient descent with momentum m and decay d.

    b <- m b + g + d w, w <- w - rate b (Sutskever et al., "On the importance of initialization and
    momentum in deep learning", ICML 2013, with the rate outside b, as in torch).
    """

    def __init__(
        self, params: OptimizerParams, weights: torch.Tensor, gradients: torch.Tensor
    ) -> None:
        self._params, self.rate = params, params.rate
        self._weights, self._gradients = weights, gradients
        self._average = torch.zeros_like(weights) if params.momentum else None

    @property
    def slots(self) -> dict[str, torch.Tensor]:
        """The momentum, where there is one."""
        return {} if self._average is None else {"momentum_buffer": self._average}

    def step(self) -> None:
        """Take a step; the decay is added to the gradients in place."""
        change = self._gradients
        if self._params.weight_decay:
            change.add_(self._weights, alpha=self._params.weight_decay)
        if self._average is not None:
            change = self._average.mul_(self._params.momentum).add_(change)
        self._weights.add_(change, alpha=-self.rate)


def make_flat_optimizer(
    params: OptimizerParams, weights: torch.Tensor, gradients: torch.Tensor
) -> FlatOptimizer:
    """Return the optimizer that params.yaml names, at its start.

    Parameters
    ----------
    params
        The settings.
    weights, gradients
        Shape (n,); each step reads and changes them in place.
    """
    kind = FlatSgd if params.name == "sgd" else FlatAdam
    return kind(params, weights, gradients)
