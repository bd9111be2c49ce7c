"""Intervals of AUCs that cover with few rows: a corrected standard error, and Student's quantiles.

The percentiles of a bootstrap of few rows are too narrow, for three reasons: its variance is that
of n rows divided by n and not by n - 1, the variance itself is an estimate, and percentiles of a
few hundred draws are noisy. Here the variance is corrected and the quantiles are Student's, with
the degrees of freedom of Welch and Satterthwaite from the variance's two parts (DeLong et al.
1988): that of the members and that of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit
from unlearn.stages.verify.membership.arrays import Floats, Ints


@dataclass(frozen=True)
class Part:
    """What one sample contributes to a statistic that is a weighted mean over it.

    Parameters
    ----------
    values
        What each row contributes to the mean, shape (rows,).
    weights
        How much each row counts, shape (rows,); not all of them are zero.
    persons
        A number for each row; rows of one person share it.
    """

    values: Floats
    weights: Floats
    persons: Ints

    @property
    def count(self) -> int:
        """How many persons count."""
        return len(np.unique(self.persons[self.weights > 0]))

    @property
    def variance(self) -> float:
        """Variance of the mean, persons being drawn together, as a bootstrap estimates it."""
        total = self.weights.sum()
        mean = (self.weights * self.values).sum() / total
        of_persons = np.bincount(self.persons, self.weights * (self.values - mean)) / total
        return float((of_persons**2).sum())


@dataclass(frozen=True)
class Correction:
    """How the standard error of a bootstrap is used.

    Parameters
    ----------
    factor
        The factor of the standard error.
    freedom
        Student's degrees of freedom.
    """

    factor: float
    freedom: float

    def half_widths(self, error: float) -> tuple[float, float]:
        """Return half the widths of the 95 % and the 90 % interval.

        Parameters
        ----------
        error
            The standard deviation of the bootstrap's draws.
        """
        wide, narrow = self.factor * error * stdtrit(self.freedom, [0.975, 0.95])
        return float(wide), float(narrow)


def correction(parts: Sequence[Part]) -> Correction | None:
    """Return the correction for independent samples.

    Parameters
    ----------
    parts
        What the samples contribute.

    Returns
    -------
    Correction or None
        None if the samples show no variance: nothing can be estimated from them.
    """
    counts = [part.count for part in parts]
    if min(counts) < 2:  # noqa: PLR2004 - one person has no variance
        return None
    biased = np.array([part.variance for part in parts])
    if biased.sum() <= 0:
        return None
    rest = np.array(counts) - 1
    corrected = biased * (rest + 1) / rest
    freedom = corrected.sum() ** 2 / (corrected**2 / rest).sum()
    return Correction(float(np.sqrt(corrected.sum() / biased.sum())), float(freedom))
