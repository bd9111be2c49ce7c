"""Negative preference optimisation without a reference."""

import torch
from unlearn.stages.config.text import SimNpoSettings
from unlearn.stages.text.losses import SequenceLoss, simnpo_loss
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.against_retain import descend_against_retain
from unlearn.stages.unlearn.text.descent import by_sequence
from unlearn.stages.unlearn.text.problem import TextProblem


def simnpo(problem: TextProblem) -> None:
    """`npo` without a reference, each answer by its mean token; see `losses.simnpo_loss`.

    Costs what `npo` does, but for the reference.
    """
    settings = problem.settings
    problem.guard.watch()

    def forget(found: SequenceLoss, forgotten: Ints) -> torch.Tensor:
        del forgotten
        return simnpo_loss(found.nll, found.counts, settings.beta, settings.delta)

    descend_against_retain(problem, settings.alpha, forget, by_sequence)


register(Method("simnpo", "text", SimNpoSettings, simnpo))
