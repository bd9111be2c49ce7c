"""Attacks that also ask reference models that were trained on the row: LiRA and RMIA online.

They need reference models that are trained on random halves of all rows that are compared, the
forgotten and the held-out ones included. `verify` trains them in memory alone, and only for
post-hoc methods: see docs/verification.md.

Throughout, `own` is the answer of the model under attack on each row's true class, shape (rows,);
`references` is the same of every reference model, shape (rows, models); `held` and `usable`, shape
(rows, models), mark those that were trained on the row and those that were not. `weights`, shape
(models,), is how often a bootstrap drew each reference model.
"""

import numpy as np
from unlearn.stages.verify.membership.arrays import Bools, Floats
from unlearn.stages.verify.membership.attack import Attack, ComparedRows, ReferenceScore
from unlearn.stages.verify.membership.calibrated import (
    REFERENCES_FOR_OWN_VARIANCE,
    counts_of,
    rmia,
)

_SMALLEST_VARIANCE = 1e-12
_SMALLEST_PROBABILITY = 1e-300


def online_lira(
    own: Floats, references: Floats, held: Bools, usable: Bools, weights: Floats | None = None
) -> Floats:
    """Return the online likelihood ratio attack's score of every row, shape (rows,).

    log N(own; mean and variance of the models with the row) - log N(own; those of the models
    without it): algorithm 1 of Carlini et al., "Membership Inference Attacks From First
    Principles", S&P 2022. With fewer than 15 models of either kind for some row, each kind has one
    variance that is pooled over the rows, as in `calibrated.lira`: rows to be compared must then
    be scored in one call.

    Parameters
    ----------
    own, references
        Logits; see `scores.logit`.
    held, usable, weights
        See the module.
    """
    fewest = min(which.sum(axis=1).min(initial=held.shape[1]) for which in (held, usable))
    pooled = bool(fewest < REFERENCES_FOR_OWN_VARIANCE)
    inside, outside = (
        _log_density(own, references, counts_of(which, weights), pooled=pooled)
        for which in (held, usable)
    )
    return inside - outside


def _log_density(own: Floats, references: Floats, counts: Floats, *, pooled: bool) -> Floats:
    """Return the logarithm of the normal density that fits, but for a constant, shape (rows,)."""
    total = counts.sum(axis=1)
    mean = (counts * references).sum(axis=1) / total
    spread = (counts * (references - mean[:, None]) ** 2).sum(axis=1)
    if pooled:
        variance = np.full(len(own), spread.sum() / max(1.0, float((total - 1).sum())))
    else:
        variance = spread / np.maximum(total - 1, 1.0)
    variance = np.maximum(variance, _SMALLEST_VARIANCE)
    found: Floats = -((own - mean) ** 2) / (2 * variance) - np.log(variance) / 2
    return found


def online_ratio(
    own: Floats, references: Floats, held: Bools, usable: Bools, weights: Floats | None = None
) -> Floats:
    """Return how much likelier the model makes every row than models do in general, shape (rows,).

    own / Pr(x), where Pr(x) is half the mean over models with the row and half the mean over those
    without it: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks",
    ICML 2024, section 3 (online). `calibrated.rmia` compares it with the population's ratios.

    Parameters
    ----------
    own, references
        Probabilities of the true class.
    held, usable, weights
        See the module.
    """
    inside, outside = (
        (counts * references).sum(axis=1) / counts.sum(axis=1)
        for counts in (counts_of(which, weights) for which in (held, usable))
    )
    ratio: Floats = own / np.maximum((inside + outside) / 2, _SMALLEST_PROBABILITY)
    return ratio


def _held(rows: ComparedRows) -> Bools:
    if rows.held is None:
        raise ValueError("no reference model was trained on these rows")
    return rows.held


def _lira(rows: ComparedRows, weights: Floats | None) -> Floats:
    return online_lira(rows.own, rows.references, _held(rows), rows.usable, weights)


def _rmia(rows: ComparedRows, weights: Floats | None) -> Floats:
    own, references = rows.probabilities
    ratios = online_ratio(own, references, _held(rows), rows.usable, weights)
    return rmia(ratios, rows.model, rows.population(weights))


#: Neither allows for difficulty: the ratio of a row that models learn by heart is far lower in a
#: model without it than that of a row that they know anyway.
LIRA_ONLINE = Attack("lira_online", "LiRA online", ReferenceScore(_lira, is_online=True))
RMIA_ONLINE = Attack("rmia_online", "RMIA online", ReferenceScore(_rmia, is_online=True))
