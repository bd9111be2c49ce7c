"""Negative preference optimisation."""

import torch
from unlearn.stages.config.text import NpoSettings
from unlearn.stages.text.losses import SequenceLoss, npo_loss
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.against_retain import descend_against_retain
from unlearn.stages.unlearn.text.descent import by_sequence
from unlearn.stages.unlearn.text.problem import TextProblem


def npo(problem: TextProblem) -> None:
    """Negative preference optimisation on the forget set, cross-entropy on the retain set.

        L(w) = alpha * -(2 / beta) * mean_j log sigmoid(beta * (nll_j(w) - nll_j(w_0)))
               + (1 - alpha) * CE(retain; w)

    See `losses.npo_loss`; w_0 is the tuned model, asked once before the first step.

    Costs up to `epochs` passes over the forget rows and as many over as many retain rows; one more
    over the forget rows for w_0.
    """
    settings = problem.settings
    problem.guard.watch()
    reference = _reference(problem)

    def forget(found: SequenceLoss, forgotten: Ints) -> torch.Tensor:
        before = reference[torch.from_numpy(forgotten)].to(found.nll.device)
        return npo_loss(found.nll, before, settings.beta)

    descend_against_retain(problem, settings.alpha, forget, by_sequence)


def _reference(problem: TextProblem) -> torch.Tensor:
    """Return what every forget sequence costs the tuned model, shape (sequences,)."""
    problem.ledger.count("forget", len(problem.forget))
    with problem.tuned.reference() as module:
        return problem.tuned.losses(problem.forget, module).nll


register(Method("npo", "text", NpoSettings, npo))
