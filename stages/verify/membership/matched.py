"""How much more an attack finds in a model than in retrained ones, on pairs that are as hard.

The statistic is a difference of AUCs: of forgotten rows against the pairs that they were matched
with, scored by the model that is judged, minus the same scored by retrained models. It depends on
the order of each model's scores alone. The distances within matches are those of the retrained
models, so the model that is judged has no influence on what it is compared on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.matching import Matching, match_pairs
from unlearn.stages.verify.membership.statistics import DRAWS, Interval, Order


@dataclass(frozen=True)
class PairScores:
    """One model's scores of forgotten rows, and of the pairs of held-out rows and labels.

    Parameters
    ----------
    forgotten
        Each forgotten row with its own label, shape (rows,).
    others
        Each held-out row with every label, shape (held-out rows, classes).
    """

    forgotten: Floats
    others: Floats


@dataclass(frozen=True)
class ComparedPairs:
    """The rows of the comparison.

    Parameters
    ----------
    targets
        The class index of each forgotten row's label, shape (rows,).
    persons, other_persons
        A number from 0 on for each forgotten row, and for each held-out row: rows of one person
        share a number.
    """

    targets: Ints
    persons: Ints
    other_persons: Ints


@dataclass(frozen=True)
class RetrainedModels:
    """Models that never saw the forgotten rows, and the matching that follows from them.

    Parameters
    ----------
    rows
        The rows.
    scores
        The attack's scores of each model; at least one model.
    matching
        By the mean of all models' logits.
    null
        What the statistic is for a retrained model, measured on each by comparing it with the
        others; empty with one model.
    """

    rows: ComparedPairs
    scores: Sequence[PairScores]
    matching: Matching
    null: tuple[float, ...]

    @property
    def reference(self) -> float:
        """The mean of the AUCs of the retrained models; there is a match."""
        found = _Statistic.of(self.scores, self.rows, self.matching).aucs(*_once(self.rows))
        return float(np.mean(found or [np.nan]))

    @property
    def spread(self) -> float | None:
        """Standard deviation of `null`; None with one model."""
        return float(np.std(self.null, ddof=1)) if len(self.null) > 1 else None


def retrained_models(
    rows: ComparedPairs, logits: Sequence[PairScores], scores: Sequence[PairScores]
) -> RetrainedModels:
    """Match the forgotten rows by retrained models, and measure how these differ.

    Parameters
    ----------
    rows
        The rows.
    logits
        The logits of labels under each retrained model; at least one model.
    scores
        The attack's scores by the same models, in the same order.
    """

    def match(models: Sequence[int]) -> Matching:
        forgotten = np.mean([logits[index].forgotten for index in models], axis=0)
        others = np.mean([logits[index].others for index in models], axis=0)
        return match_pairs(forgotten, rows.targets, others)

    every = range(len(logits))
    null = []
    for index in every if len(logits) > 1 else ():
        rest = [other for other in every if other != index]
        matching = match(rest)
        if len(matching.forgotten):
            models = [scores[model] for model in (index, *rest)]
            null.append(_Statistic.of(models, rows, matching).of_rows())
    return RetrainedModels(rows, scores, match(every), tuple(null))


@dataclass(frozen=True)
class MatchedDifference:
    """What an attack finds on pairs that are as hard.

    Parameters
    ----------
    auc
        Of the model that is judged.
    reference
        Of the retrained models, on average.
    difference
        By how much the former is larger, less what it is for a retrained model on average, with
        its intervals.
    """

    auc: float
    reference: float
    difference: Interval


def matched_difference(
    model: PairScores, retrained: RetrainedModels, rng: np.random.Generator, draws: int = DRAWS
) -> MatchedDifference | None:
    """Compare a model with retrained ones; None if no forgotten row has a match.

    The standard error is that of a two-way bootstrap: persons of the forgotten rows and persons of
    the held-out rows are drawn independently, since pairs share rows (Owen 2007). The matches stay
    as they are: a bootstrap that matches again is not valid (Abadie and Imbens 2008; Otsu and Rai
    2017). With several retrained models, the variance among them is added, since the model that is
    judged may differ from them as they do from each other. Intervals have Student's quantiles,
    with the degrees of freedom of Welch and Satterthwaite.

    Parameters
    ----------
    model
        The scores of the model that is judged.
    retrained
        What it is compared with.
    rng
        Draws the bootstrap.
    draws
        How many.
    """
    if not len(retrained.matching.forgotten):
        return None
    rows = retrained.rows
    statistic = _Statistic.of((model, *retrained.scores), rows, retrained.matching)
    found = statistic.of_rows()
    drawn = np.empty(draws)
    for number in range(draws):
        weights = _drawn(rows.persons, rng), _drawn(rows.other_persons, rng)
        drawn[number] = statistic.of_weights(*weights, otherwise=found)
    matched = np.unique(rows.persons[retrained.matching.matched])
    persons = min(len(matched), len(np.unique(rows.other_persons)))
    error, freedom = _standard_error(drawn, persons, retrained)
    value = found - (float(np.mean(retrained.null)) if retrained.null else 0.0)
    wide, narrow = (
        (value - error * quantile, value + error * quantile)
        for quantile in stdtrit(freedom, [0.975, 0.95])
    )
    reference = retrained.reference
    return MatchedDifference(found + reference, reference, Interval(value, wide, narrow))


@dataclass(frozen=True)
class _Statistic:
    """The difference of AUCs as a function of how often each row counts.

    Parameters
    ----------
    orders
        Of forgotten rows and pairs by each model's scores; that of the model that is judged first.
    rows, matching
        The rows, and which pairs are compared with which of them.
    """

    orders: Sequence[Order]
    rows: ComparedPairs
    matching: Matching

    @classmethod
    def of(
        cls, models: Sequence[PairScores], rows: ComparedPairs, matching: Matching
    ) -> "_Statistic":
        """Return the statistic of models' scores; there is a match."""
        labels = rows.targets[matching.forgotten]
        orders = [
            Order.of(scores.forgotten, scores.others[matching.others, labels]) for scores in models
        ]
        return cls(orders, rows, matching)

    def of_rows(self) -> float:
        """Return the difference where every row counts once."""
        return self.of_weights(*_once(self.rows), otherwise=0.0)

    def of_weights(self, weights: Floats, other_weights: Floats, *, otherwise: float) -> float:
        """Return the difference where rows count as often as weights say.

        Parameters
        ----------
        weights, other_weights
            Of forgotten rows, shape (rows,), and of held-out rows, shape (held-out rows,).
        otherwise
            The value if no forgotten row with a match counts.
        """
        found = self.aucs(weights, other_weights)
        return otherwise if found is None else found[0] - float(np.mean(found[1:]))

    def aucs(self, weights: Floats, other_weights: Floats) -> list[float] | None:
        """Return each model's AUC; None if no forgotten row with a match counts.

        All pairs of a forgotten row together count as often as it does, so that both sides of the
        comparison are equally hard under any weights.
        """
        forgotten, others = self.matching.forgotten, self.matching.others
        counted = other_weights[others]
        total = np.bincount(forgotten, counted, len(weights))
        has_pair = total > 0
        kept = np.where(has_pair, weights, 0.0)
        if not kept.any():
            return None
        share = counted / np.where(has_pair, total, 1.0)[forgotten]
        return [order.auc(kept, kept[forgotten] * share) for order in self.orders]


def _once(rows: ComparedPairs) -> tuple[Floats, Floats]:
    """Return weights with which every row counts once."""
    return np.ones(len(rows.targets)), np.ones(len(rows.other_persons))


def _drawn(persons: Ints, rng: np.random.Generator) -> Floats:
    """Return how often each row counts when persons are drawn with replacement."""
    count = int(persons.max()) + 1
    times = np.bincount(rng.integers(0, count, count), minlength=count)
    return times[persons].astype(np.float64)


def _standard_error(drawn: Floats, persons: int, retrained: RetrainedModels) -> tuple[float, float]:
    """Return the standard error and its degrees of freedom."""
    freedom = max(persons - 1, 1)
    of_rows = float(drawn.var()) * (freedom + 1) / freedom
    count = len(retrained.null)
    spread = retrained.spread or 0.0
    of_models = spread**2 * (1 + 1 / max(count, 1))
    total = of_rows + of_models
    if total == 0:
        return 0.0, float(freedom)
    parts = of_rows**2 / freedom + of_models**2 / max(count - 1, 1)
    return float(np.sqrt(total)), total**2 / parts
