"""Whether a model is nearer to the retrained model than to the original, on the forgotten rows.

An attack tells how much of a trace is left. It does not tell whether a model without a trace
answers like the retrained model, or like neither of the two. This is what a test of three samples
is for: the answers of the model, of the retrained model, and of the original, compared by their
maximum mean discrepancy (Bounliphone et al., "A Test of Relative Similarity For Model Selection in
Generative Models", ICLR 2016). Ribero, Schrab and Gretton, "Regularized f-Divergence Kernel
Tests", AISTATS 2026, propose a relative test for unlearning.
"""

from dataclasses import dataclass

import numpy as np
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify_report.methods import Finding, RelativeResult

#: At most so many rows are compared: time and memory grow with their square.
MOST_ROWS = 1_000

#: Random flips behind every p-value.
FLIPS = 1_999

#: A test is significant if its p-value is not larger.
LEVEL = 0.05

#: Widths of the Gaussian kernels that are averaged, in medians of all distances.
_WIDTHS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Nearer:
    """Which of two samples a third one is nearer to.

    Parameters
    ----------
    to_one, to_other
        The maximum mean discrepancy from each, at least 0.
    p_value, p_value_other
        Of being nearer to the one than to the other, and the other way round.
    """

    to_one: float
    to_other: float
    p_value: float
    p_value_other: float


@dataclass(frozen=True)
class Relation:
    """How a model relates to the retrained model and to the original.

    Parameters
    ----------
    model
        Whether the model is nearer to the retrained model than to the original.
    retrained
        Whether the retrained model is nearer to the model than to the original.
    rows
        How many forgotten rows were compared.
    """

    model: Nearer
    retrained: Nearer
    rows: int

    @property
    def finding(self) -> Finding:
        """What the tests show, each by itself; see `RelativeResult.nearer`."""
        if self.model.p_value_other <= LEVEL:
            return "original"
        if self.retrained.p_value_other <= LEVEL:
            return "changed"
        if self.model.p_value <= LEVEL and self.retrained.p_value <= LEVEL:
            return "retrained"
        return "unclear"

    def result(self) -> RelativeResult:
        """Return what the report has of it."""
        return RelativeResult(
            nearer=self.finding,
            to_retrained=self.model.to_one,
            to_original=self.model.to_other,
            original_to_retrained=self.retrained.to_other,
            p_value=self.model.p_value,
            p_value_original=self.model.p_value_other,
            p_value_closer=self.retrained.p_value,
            p_value_further=self.retrained.p_value_other,
            rows=self.rows,
        )


def relation(answers: Floats, persons: Ints, rng: np.random.Generator) -> Relation | None:
    """Relate a model to the retrained model and to the original.

    Parameters
    ----------
    answers
        The logit of the right answer of each row by the model, by the retrained model, and by the
        original, shape (3, rows).
    persons
        A number for each row; rows of one person share it.
    rng
        Draws the flips.

    Returns
    -------
    Relation or None
        None if there are rows of one person alone, or an answer is no number.
    """
    kept = persons[:MOST_ROWS]
    model, retrained, original = few = answers[:, :MOST_ROWS]
    if len(np.unique(kept)) < 2 or not np.isfinite(few).all():  # noqa: PLR2004 - a pair
        return None
    width = _median_distance(few)
    return Relation(
        nearer(model, retrained, original, kept, rng, width),
        nearer(retrained, model, original, kept, rng, width),
        len(kept),
    )


def nearer(
    anchor: Floats,
    one: Floats,
    other: Floats,
    persons: Ints,
    rng: np.random.Generator,
    width: float,
) -> Nearer:
    """Test which of two samples an anchor is nearer to.

    The statistic is D = MMD2(anchor, other) - MMD2(anchor, one), unbiased: the kernel is averaged
    over pairs of rows of different persons. All samples are answers on the same rows. Where the
    anchor relates to both samples in the same way, exchanging the answers of one and other on the
    rows of any persons changes no distribution. D is linear in the signs of these exchanges, since

        k(o_i, o_j) - k(r_i, r_j) + k(o_i, r_j) - k(r_i, o_j) - 2 k(a_j, o_i) + 2 k(a_j, r_i)

    summed over i and j is D and changes its sign with i. Random signs therefore give exact
    p-values (Lehmann and Romano 2005, chapter 15.2), of each direction.

    Parameters
    ----------
    anchor, one, other
        Answers, shape (rows,).
    persons
        See `relation`.
    rng
        Draws the signs.
    width
        Of the kernel, in units of the answers.
    """
    apart = persons[:, None] != persons[None, :]
    within_one, within_other = _kernel(one, one, width), _kernel(other, other, width)
    within_anchor = _kernel(anchor, anchor, width)
    to_one, to_other = _kernel(one, anchor, width), _kernel(other, anchor, width)
    across = _kernel(other, one, width)
    terms = within_other - within_one + across - across.T - 2 * to_other + 2 * to_one
    size = apart.sum()
    of_rows = np.where(apart, terms, 0.0).sum(axis=1) / size
    of_persons = np.bincount(np.unique(persons, return_inverse=True)[1], of_rows)
    value = of_persons.sum()
    signs = rng.integers(0, 2, (FLIPS, len(of_persons))) * 2.0 - 1.0
    flipped = signs @ of_persons
    # Sums in another order differ in their last digits.
    slack = 1e-12 * np.abs(of_persons).sum()
    return Nearer(
        _discrepancy(within_anchor, within_one, to_one, apart),
        _discrepancy(within_anchor, within_other, to_other, apart),
        float((1 + (flipped >= value - slack).sum()) / (1 + FLIPS)),
        float((1 + (flipped <= value + slack).sum()) / (1 + FLIPS)),
    )


def _kernel(one: Floats, other: Floats, width: float) -> Floats:
    """Return the mean of Gaussian kernels, shape (rows, rows)."""
    away = ((one[:, None] - other[None, :]) / width) ** 2
    found: Floats = np.mean([np.exp(-away / (2 * factor**2)) for factor in _WIDTHS], axis=0)
    return found


def _discrepancy(within: Floats, within_other: Floats, across: Floats, apart: Bools) -> float:
    """Return the square root of the unbiased estimate of MMD2 (Gretton et al. 2012)."""
    squared = (within + within_other - across - across.T)[apart].mean()
    return float(np.sqrt(max(squared, 0.0)))


def _median_distance(answers: Floats) -> float:
    """Return the median distance between answers of any of the models to different rows."""
    few = answers[:, :300].ravel()
    distances = np.abs(few[:, None] - few[None, :])[np.triu_indices(len(few), 1)]
    median = float(np.median(distances))
    return median if median > 0 else 1.0
