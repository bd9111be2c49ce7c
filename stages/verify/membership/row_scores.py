"""One model's answers on rows in the form that attacks read, for any kind of answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from unlearn.stages.estimators.base import Targets
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.attack import AnswerScore
from unlearn.stages.verify.membership.registry import registered
from unlearn.stages.verify.membership.scores import logit

if TYPE_CHECKING:
    from unlearn.stages.text.scoring import TokenScores

#: 1 - p is kept this far from 0, so that its logarithm is a number.
_FLOOR = 1e-12


@dataclass(frozen=True)
class RowScores:
    """What attacks read of one model's answers on rows.

    Parameters
    ----------
    logits
        Logit of the right answer's probability, shape (rows,); where numbers are predicted, the
        residual in the target's pinned scale.
    scores
        By name, the scores of the attacks that read one model's answers alone, each of shape
        (rows,); empty where some answer is not a number.
    finite
        Whether all answers are numbers.
    residuals
        Whether `logits` holds residuals; see `ComparedRows`.
    """

    logits: Floats
    scores: Mapping[str, Floats]
    finite: bool
    residuals: bool = False

    def __len__(self) -> int:
        return len(self.logits)


def of_classes(probabilities: Floats, targets: Ints) -> RowScores:
    """Score class probabilities; see `scores`.

    Parameters
    ----------
    probabilities
        Shape (rows, classes).
    targets
        True class indices, shape (rows,).
    """
    finite = bool(np.isfinite(probabilities).all())
    scores = {
        attack.name: attack.score.classes(probabilities, targets)
        for attack in registered()
        if finite and isinstance(attack.score, AnswerScore) and attack.score.classes is not None
    }
    return RowScores(logit(probabilities, targets), scores, finite)


def of_numbers(predictions: Floats, targets: Floats, outputs: Outputs) -> RowScores:
    """Score predicted numbers; see `scores`.

    Parameters
    ----------
    predictions, targets
        In the units of the dataset, shape (rows,).
    outputs
        The pinned scale.
    """
    finite = bool(np.isfinite(predictions).all())
    scores = {
        attack.name: attack.score.numbers(predictions, targets)
        for attack in registered()
        if finite and isinstance(attack.score, AnswerScore) and attack.score.numbers is not None
    }
    found = compared(predictions, targets, outputs)
    return RowScores(found, scores, finite, residuals=True)


def of_rows(answers: Floats, truth: Targets, outputs: Outputs) -> RowScores:
    """Score the answers of a model of a table; see `of_classes` and `of_numbers`."""
    if outputs.is_number:
        return of_numbers(answers, truth.astype(np.float64), outputs)
    return of_classes(answers, truth.astype(np.int64))


def compared(answers: Floats, truth: Targets, outputs: Outputs) -> Floats:
    """Return the number by which models are compared on each row, shape (rows,).

    It is the logit of the right class, or the residual in the target's pinned scale.

    Parameters
    ----------
    answers
        Of a model of a table, of the shape that `outputs` gives.
    truth
        The targets; see `training_targets`.
    outputs
        What models answer with.
    """
    if outputs.is_number:
        return (answers - truth) / outputs.scale
    return logit(answers, truth.astype(np.int64))


def of_tokens(tokens: "TokenScores", texts: Sequence[str]) -> RowScores:
    """Score the probabilities of answers' tokens; see `token_scores`.

    A row's probability is that of `metrics.answer_probability`: the geometric mean of a token's.

    Parameters
    ----------
    tokens
        Scores of one row after another, each of at least one token.
    texts
        The answers that the tokens spell.
    """
    scores = {
        attack.name: attack.score.tokens(tokens, texts)
        for attack in registered()
        if tokens.finite
        and isinstance(attack.score, AnswerScore)
        and attack.score.tokens is not None
    }
    return RowScores(logit_of_logs(tokens.mean_logprobs), scores, tokens.finite)


def logit_of_logs(logs: Floats) -> Floats:
    """Return log(p / (1 - p)) from log p, of the same shape, where p keeps all its digits.

    log p - log(1 - e^(log p)), as `scores.logit` for class probabilities.
    """
    kept = np.minimum(logs, 0.0)
    scaled: Floats = kept - np.log(np.maximum(-np.expm1(kept), _FLOOR))
    return scaled
