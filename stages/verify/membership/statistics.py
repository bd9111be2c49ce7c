"""Statistics of the scores of members and non-members, with intervals.

Everything takes weights: a row counts as often as its weight says. They come from matching the
non-members' classes to those of the forgotten rows, and from the bootstrap's draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtr, ndtri
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.small_samples import Part, correction

#: Bootstrap draws behind every interval.
DRAWS = 400

#: Draws of rows for each draw of reference models: scoring takes most of the time.
_ROWS_A_SCORING = 4

#: With reference models: with fewer persons than this in a sample, percentiles are too narrow.
FEW = 100

#: Standard normal quantiles of a two-sided test at 5 % and of a power of 80 %.
_TWO_SIDED, _POWER = 1.959964, 0.841621


@dataclass(frozen=True)
class Scored:
    """Scores of some rows, and what each row counts.

    Parameters
    ----------
    scores
        Shape (rows,).
    weights
        Shape (rows,), not all of them zero.
    groups
        Shape (rows,): rows of one person share a number, and are drawn together.
    """

    scores: Floats
    weights: Floats
    groups: Ints

    @property
    def effective(self) -> float:
        """How many rows of equal weight say as much (Kish 1965)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


def auc(members: Floats, others: Floats, weights: Floats, other_weights: Floats) -> float:
    """Area under the ROC curve of a score that is to be larger for members.

    The probability that a member drawn by weight scores above another row drawn by weight, ties
    counting half (Mann and Whitney 1947). 1 means that members always score higher, .5 that the
    score does not separate them, and a value below .5 leaks as well, with the opposite sign.

    Parameters
    ----------
    members, others
        Scores, at least one each.
    weights, other_weights
        Of the same shapes; each sums to more than 0.
    """
    return Order.of(members, others).auc(weights, other_weights)


#: More than the sums of an AUC can be off by.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Order:
    """The order of two samples' scores: all that an AUC takes besides weights.

    Parameters
    ----------
    others
        The order of the others by their scores, shape (others,).
    below, up_to
        How many of the others score below each member, and how many not above it, shape
        (members,).
    """

    others: Ints
    below: Ints
    up_to: Ints

    @classmethod
    def of(cls, members: Floats, others: Floats) -> "Order":
        """Return the order of scores, at least one each."""
        order = np.argsort(others)
        ordered = others[order]
        below = np.searchsorted(ordered, members)
        if (ordered[np.minimum(below, len(ordered) - 1)] == members).any():
            return cls(order, below, np.searchsorted(ordered, members, "right"))
        return cls(order, below, below)  # no score of one is one of the others

    def shares(self, other_weights: Floats) -> Floats:
        """Return the weighted share of the others below each member, ties counting half."""
        sums = np.concatenate([[0.0], np.cumsum(other_weights[self.others])])
        found: Floats = (sums[self.below] + sums[self.up_to]) / (2 * sums[-1])
        return found

    def auc(self, weights: Floats, other_weights: Floats) -> float:
        """Return the AUC under weights; see `auc`."""
        sums = np.empty(len(other_weights) + 1)
        sums[0] = 0.0
        np.cumsum(other_weights[self.others], out=sums[1:])
        found = np.dot(weights, sums[self.below] + sums[self.up_to])
        value = float(found / (2 * weights.sum() * sums[-1]))
        if _ROUNDING < value < 1 - _ROUNDING:
            return value
        # Whether the samples are completely separated is decided without rounding.
        counts = np.concatenate([[0], np.cumsum(other_weights[self.others] > 0)])
        counted = weights > 0
        if counts[self.below[counted]].min() == counts[-1]:
            return 1.0
        if counts[self.up_to[counted]].max() == 0:
            return 0.0
        return min(max(value, float(np.nextafter(0, 1))), float(np.nextafter(1, 0)))


@dataclass(frozen=True)
class Roc:
    """A ROC curve: shares of non-members and members at or above each threshold, from (0, 0)."""

    false_positives: Floats
    true_positives: Floats

    def true_positives_at(self, rate: float) -> float:
        """Largest share of members found while at most `rate` of the non-members are."""
        allowed = self.false_positives <= rate + 1e-12
        return float(self.true_positives[allowed].max())

    @property
    def balanced_accuracy(self) -> float:
        """The best mean of both rates of right answers; with few rows above .5 by chance alone."""
        return float(((self.true_positives + 1 - self.false_positives) / 2).max())


