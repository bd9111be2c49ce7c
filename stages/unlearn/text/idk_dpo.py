"""Preference optimisation for "I don't know": a refusal instead of the answer."""

import numpy as np
import torch
from unlearn.stages.config.text import IdkDpoSettings
from unlearn.stages.text.losses import SequenceLoss, dpo_loss
from unlearn.stages.text.sequences import Ints
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.base.registry import Method, register
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


def idk_dpo(problem: TextProblem) -> None:
    """Prefer an answer of `answers`, drawn for each row, to the row's own.

    See `losses.dpo_loss`, with cross-entropy on the retain set beside it; the reference is the
    tuned model, asked once before the first step.

    Costs up to `epochs` passes over the forget rows with either answer, and over as many retain
    rows; one more over the forget rows for the reference.
    """
    tuned, settings = problem.tuned, problem.settings
    problem.guard.watch()
    count = len(problem.forget)
    answers = draw_answers(problem)
    winners = tuned.encoder.encode_answers(problem.rows, answers).sequences
    pairs = problem.forget.followed_by(winners)
    problem.ledger.count("forget", 2 * count)
    with tuned.reference() as module:
        reference = tuned.losses(pairs, module).nll.to(tuned.device)

    def both(forgotten: Ints, retained: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        of_pairs = np.concatenate([forgotten, forgotten + count])
        found, rest = split_losses(problem, pairs, of_pairs, retained)
        problem.ledger.count("forget", len(forgotten))  # once as the loser, by `descend`
        return _preference(found, reference[torch.from_numpy(of_pairs)], settings.beta), (
            rest.by_token()
        )

    objective = Objective(settings.alpha, both, by_sequence, by_token(problem.retain))
    descend(problem, objective, Descent(problem.epochs_of(3 * count), both_sides(problem)))
    problem.guard.settle()


def draw_answers(problem: TextProblem) -> list[str]:
    """Return an answer of the settings for each forget row."""
    among: list[str] = problem.settings.answers
    generator = draws(problem, "answers")
    drawn = torch.randint(len(among), (problem.rows.num_rows,), generator=generator)
    return [among[index] for index in drawn.tolist()]


def _preference(found: SequenceLoss, reference: torch.Tensor, beta: float) -> torch.Tensor:
    loser, winner = found.nll.chunk(2)
    loser_before, winner_before = reference.chunk(2)
    return dpo_loss(winner, winner_before, loser, loser_before, beta)


register(Method("idk_dpo", "text", IdkDpoSettings, idk_dpo, needs=frozenset({"prompt"})))
