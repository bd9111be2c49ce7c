"""Preference optimisation for "I don't know": a refusal instead of the answer."""

import torch
from unlearn.stages.config.text import IdkDpoSettings
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.preference import prefer
from unlearn.stages.unlearn.text.problem import TextProblem


def idk_dpo(problem: TextProblem) -> None:
    """Prefer an answer of `answers`, drawn for each row, to the row's own.

    See `losses.dpo_loss`, with cross-entropy on the retain set beside it; the reference is the
    tuned model, asked once before the first step.

    Costs up to `epochs` passes over the forget rows with either answer, and over as many retain
    rows; one more over the forget rows for the reference.
    """
    settings: IdkDpoSettings = problem.settings
    prefer(problem, draw_answers(problem), alpha=settings.alpha, beta=settings.beta)


def draw_answers(problem: TextProblem) -> list[str]:
    """Return an answer of the settings for each forget row."""
    among: list[str] = problem.settings.answers
    generator = draws(problem, "answers")
    drawn = torch.randint(len(among), (problem.rows.num_rows,), generator=generator)
    return [among[index] for index in drawn.tolist()]


register(Method("idk_dpo", "text", IdkDpoSettings, idk_dpo, needs=frozenset({"prompt"})))
