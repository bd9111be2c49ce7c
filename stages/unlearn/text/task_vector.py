"""Task arithmetic: learn the forget set even better, then go the other way."""

import torch
from unlearn.stages.config.text import TaskVectorSettings
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
from unlearn.stages.unlearn.text.tuned import SECOND_MATRIX

#: How often the scale is halved before the method gives up.
_HALVINGS = 8


def task_vector(problem: TextProblem) -> None:
    """Subtract what further tuning on the forget set adds.

        w = w_0 - scale * (w_1 - w_0),   w_1 = w_0 tuned further on the forget set

    Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023, section 3. What a new adapter
    adds is the product of its matrices, so that its second one is multiplied by -scale; weights
    that are trained themselves move each by itself. The guard halves the scale until the model is
    within its limits; the facts give the final scale, 0 if there is none.

    Costs up to `epochs` passes over the forget rows.
    """
    tuned, guard = problem.tuned, problem.guard
    guard.watch()
    if guard.over:
        guard.settle()
        return
    before = {name: weight.detach().clone() for name, weight in tuned.weights.items()}

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, forgotten, retained)
        return found.by_token(), rest.by_token()

    objective = Objective(1.0, both, by_token(problem.forget), by_token(problem.retain))
    epochs = problem.epochs_of(len(problem.forget))
    # The guard has nothing to see yet: this goes the other way.
    descend(problem, objective, Descent(epochs, forget_alone(problem), watched=False))
    after = {name: weight.detach().clone() for name, weight in tuned.weights.items()}
    scale = problem.settings.scale
    for _ in range(_HALVINGS):
        guard.restore(_negated(before, after, scale, product=tuned.has_new_adapter))
        if guard.accept():
            break
        scale /= 2
    else:
        scale = 0.0
    problem.facts["scale"] = scale
    guard.settle()


def _negated(
    before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], scale: float, *, product: bool
) -> dict[str, torch.Tensor]:
    if product:
        return {
            name: weight * -scale if SECOND_MATRIX in name else weight
            for name, weight in after.items()
        }
    return {name: old - scale * (after[name] - old) for name, old in before.items()}


register(Method("task_vector", "text", TaskVectorSettings, task_vector))
