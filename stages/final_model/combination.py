"""How the answers of several models become one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.params import AggregationRule

#: Class probabilities, shape (rows, classes).
Probabilities = npt.NDArray[np.float64]

#: What a model answers on rows: class probabilities, or predicted numbers of shape (rows,).
RowAnswers = npt.NDArray[np.float64]


def majority_vote(answers: Sequence[Probabilities]) -> Probabilities:
    """Return the share of members whose first choice a class is.

    A member's tie goes to the class that is pinned first, and so does the ensemble's.

    Parameters
    ----------
    answers
        Each member's probabilities, shape (rows, classes); at least one.
    """
    stacked = np.stack(answers)
    votes = np.zeros_like(stacked)
    np.put_along_axis(votes, stacked.argmax(axis=2)[..., None], 1.0, axis=2)
    share: Probabilities = votes.mean(axis=0)
    return share


def mean(answers: Sequence[RowAnswers]) -> RowAnswers:
    """Return the mean of the members' answers, probabilities or numbers."""
    found: RowAnswers = np.mean(np.stack(answers), axis=0)
    return found


def median(answers: Sequence[RowAnswers]) -> RowAnswers:
    """Return the median of the members' numbers, shape (rows,); of an even count, the middle."""
    found: RowAnswers = np.median(np.stack(answers), axis=0)
    return found


def size_weighted(answers: Sequence[RowAnswers], rows: Sequence[int]) -> RowAnswers:
    """Return the mean of the members' answers, weighted by the rows of their shards."""
    return np.average(np.stack(answers), axis=0, weights=np.asarray(rows, dtype=np.float64))


def combine(
    rule: AggregationRule, answers: Sequence[RowAnswers], rows: Sequence[int]
) -> RowAnswers:
    """Return the ensemble's answer by one of the rules, of the shape of a member's answer."""
    if rule == "majority_vote":
        return majority_vote(answers)
    if rule == "size_weighted":
        return size_weighted(answers, rows)
    return median(answers) if rule == "median" else mean(answers)


class Combination:
    """What `combine` returns, added up one member at a time.

    No two answers are held, but for the median, which needs those of all members.

    Parameters
    ----------
    rule
        How answers are combined.
    """

    def __init__(self, rule: AggregationRule) -> None:
        self._rule = rule
        self._held: list[RowAnswers] = []
        self._total: RowAnswers | None = None
        self._weight = 0

    def add(self, answer: RowAnswers, rows: int) -> None:
        """Add the answer of one more member, whose shard has `rows` rows."""
        if self._rule == "median":
            self._held.append(answer)
            return
        weight = rows if self._rule == "size_weighted" else 1
        part = majority_vote([answer]) if self._rule == "majority_vote" else answer * weight
        self._total = part if self._total is None else self._total + part
        self._weight += weight

    def result(self) -> RowAnswers:
        """Return the ensemble's answer, of at least one member."""
        if self._held:
            return median(self._held)
        if self._total is None:
            raise AssertionError("there is no answer")
        return self._total / self._weight
