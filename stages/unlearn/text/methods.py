"""Methods whose losses are functions of what the answers of both sides cost."""

from collections.abc import Callable

import torch
from unlearn.stages.text import losses
from unlearn.stages.text.losses import SequenceLoss
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.text.descent import (
    Descent,
    Objective,
    Weighs,
    both_sides,
    by_sequence,
    by_token,
    descend,
    forget_alone,
    retain_alone,
    split_losses,
)
from unlearn.stages.unlearn.text.problem import TextProblem

#: Returns the mean loss of forget sequences, given what they cost and their indices.
ForgetLoss = Callable[[SequenceLoss, Ints], torch.Tensor]


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

    def forget(found: SequenceLoss, gone: Ints) -> torch.Tensor:
        before = reference[torch.from_numpy(gone)].to(found.nll.device)
        return losses.npo_loss(found.nll, before, settings.beta)

    _against_retain(problem, settings.alpha, forget, by_sequence)


def simnpo(problem: TextProblem) -> None:
    """`npo` without a reference, each answer by its mean token; see `losses.simnpo_loss`.

    Costs what `npo` does, but for the reference.
    """
    settings = problem.settings
    problem.guard.watch()

    def forget(found: SequenceLoss, gone: Ints) -> torch.Tensor:
        del gone
        return losses.simnpo_loss(found.nll, found.counts, settings.beta, settings.delta)

    _against_retain(problem, settings.alpha, forget, by_sequence)


def gradient_difference(problem: TextProblem) -> None:
    """Ascend the forget rows' cross-entropy and descend the retain rows'.

    See `losses.gradient_difference`. It has no lower bound: the guard ends it.

    Costs what `npo` does, but for the reference.
    """
    problem.guard.watch()
    _against_retain(problem, problem.settings.alpha, _ascent, by_token(problem.forget))


def gradient_ascent(problem: TextProblem) -> None:
    """Ascend the forget rows' cross-entropy, with nothing that keeps the rest.

    See `losses.gradient_ascent`: a demonstration of collapse, if nothing stops it.

    Costs up to `epochs` passes over the forget rows.
    """
    problem.guard.watch()

    def both(gone: Ints, kept: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, gone, kept)
        return losses.gradient_ascent(found), rest.by_token()

    weighs = by_token(problem.forget)
    epochs = problem.epochs_of(len(problem.forget))
    objective = Objective(1.0, both, weighs, by_token(problem.retain))
    descend(problem, objective, Descent(epochs, forget_alone(problem), patient=False))
    problem.guard.settle()


def finetune(problem: TextProblem) -> None:
    """Descend the retain rows' cross-entropy, in the hope that the others fade.

    Nothing in it pushes the forget rows out, so the guard lets it go on where their loss is at its
    target from the start.

    Costs as many steps as one side of `npo`.
    """
    problem.guard.watch(climbs=False)

    def both(gone: Ints, kept: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, gone, kept)
        return found.by_token(), rest.by_token()

    epochs = problem.epochs_of(problem.steps * problem.shared.batch)
    objective = Objective(0.0, both, by_token(problem.forget), by_token(problem.retain))
    descend(problem, objective, Descent(epochs, retain_alone(problem)))
    problem.guard.settle()


def _against_retain(problem: TextProblem, alpha: float, forget: ForgetLoss, weighs: Weighs) -> None:
    """Make alpha * forget + (1 - alpha) * CE(retain) small, watched by the guard from here on."""

    def both(gone: Ints, kept: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, gone, kept)
        return forget(found, gone), rest.by_token()

    objective = Objective(alpha, both, weighs, by_token(problem.retain))
    descent = Descent(problem.epochs_of(2 * len(problem.forget)), both_sides(problem))
    descend(problem, objective, descent)
    problem.guard.settle()


def _reference(problem: TextProblem) -> torch.Tensor:
    """Return what every forget sequence costs the tuned model, shape (sequences,)."""
    problem.ledger.count("forget", len(problem.forget))
    with problem.tuned.reference() as module:
        return problem.tuned.losses(problem.forget, module).nll


def _ascent(found: SequenceLoss, gone: Ints) -> torch.Tensor:
    del gone
    return losses.gradient_ascent(found)
