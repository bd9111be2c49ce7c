"""What methods share that put a loss of the forget set against cross-entropy on the retain set."""

from collections.abc import Callable

import torch
from unlearn.stages.text.losses import SequenceLoss
from unlearn.stages.text.sequences import Batch, Ints
from unlearn.stages.unlearn.text.descent import (
    Descent,
    Objective,
    Weighs,
    both_sides,
    by_token,
    descend,
    split_batch,
    split_losses,
)
from unlearn.stages.unlearn.text.problem import TextProblem

#: Returns the mean loss of forget sequences, given what they cost and their indices.
ForgetLoss = Callable[[SequenceLoss, Ints], torch.Tensor]

#: Returns the mean loss of forget tokens, given the logits of their batch.
TokenLoss = Callable[[torch.Tensor, Batch], torch.Tensor]


def descend_against_retain(
    problem: TextProblem, alpha: float, forget: ForgetLoss, weighs: Weighs
) -> None:
    """Minimise alpha * forget + (1 - alpha) * CE(retain), and settle the guard.

    Parameters
    ----------
    problem
        Its guard watches already.
    alpha
        The weight of forgetting.
    forget
        The loss of the forget set.
    weighs
        Over what its mean is.
    """

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = split_losses(problem, problem.forget, forgotten, retained)
        return forget(found, forgotten), rest.by_token()

    objective = Objective(alpha, both, weighs, by_token(problem.retain))
    descent = Descent(problem.epochs_of(2 * len(problem.forget)), both_sides(problem))
    descend(problem, objective, descent)
    problem.guard.settle()


def descend_tokens_against_retain(
    problem: TextProblem, alpha: float, forget: TokenLoss, *, reads: int = 2
) -> None:
    """Minimise alpha * forget + (1 - alpha) * CE(retain) by tokens, and settle the guard.

    Parameters
    ----------
    problem, alpha
        See `descend_against_retain`.
    forget
        The mean loss of forget tokens.
    reads
        How many sequences are read for each forget sequence, its retain sequence among them.
    """

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        logits, batch, rest = split_batch(problem, forgotten, retained)
        found = forget(logits, batch) if len(forgotten) else logits.new_zeros(())
        return found, rest.by_token()

    objective = Objective(alpha, both, by_token(problem.forget), by_token(problem.retain))
    epochs = problem.epochs_of(reads * len(problem.forget))
    descend(problem, objective, Descent(epochs, both_sides(problem)))
    problem.guard.settle()
