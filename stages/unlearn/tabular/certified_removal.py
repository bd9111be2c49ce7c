"""Certified removal: a Newton step whose error the training's noise is known to hide.

Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020, sections 3.1 to 3.3.
Training made L_b small, a sum over rows with noise in it
(`unlearn.stages.estimators.perturbed_logistic`). All forget rows are removed together, from the
original:

    v  = -H^-1 g,   g and H being gradient and Hessian of L_b on the retain rows at w
    w' = w + v

At the minimum over all rows g is minus what the forget rows put in, the paper's Delta. Here it is
computed on the retain rows, so that what training left of the gradient is taken off with it, and
the bound needs no minimum to start from. X being the retain rows, the gradient at w' is the
integral of (H(w + tv) - H) v over t from 0 to 1, in which a row's curvature changes by
gamma |<x, v>| at most. So, as in the paper's Corollaries 1 and 2, the latter for batches,

    |grad L_b(w'; retain)| <= gamma |X|_2 |v| |Xv| + |Hv + g|

with gamma 1/4 for the logistic loss; the last term is the residual of solving the system in
floating point. The bound is on the distance to the minimum of retraining. Training does not reach
this minimum exactly either; its recorded residual is added.

The noise of all classes is one Gaussian vector, and so are their residuals: the norm is that over
all, which is how one-vs-rest composes.

Theorem 3: with noise of standard deviation sigma, and c = sqrt(2 ln(1.5 / delta)), a residual of
epsilon * sigma / c is (epsilon, delta)-certified. That is the budget, for the whole forget list.

Passes: the forget rows are never read; the retain rows three times.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from unlearn.stages.config.methods import CertifiedRemovalSettings
from unlearn.stages.estimators.perturbed_logistic import PerturbedLogistic
from unlearn.stages.unlearn.base.problem import MustRetrainError, NotApplicableError
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows

#: The logistic loss has a second derivative that changes at most so fast (section 3.1).
GAMMA = 0.25
_ROUNDING = 1e-9
_TWO = 2


def certified_removal(problem: TabularProblem) -> None:
    """Take the forget rows out, or say that the budget does not allow it.

    The model is a `PerturbedLogistic`. The forget rows are not read, but counted: without any,
    nothing is changed.

    Raises
    ------
    NotApplicableError
        If the model was trained otherwise.
    MustRetrainError
        If the residual may exceed the budget.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: CertifiedRemovalSettings = problem.settings
    objective = problem.objective
    if not isinstance(model, PerturbedLogistic) or "weight" not in objective.noise:
        raise NotApplicableError(
            "only `train.model: perturbed_logistic` has a certificate: a convex linear model, "
            "trained by this tool with noise in its objective, on features that are not learned "
            "from the data and have norm 1 at most"
        )
    if float(retain.inputs.norm(dim=1).max()) > 1 + _ROUNDING:
        raise NotApplicableError("rows have a norm above 1")
    budget = residual_budget(settings.epsilon, settings.delta, objective.sigma)
    trained = float(model.residual)
    if len(forget) == 0:
        problem.facts |= _account(settings, budget, trained, trained)
        return
    step = newton_step(model, retain, objective)
    problem.ledger.count("retain", 2 * len(retain))
    bound = step.bound + trained
    if not bound <= budget:
        raise MustRetrainError(
            f"the residual of removing {len(forget)} rows may be {bound:.3g}, and the budget for "
            f"epsilon {settings.epsilon:g} and delta {settings.delta:g} is {budget:.3g}",
            _account(settings, budget, bound, None),
        )
    with torch.no_grad():
        model.weight.add_(step.step)
        residual = gradient(model, retain, objective).norm()
        model.residual.copy_(residual)
    problem.ledger.count("retain", len(retain))
    problem.facts |= _account(settings, budget, bound, float(residual))


def residual_budget(epsilon: float, delta: float, sigma: float) -> float:
    """Return the largest residual that noise hides (Guo et al. 2020, Theorem 3).

    Parameters
    ----------
    epsilon, delta
        How well models with and without the rows may be distinguished.
    sigma
        Standard deviation of the noise.
    """
    return epsilon * sigma / math.sqrt(2 * math.log(1.5 / delta))


@dataclass(frozen=True)
class NewtonStep:
    """A step, shaped as the weights, and a bound on the gradient's norm after it."""

    step: torch.Tensor
    bound: float


def newton_step(model: PerturbedLogistic, rows: Rows, objective: Objective) -> NewtonStep:
    """Return the step to the minimum on rows, and how far from it the step may end."""
    inputs = rows.inputs
    slopes = gradient(model, rows, objective)
    with torch.no_grad():
        likely = torch.sigmoid(model.scores(inputs))
        spectral = float(torch.linalg.eigvalsh(inputs.T @ inputs)[-1].clamp(min=0)) ** 0.5
        steps, squares = [], 0.0
        for curvatures, slope in zip((likely * (1 - likely)).T, slopes, strict=True):
            hessian = inputs.T @ (curvatures[:, None] * inputs)
            hessian.diagonal().add_(objective.penalty(len(rows)))
            factor = torch.linalg.cholesky(hessian)
            step = -torch.cholesky_solve(slope[:, None], factor)[:, 0]
            moved = GAMMA * spectral * float(step.norm()) * float((inputs @ step).norm())
            squares += (moved + float((hessian @ step + slope).norm())) ** 2
            steps.append(step)
    return NewtonStep(torch.stack(steps), math.sqrt(squares))


def gradient(model: PerturbedLogistic, rows: Rows, objective: Objective) -> torch.Tensor:
    """Return the objective's gradient on rows, shaped as the weights."""
    with torch.no_grad():
        signs = torch.zeros_like(model.scores(rows.inputs))
        if model.classes == _TWO:
            signs[:, 0] = rows.targets
        else:
            signs = nn.functional.one_hot(rows.targets, model.classes).to(signs)
        # Of the loss by the score: how likely the class is held, less what is true.
        excess = torch.sigmoid(model.scores(rows.inputs)) - signs
        penalty = objective.penalty(len(rows)) * model.weight
        return excess.T @ rows.inputs + penalty + objective.noise["weight"]


def _account(
    settings: CertifiedRemovalSettings, budget: float, bound: float, residual: float | None
) -> dict[str, float | None]:
    return {
        "epsilon": settings.epsilon,
        "delta": settings.delta,
        "residual_bound": bound,
        "residual_budget": budget,
        "residual": residual,
        "left": max(0.0, budget - bound),
    }


def _label(facts: Mapping[str, Any]) -> str:
    # Without facts no certificate was given.
    if not facts:
        return "certified"
    return f"certified(epsilon={facts['epsilon']:g}, delta={facts['delta']:g})"


register(
    Method(
        "certified_removal",
        "tabular",
        CertifiedRemovalSettings,
        certified_removal,
        label=_label,
    )
)
