"""What methods share that prefer another answer to a row's own."""

from collections.abc import Sequence

import numpy as np
import torch
from unlearn.stages.text.losses import SequenceLoss, dpo_loss
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.text.descent import (
    Descent,
    Objective,
    both_sides,
    by_sequence,
    by_token,
    descend,
    split_losses,
)
from unlearn.stages.unlearn.text.problem import TextProblem


def prefer(problem: TextProblem, answers: Sequence[str], *, alpha: float, beta: float) -> None:
    """Prefer other answers to the forget rows' own, with cross-entropy on the retain set.

    See `losses.dpo_loss`; the reference is the tuned model, asked once before the first step.

    Parameters
    ----------
    problem
        Its model is trained, and its guard settled.
    answers
        One for each forget row.
    alpha
        The weight of forgetting.
    beta
        See `losses.dpo_loss`.
    """
    tuned = problem.tuned
    problem.guard.watch()
    count = len(problem.forget)
    encoder, losers = tuned.encoder, problem.forget
    winners = encoder.encode_answers(problem.rows, answers).sequences
    if encoder.answer_column is not None:
        # Of a chat the last answer alone is another one.
        losers = encoder.encode(problem.rows, encoder.answer_column).sequences
    pairs = losers.followed_by(winners)
    problem.ledger.count("forget", 2 * count)
    with tuned.reference() as module:
        reference = tuned.losses(pairs, module).nll.to(tuned.device)

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        of_pairs = np.concatenate([forgotten, forgotten + count])
        found, rest = split_losses(problem, pairs, of_pairs, retained)
        problem.ledger.count("forget", len(forgotten))  # once as the loser, by `descend`
        return _preference(found, reference[torch.from_numpy(of_pairs)], beta), (rest.by_token())

    objective = Objective(alpha, both, by_sequence, by_token(problem.retain))
    descend(problem, objective, Descent(problem.epochs_of(3 * count), both_sides(problem)))
    problem.guard.settle()


def _preference(found: SequenceLoss, reference: torch.Tensor, beta: float) -> torch.Tensor:
    loser, winner = found.nll.chunk(2)
    loser_before, winner_before = reference.chunk(2)
    return dpo_loss(winner, winner_before, loser, loser_before, beta)
