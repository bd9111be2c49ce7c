"""Weighted gradient ascent: each token is pushed out by how likely it still is."""

import torch
from unlearn.stages.config.text import WgaSettings
from unlearn.stages.text.losses import wga_loss
from unlearn.stages.text.sequences import Batch
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.against_retain import descend_tokens_against_retain
from unlearn.stages.unlearn.text.problem import TextProblem


def wga(problem: TextProblem) -> None:
    """Ascend the forget tokens' loss, weighted, and descend the retain rows' cross-entropy.

        L(w) = alpha * -mean_i p_i^beta * -log p_i + (1 - alpha) * CE(retain; w)

    See `losses.wga_loss`.

    Costs what `npo` does, but for the reference.
    """
    settings: WgaSettings = problem.settings
    problem.guard.watch()

    def forget(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return wga_loss(logits, batch.labels, settings.beta)

    descend_tokens_against_retain(problem, settings.alpha, forget)


register(Method("wga", "text", WgaSettings, wga))
