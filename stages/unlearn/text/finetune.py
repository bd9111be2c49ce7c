"""Training continues on the retain set only."""

import torch
from unlearn.stages.config.text import LanguageFinetuneSettings
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.descent import (
    Descent,
    Objective,
    by_token,
    descend,
    retain_alone,
    split_losses,
)
from unlearn.stages.unlearn.text.problem import TextProblem


def finetune(problem: TextProblem) -> None:
    """Descend the retain rows' cross-entropy, in the hope that the others fade.

    Nothing in it pushes the forget rows out, so the guard lets it go on where their loss is at its
    target from the start.

    Costs as many steps as one side of `npo`.
    """
    problem.guard.watch(ascends=False)

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, forgotten, retained)
        return found.by_token(), rest.by_token()

    epochs = problem.epochs_of(problem.steps * problem.shared.batch)
    objective = Objective(0.0, both, by_token(problem.forget), by_token(problem.retain))
    descend(problem, objective, Descent(epochs, retain_alone(problem)))
    problem.guard.settle()


register(Method("finetune", "text", LanguageFinetuneSettings, finetune))
