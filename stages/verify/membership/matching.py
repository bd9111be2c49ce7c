"""Unseen pairs that a retrained model finds as unlikely as the forgotten rows.

Ordinary unseen rows of the same class are easier than rows that are hard for every model, such as
mislabelled ones. A pair of a held-out row and a forgotten row's label was never seen either, and
for many labels it is as hard. Which pairs are comparable is decided by retrained models alone, so
the model that is judged has no influence on it.
"""

from dataclasses import dataclass

import numpy as np
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints

#: At most so many pairs are matched with each forgotten row.
NEAREST = 5

#: The largest difference within a match, in standard deviations of the logit (Austin 2011).
CALIPER = 0.2


@dataclass(frozen=True)
class Matching:
    """Which pairs are compared with which forgotten rows.

    Parameters
    ----------
    forgotten
        Of every pair, the forgotten row that it was matched with and whose label it has: an index,
        shape (pairs,).
    others
        Of every pair, the held-out row: an index, shape (pairs,).
    caliper
        The largest difference of logits within a match.
    harder, easier
        How many forgotten rows have no match because all pairs with their label are easier, or
        harder, than they are. A row between two distant pairs counts with the nearer one.
    rows
        How many forgotten rows there are.
    """

    forgotten: Ints
    others: Ints
    caliper: float
    harder: int
    easier: int
    rows: int

    @property
    def matched(self) -> Bools:
        """Which forgotten rows have a match, shape (rows,)."""
        found = np.zeros(self.rows, dtype=bool)
        found[self.forgotten] = True
        return found


def match_pairs(forgotten: Floats, targets: Ints, others: Floats) -> Matching:
    """Match every forgotten row with the nearest pairs of its label.

    The distance is the difference of the logits of the label. A match is at most `CALIPER`
    standard deviations away (Rosenbaum and Rubin 1985; Austin 2011), with the variance of
    forgotten rows and the variance of pairs averaged. A pair can be matched with several rows.

    Parameters
    ----------
    forgotten
        The logit of each forgotten row's label under retrained models, shape (rows,).
    targets
        The class index of each forgotten row's label, shape (rows,).
    others
        The logits of all classes for held-out rows, shape (held-out rows, classes).
    """
    labels, counts = np.unique(targets, return_counts=True)
    mean = np.average(others[:, labels].mean(axis=0), weights=counts)
    variance = np.average(((others[:, labels] - mean) ** 2).mean(axis=0), weights=counts)
    caliper = CALIPER * float(np.sqrt((forgotten.var() + variance) / 2))
    rows, pairs = [], []
    harder = easier = 0
    size = len(others)
    for row, (logit, label) in enumerate(zip(forgotten, targets, strict=True)):
        # Of pairs that are equally near, each row takes others: it starts the search elsewhere.
        start = row * NEAREST % size
        away = np.roll(others[:, label] - logit, -start)
        order = np.argsort(np.abs(away), kind="stable")[:NEAREST]
        near = order[np.abs(away[order]) <= caliper]
        if len(near) == 0:
            harder += bool(away[order[0]] > 0)
            easier += bool(away[order[0]] < 0)
        rows.append(np.full(len(near), row))
        pairs.append((near + start) % size)
    return Matching(
        np.concatenate([np.zeros(0, dtype=np.int64), *rows]),
        np.concatenate([np.zeros(0, dtype=np.int64), *pairs]),
        caliper,
        harder,
        easier,
        len(forgotten),
    )
