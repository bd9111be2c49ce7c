"""Weights that make samples comparable."""

import numpy as np
from unlearn.stages.verify.membership.arrays import Floats, Ints


def matching_weights(wanted: tuple[Ints, ...], found: tuple[Ints, ...], rounds: int = 20) -> Floats:
    """Return weights that give rows the same share of each group as other rows have.

    Iterative proportional fitting (Deming and Stephan 1940): several groupings together, each by
    its shares alone, so that it also works where no row is in two rare groups together.

    Parameters
    ----------
    wanted
        For each grouping, the group of every row whose shares are wanted.
    found
        For each grouping, the group of every row to be weighted.
    rounds
        How often all groupings are fitted in turn.

    Returns
    -------
    numpy.ndarray
        Sums to the number of rows that count. Groups that are not wanted get 0; all weights are
        0 if nothing is left.
    """
    weights = np.ones(len(found[0]))
    for _ in range(rounds):
        for groups, mine in zip(wanted, found, strict=True):
            size = int(max(groups.max(initial=0), mine.max(initial=0))) + 1
            shares = np.bincount(groups, minlength=size)
            held = np.bincount(mine, weights, size)
            factor = np.divide(shares, held, out=np.zeros(size), where=held > 0)
            weights = weights * factor[mine]
    total = weights.sum()
    counted = np.count_nonzero(weights)
    return weights * (counted / total) if total > 0 else weights