def roc(members: Scored, others: Scored) -> Roc:
    """Return the ROC curve of members against other rows."""
    values, inverse = np.unique(
        np.concatenate([members.scores, others.scores]), return_inverse=True
    )
    size = len(members.scores)
    here = np.bincount(inverse[:size], members.weights, len(values))[::-1]
    there = np.bincount(inverse[size:], others.weights, len(values))[::-1]
    return Roc(
        np.concatenate([[0.0], np.cumsum(there) / there.sum()]),
        np.concatenate([[0.0], np.cumsum(here) / here.sum()]),
    )


def share_interval(share: float, rows: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share (Biometrika 1934).

    Parameters
    ----------
    share
        Observed, in [0, 1].
    rows
        Of how many rows; need not be whole where they were weighted.
    level
        The interval covers the truth at least this often.
    """
    hits, tail = share * rows, (1 - level) / 2
    low = 0.0 if share <= 0 else float(betaincinv(hits, rows - hits + 1, tail))
    high = 1.0 if share >= 1 else float(betaincinv(hits + 1, rows - hits, 1 - tail))
    return low, high


def detectable_auc(members: Scored, others: Scored) -> float:
    """Smallest AUC that samples of this size distinguish from .5, four times out of five.

    .5 + (z_.975 + z_.8) * sqrt((n + m + 1) / (12 n m)): the standard error of the Mann-Whitney
    statistic without a difference (Hanley and McNeil 1982).
    """
    n, m = members.effective, others.effective
    error = float(np.sqrt((n + m + 1) / (12 * n * m)))
    return min(1.0, 0.5 + (_TWO_SIDED + _POWER) * error)


def rows_for(error: float, effective: float, wanted: float) -> int:
    """Return how many rows would bring a standard error down from `error` to `wanted`."""
    return int(np.ceil(effective * (error / wanted) ** 2))


@dataclass(frozen=True)
class Interval:
    """An AUC, and how far chance may have moved it.

    Parameters
    ----------
    value
        The AUC.
    wide
        Two-sided 95 % interval.
    narrow
        Two-sided 90 % interval: two one-sided tests at 5 % test whether it is within a margin.
    """

    value: float
    wide: tuple[float, float]
    narrow: tuple[float, float]


#: Samples to hold against each other: rows that ought to score higher, and the others.
Pair = tuple[Scored, Scored]


def auc_intervals(
    pairs: Sequence[Pair],
    rng: np.random.Generator,
    rescore: Callable[[np.random.Generator], Sequence[tuple[Floats, Floats]]] | None = None,
    draws: int = DRAWS,
) -> list[Interval]:
    """Bootstrap the AUC of each pair of samples.

    The interval is Student's around the logit of the AUC; see `small_samples`. Where scores rest on
    reference models and no sample has fewer than `FEW` persons, it consists of bias-corrected
    percentiles (Efron 1981).

    Rows are drawn with replacement, all rows of a person together. Where scores rest on reference
    models these are drawn too: shared references shift all scores together, which drawing rows
    alone does not show. A draw has fewer different references and so a weaker attack, which is the
    bias that is corrected.

    Parameters
    ----------
    pairs
        The scored rows.
    rng
        Draws.
    rescore
        Returns the scores of every pair under one draw of reference models.
    draws
        How many.
    """
    orders = [Order.of(one.scores, other.scores) for one, other in pairs]
    values = [
        order.auc(one.weights, other.weights)
        for order, (one, other) in zip(orders, pairs, strict=True)
    ]
    resamplers = [(_Resampler(one), _Resampler(other)) for one, other in pairs]
    drawn = np.empty((draws, len(pairs)))
    for number in range(draws):
        if rescore is not None and number % _ROWS_A_SCORING == 0:
            orders = [Order.of(*scores) for scores in rescore(rng)]
        for index, (order, (one, other)) in enumerate(zip(orders, resamplers, strict=True)):
            drawn[number, index] = order.auc(one.draw(rng), other.draw(rng))
    return [
        _as_interval(drawn[:, index], value, pair, is_calibrated=rescore is not None)
        for index, (value, pair) in enumerate(zip(values, pairs, strict=True))
    ]


def difference_interval(
    one: Pair,
    other: Pair,
    rng: np.random.Generator,
    rescore: Callable[[np.random.Generator], Sequence[tuple[Floats, Floats]]] | None = None,
    draws: int = DRAWS,
) -> Interval:
    """Bootstrap how much larger the AUC of one pair of samples is than that of another.

    Both are the same rows, in the same order and with the same weights, scored by two models: each
    draw of rows serves both, so that what is hard about the rows cancels. See `auc_intervals`; the
    interval without reference models, or with few persons, is Student's around the difference.

    Parameters
    ----------
    one, other
        The rows as two models score them.
    rng
        Draws.
    rescore
        Returns the scores of both pairs under one draw of reference models.
    draws
        How many.
    """
    pairs = (one, other)
    orders = [Order.of(sample.scores, rest.scores) for sample, rest in pairs]

    def difference(weights: Floats, other_weights: Floats) -> float:
        first, second = (order.auc(weights, other_weights) for order in orders)
        return first - second

    value = difference(one[0].weights, one[1].weights)
    rows, rest = (_Resampler(sample) for sample in one)
    drawn = np.empty(draws)
    for number in range(draws):
        if rescore is not None and number % _ROWS_A_SCORING == 0:
            orders = [Order.of(*scores) for scores in rescore(rng)]
        drawn[number] = difference(rows.draw(rng), rest.draw(rng))
    (mine, theirs), (mine_other, theirs_other) = (_placements(pair) for pair in pairs)
    parts = [
        Part(mine - mine_other, one[0].weights, one[0].groups),
        Part(theirs - theirs_other, one[1].weights, one[1].groups),
    ]
    calibrated = rescore is not None
    corrected = correction(parts) if _by_student(parts, is_calibrated=calibrated) else None
    if corrected is None:
        wide, narrow = (_percentiles(drawn, value, (1 - level) / 2) for level in (0.95, 0.90))
        return Interval(value, wide, narrow)
    wide, narrow = (
        (value - half, value + half) for half in corrected.half_widths(float(drawn.std()))
    )
    return Interval(value, wide, narrow)


class _Resampler:
    """Draws persons of a sample with replacement."""

    def __init__(self, sample: Scored) -> None:
        self._sample = sample
        self._persons = int(sample.groups.max()) + 1
        # Most often every row is a person's only one.
        self._alone = np.array_equal(sample.groups, np.arange(len(sample.groups)))

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return the rows' weights, each times how often its person was drawn."""
        drawn = rng.integers(0, self._persons, self._persons)
        counts = np.bincount(drawn, minlength=self._persons)
        weights: Floats = self._sample.weights * (
            counts if self._alone else counts[self._sample.groups]
        )
        # Rows of no weight alone, drawn from a handful, say nothing: that draw is the sample
        # itself.
        return weights if weights.any() else self._sample.weights


def _by_student(parts: Sequence[Part], *, is_calibrated: bool) -> bool:
    return not is_calibrated or min(part.count for part in parts) < FEW


def _placements(pair: Pair) -> tuple[Floats, Floats]:
    """Return what each row contributes to the AUC: the weighted share of the others on its side.

    The mean of either, by weight, is the AUC; ties count half.
    """
    one, other = pair
    return (
        Order.of(one.scores, other.scores).shares(other.weights),
        1 - Order.of(other.scores, one.scores).shares(one.weights),
    )


def _as_interval(drawn: Floats, value: float, pair: Pair, *, is_calibrated: bool) -> Interval:
    parts = [
        Part(placements, sample.weights, sample.groups)
        for placements, sample in zip(_placements(pair), pair, strict=True)
    ]
    corrected = correction(parts) if _by_student(parts, is_calibrated=is_calibrated) else None
    if corrected is not None and 0 < value < 1:
        error = float(drawn.std()) / (value * (1 - value))
        wide, narrow = (
            (float(expit(logit(value) - half)), float(expit(logit(value) + half)))
            for half in corrected.half_widths(error)
        )
        return Interval(value, wide, narrow)
    rows = min(sample.effective for sample in pair)
    wide, narrow = (_interval(drawn, value, rows, level) for level in (0.95, 0.90))
    return Interval(value, wide, narrow)


def _interval(drawn: Floats, value: float, rows: float, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = _percentiles(drawn, value, tail)
    # If the samples are completely separated, every draw is: the bound from n rows without an
    # exception.
    if value >= 1:
        low = min(low, float(tail ** (1 / rows)))
    if value <= 0:
        high = max(high, float(1 - tail ** (1 / rows)))
    return low, high


def _percentiles(drawn: Floats, value: float, tail: float) -> tuple[float, float]:
    """Return the bias-corrected percentiles of draws around a value."""
    below = float(np.mean(drawn < value) + np.mean(drawn == value) / 2)
    half = 0.5 / len(drawn)
    shift = 2 * ndtri(np.clip(below, half, 1 - half))
    edges = ndtr(shift + ndtri([tail, 1 - tail]))
    low, high = (float(edge) for edge in np.quantile(drawn, edges))
    return low, high
