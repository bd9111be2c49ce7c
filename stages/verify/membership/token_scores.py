"""Scores that a membership attack gives to answers by their tokens: larger for likely members.

All of them read one answer of one model, as `scores.py` does for class probabilities.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from unlearn.stages.text import metrics
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.attack import AnswerScore, Attack

if TYPE_CHECKING:
    from unlearn.stages.text.scoring import TokenScores


def loss(tokens: "TokenScores", texts: Sequence[str]) -> Floats:
    """Return the mean log-probability of every row's tokens; see `metrics.loss_score`.

    Parameters
    ----------
    tokens
        Scores of one row after another, each of at least one token.
    texts
        The answers that the tokens spell.

    Returns
    -------
    numpy.ndarray
        Shape (rows,).
    """
    del texts
    return _by_row(tokens, lambda _, part: metrics.loss_score(tokens.logprobs[part]))


def zlib(tokens: "TokenScores", texts: Sequence[str]) -> Floats:
    """Return the loss by the length of the compressed text; see `metrics.zlib_score` and `loss`."""
    return _by_row(tokens, lambda row, part: metrics.zlib_score(tokens.logprobs[part], texts[row]))


def min_k(tokens: "TokenScores", texts: Sequence[str]) -> Floats:
    """Return the mean over the least likely tokens; see `metrics.min_k` and `loss`."""
    del texts
    return _by_row(tokens, lambda _, part: metrics.min_k(tokens.logprobs[part]))


def min_k_plus_plus(tokens: "TokenScores", texts: Sequence[str]) -> Floats:
    """Return the same, standardised by place; see `metrics.min_k_plus_plus` and `loss`."""
    del texts
    return _by_row(
        tokens,
        lambda _, part: metrics.min_k_plus_plus(
            tokens.logprobs[part], tokens.mean[part], tokens.spread[part]
        ),
    )


def _by_row(tokens: "TokenScores", score: Callable[[int, slice], float]) -> Floats:
    found = [score(row, part) for row, part in enumerate(tokens.slices)]
    return np.array(found, dtype=np.float64)


ZLIB = Attack("zlib", "Loss by zlib", AnswerScore(tokens=zlib))
MIN_K = Attack("min_k", "Min-K%", AnswerScore(tokens=min_k))
MIN_K_PLUS_PLUS = Attack("min_k_plus_plus", "Min-K%++", AnswerScore(tokens=min_k_plus_plus))
