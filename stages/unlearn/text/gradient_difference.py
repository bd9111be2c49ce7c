"""Ascent on the forget set, descent on the retain set."""

import torch
from unlearn.stages.config.text import GradientDifferenceSettings
from unlearn.stages.text import losses
from unlearn.stages.text.losses import SequenceLoss
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.against_retain import descend_against_retain
from unlearn.stages.unlearn.text.descent import by_token
from unlearn.stages.unlearn.text.problem import TextProblem


def gradient_difference(problem: TextProblem) -> None:
    """Ascend the forget rows' cross-entropy and descend the retain rows'.

    See `losses.gradient_difference`. It has no lower bound: the guard ends it.

    Costs what `npo` does, but for the reference.
    """
    problem.guard.watch()
    descend_against_retain(problem, problem.settings.alpha, _ascent, by_token(problem.forget))


def _ascent(found: SequenceLoss, forgotten: Ints) -> torch.Tensor:
    del forgotten
    return losses.gradient_ascent(found)


register(Method("gradient_difference", "text", GradientDifferenceSettings, gradient_difference))
