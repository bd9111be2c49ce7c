"""Rows, fitted linear models and runs for the tests of methods on linear models."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.stages.unlearn.tabular.guard import Guard, Probes
from unlearn.stages.unlearn.tabular.problem import Objective, Run
from unlearn.stages.unlearn.tabular.rows import Rows


def draw_rows(
    count: int, classes: int, *, width: int = 4, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return inputs and targets of overlapping classes, every class among them."""
    draw = np.random.default_rng(seed)
    targets = np.arange(count) % classes
    centres = draw.normal(size=(classes, width))
    return centres[targets] + draw.normal(size=(count, width)), targets.astype(np.int64)


def as_rows(
    inputs: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    dtype: torch.dtype = torch.float64,
) -> Rows:
    """Return rows as methods take them."""
    return Rows(torch.from_numpy(inputs).to(dtype), torch.from_numpy(targets))


def make_run(objective: Objective) -> Run:
    """Return a run for methods that neither draw nor are guarded."""

    def fresh() -> nn.Module:
        raise AssertionError("not asked for")

    nobody = Rows(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    guard = Guard(Probes(nobody, nobody, None), budget=1.0, gradient_limit=1e9)
    return Run(seed=1, batch=8, epochs=10, objective=objective, fresh=fresh, guard=guard)


def distance(one: nn.Module, other: nn.Module) -> float:
    """Return how far apart two modules' parameters are, in the Euclidean norm."""
    squares = [
        float(((a - b).detach() ** 2).sum())
        for a, b in zip(one.parameters(), other.parameters(), strict=True)
    ]
    return float(sum(squares) ** 0.5)
