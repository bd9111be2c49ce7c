"""A membership attack in a module of its own, as someone would add it."""

import numpy as np
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.attack import AnswerScore, Attack


def margin(probabilities: Floats, targets: Ints) -> Floats:
    """Return how far the true class's probability is above the largest other one, shape (rows,)."""
    rows = np.arange(len(targets))
    others = probabilities.copy()
    others[rows, targets] = -np.inf
    apart: Floats = probabilities[rows, targets] - others.max(axis=1)
    return apart


MARGIN = Attack("margin", "Margin of the true class", AnswerScore(margin))
