"""How often the intervals of AUCs, and of their differences, cover the true value.

Scores are drawn from normal distributions whose AUC is known. Coverage should be .94 to .96.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.statistics import (
    Scored,
    auc_intervals,
    difference_interval,
)

from benchmarks.harness import machine, show

#: Forgotten rows, non-members, and true AUCs.
ROWS, OTHERS, AUCS = (20, 50, 200), (200,), (0.5, 0.65, 0.8)

#: How scores of the same row by two models are correlated.
_CORRELATION = 0.6


def coverage(rows: int, others: int, auc: float, draws: int, seed: int = 0) -> float:
    """Return the share of draws in which the 95 % interval of an AUC covers it.

    Parameters
    ----------
    rows, others
        Members and non-members.
    auc
        The true AUC.
    draws, seed
        How many, and the seed.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    shift = _shift(auc)
    covered = 0
    for _ in range(draws):
        pair = _scored(rng.normal(shift, 1, rows)), _scored(rng.normal(0, 1, others))
        (found,) = auc_intervals([pair], rng)
        covered += found.wide[0] <= auc <= found.wide[1]
    return covered / draws


def coverage_of_difference(rows: int, others: int, auc: float, draws: int, seed: int = 0) -> float:
    """Return the same for the difference of the AUC and one of .5 on the same rows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shift, covered = _shift(auc), 0
    for _ in range(draws):
        common, common_others = rng.normal(0, 1, rows), rng.normal(0, 1, others)

        def scores(common: Floats, shift: float) -> Scored:
            own = rng.normal(0, 1, len(common))
            mixed = np.sqrt(_CORRELATION) * common + np.sqrt(1 - _CORRELATION) * own
            return _scored(mixed + shift)

        one = scores(common, shift), scores(common_others, 0.0)
        other = scores(common, 0.0), scores(common_others, 0.0)
        found = difference_interval(one, other, rng)
        covered += found.wide[0] <= auc - 0.5 <= found.wide[1]
    return covered / draws


def _shift(auc: float) -> float:
    return float(np.sqrt(2) * ndtri(auc))


def _scored(scores: Floats) -> Scored:
    return Scored(scores, np.ones(len(scores)), np.arange(len(scores)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    draws = 50 if arguments.quick else arguments.draws
    print(machine())
    table = [
        [
            rows,
            others,
            f"{auc:g}",
            f"{coverage(rows, others, auc, draws, rows + int(100 * auc)):.3f}",
            f"{coverage_of_difference(rows, others, auc, draws // 2, rows + int(100 * auc)):.3f}",
        ]
        for rows in ROWS
        for others in OTHERS
        for auc in AUCS
    ]
    error = norm.ppf(0.975) * np.sqrt(0.95 * 0.05 / draws)
    show(
        "interval-coverage",
        ("rows", "non-members", "AUC", "interval of the AUC", "interval of a difference from .5"),
        table,
        f"Share of {draws:,} draws (of differences: half as many) in which the 95 % interval "
        f"covers the true value; two standard errors are {error:.3f} (of differences: "
        f"{np.sqrt(2) * error:.3f}).",
    )


if __name__ == "__main__":
    main()
