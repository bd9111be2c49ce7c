"""Ascent on the forget set alone."""

import torch
from unlearn.stages.config.text import AscentSettings
from unlearn.stages.text import losses
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.descent import (
    Descent,
    Objective,
    by_token,
    descend,
    forget_alone,
    split_losses,
)
from unlearn.stages.unlearn.text.problem import TextProblem


def gradient_ascent(problem: TextProblem) -> None:
    """Ascend the forget rows' cross-entropy, with nothing that keeps the rest.

    See `losses.gradient_ascent`: a demonstration of collapse, if nothing stops it.

    Costs up to `epochs` passes over the forget rows.
    """
    problem.guard.watch()

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, forgotten, retained)
        return losses.gradient_ascent(found), rest.by_token()

    weighs = by_token(problem.forget)
    epochs = problem.epochs_of(len(problem.forget))
    objective = Objective(1.0, both, weighs, by_token(problem.retain))
    descend(problem, objective, Descent(epochs, forget_alone(problem), recovers=False))
    problem.guard.settle()


register(Method("gradient_ascent", "text", AscentSettings, gradient_ascent))
