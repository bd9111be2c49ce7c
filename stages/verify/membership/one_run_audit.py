"""A lower bound on privacy loss from one training run and canaries that a fair coin included.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
"""

import math
from dataclasses import dataclass

import numpy as np
from unlearn.stages.verify.membership.arrays import Bools, Floats

#: Halvings of the interval that the bound is searched in.
_STEPS = 80


@dataclass(frozen=True)
class OneRun:
    """The outcome of guessing the coins from the scores.

    Parameters
    ----------
    guesses
        Canaries guessed on; on all others the attack abstained.
    correct
        Guesses that were right.
    epsilon_lower_bound
        The largest epsilon that this number of right guesses rejects; 0 if they reject none.
    """

    guesses: int
    correct: int
    epsilon_lower_bound: float


def one_run_bound(
    scores: Floats, included: Bools, *, share: float = 0.5, confidence: float = 0.95
) -> OneRun:
    """Guess which canaries were trained on, and bound epsilon from below by the success.

    The highest scores are guessed to be members and as many of the lowest to be non-members,
    `share` of the canaries together: a number fixed in advance, since one tuned on the outcome
    would void the bound. On scores that tie with the first one beyond either cut there is no
    guess, for any choice among them might follow the order in which the canaries were given.

    Parameters
    ----------
    scores
        One a canary, larger for members; NaN where there is none. Shape (canaries,).
    included
        Each canary's coin, True for members. Canaries on the forget list have to be left out of
        both, with either coin. Shape (canaries,).
    share
        Share of the canaries to guess on, in (0, 1].
    confidence
        Of the bound, one-sided.
    """
    answered = ~np.isnan(scores)
    scores, included = scores[answered], included[answered]
    # Whole guesses on each side, and never two on one canary.
    each = min(math.floor(share * answered.size / 2), scores.size // 2)
    if each == 0:
        return OneRun(0, 0, 0.0)
    ranked = np.sort(scores)
    members = scores > ranked[-each - 1]
    others = scores < ranked[each]
    guesses = int(members.sum() + others.sum())
    correct = int((members & included).sum() + (others & ~included).sum())
    return OneRun(guesses, correct, epsilon_rejected(guesses, correct, confidence))


def epsilon_rejected(guesses: int, correct: int, confidence: float) -> float:
    """Return the largest epsilon that this number of right guesses rejects, at least 0.

    Under epsilon-differential privacy, P[correct >= v] <= P[Binomial(r, e^eps / (1 + e^eps)) >= v]
    for r guesses (theorem 5.2 with delta = 0): an epsilon is rejected where that tail is no more
    than 1 - confidence.
    """
    level = 1 - confidence
    if correct == 0 or guess_tail(guesses, correct, 0.0) > level:
        return 0.0
    low, high = 0.0, 1.0
    while guess_tail(guesses, correct, high) <= level:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if guess_tail(guesses, correct, middle) <= level:
            low = middle
        else:
            high = middle
    return low


def guess_tail(guesses: int, correct: int, epsilon: float) -> float:
    """Return P[Binomial(guesses, e^eps / (1 + e^eps)) >= correct].

    Parameters
    ----------
    guesses, correct
        r and v.
    epsilon
        At least 0.
    """
    right = np.arange(correct, guesses + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, guesses + 1)))])
    # log p = -log(1 + e^-eps), and log(1 - p) = -eps - log(1 + e^-eps).
    wrong = guesses - right
    terms = logs[guesses] - logs[right] - logs[wrong] - epsilon * wrong
    terms -= guesses * math.log1p(math.exp(-epsilon))
    return min(1.0, float(np.exp(terms).sum()))
