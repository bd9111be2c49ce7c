"""Rows, fitted linear models and runs for the tests of methods on linear models."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.stages.unlearn.base.registry import Function
from unlearn.stages.unlearn.tabular.guard import Probes, TabularGuard
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
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


def make_run(objective: Objective) -> TabularProblem:
    """Return a problem for methods that neither draw nor are guarded; see `applied`."""

    def fresh() -> nn.Module:
        raise AssertionError("not asked for")

    nobody = Rows(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    guard = TabularGuard(Probes(nobody, nobody, None), budget=1.0, gradient_limit=1e9)
    return TabularProblem(
        forget=nobody,
        retain=nobody,
        settings=None,
        seed=1,
        epochs=10,
        guard=guard,
        model=nn.Identity(),
        batch=8,
        objective=objective,
        fresh=fresh,
    )


def applied(
    function: Function,
    model: nn.Module,
    forget: Rows,
    retain: Rows,
    settings: Any,
    run: TabularProblem,
) -> nn.Module:
    """Return what a method makes of a model; the other facts of the run stand in `run`."""
    run.model, run.forget, run.retain, run.settings = model, forget, retain, settings
    function(run)
    return run.model


def distance(one: nn.Module, other: nn.Module) -> float:
    """Return how far apart two modules' parameters are, in the Euclidean norm."""
    squares = [
        float(((a - b).detach() ** 2).sum())
        for a, b in zip(one.parameters(), other.parameters(), strict=True)
    ]
    return float(sum(squares) ** 0.5)
