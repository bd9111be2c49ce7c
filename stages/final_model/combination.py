"""How the answers of several models become one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.params import AggregationRule

#: Class probabilities, shape (rows, classes).
Probabilities = npt.NDArray[np.float64]


def mean_probability(answers: Sequence[Probabilities]) -> Probabilities:
    """Return the mean of the members' probabilities.

    Parameters
    ----------
    answers
        Each member's probabilities, shape (rows, classes); at least one.
    """
    mean: Probabilities = np.mean(np.stack(answers), axis=0)
    return mean


def majority_vote(answers: Sequence[Probabilities]) -> Probabilities:
    """Return the share of members whose first choice a class is.

    A member's tie goes to the class that is pinned first, and so does the ensemble's.
    """
    stacked = np.stack(answers)
    votes = np.zeros_like(stacked)
    np.put_along_axis(votes, stacked.argmax(axis=2)[..., None], 1.0, axis=2)
    share: Probabilities = votes.mean(axis=0)
    return share


def size_weighted(answers: Sequence[Probabilities], rows: Sequence[int]) -> Probabilities:
    """Return the mean of the members' probabilities, weighted by the rows of their shards."""
    return np.average(np.stack(answers), axis=0, weights=np.asarray(rows, dtype=np.float64))


def combine(
    rule: AggregationRule, answers: Sequence[Probabilities], rows: Sequence[int]
) -> Probabilities:
    """Return the ensemble's answer by one of the rules; shape (rows, classes)."""
    if rule == "majority_vote":
        return majority_vote(answers)
    if rule == "size_weighted":
        return size_weighted(answers, rows)
    return mean_probability(answers)


class Combination:
    """What `combine` returns, added up one member at a time: no two answers are held.

    Parameters
    ----------
    rule
        How answers are combined.
    """

    def __init__(self, rule: AggregationRule) -> None:
        self._rule = rule
        self._total: Probabilities | None = None
        self._weight = 0

    def add(self, answer: Probabilities, rows: int) -> None:
        """Add the answer of one more member, shape (rows, classes), whose shard has `rows` rows."""
        weight = rows if self._rule == "size_weighted" else 1
        part = majority_vote([answer]) if self._rule == "majority_vote" else answer * weight
        self._total = part if self._total is None else self._total + part
        self._weight += weight

    def result(self) -> Probabilities:
        """Return the ensemble's answer, of at least one member."""
        if self._total is None:
            raise AssertionError("there is no answer")
        return self._total / self._weight
