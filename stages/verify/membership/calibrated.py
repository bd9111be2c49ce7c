"""Attacks that compare a model's answer on a row with those of models without the row.

In an ensemble of shard models each row is in one model's training data and out of all the others',
so that the others are reference models which cost nothing.

Throughout, `own` is the answer of the model under attack on each row's true class, or its residual
where numbers are predicted, shape (rows,); `references` is the same of every reference model, shape
(rows, models); and `usable`, shape (rows, models), marks those that were not trained on the row.
`weights`, shape (models,), is how often a bootstrap drew each reference model.
"""

import numpy as np
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.attack import Attack, ComparedRows, ReferenceScore

#: With fewer reference models than this, all rows share one variance. 16 shards leave this many.
REFERENCES_FOR_OWN_VARIANCE = 15

#: A calibrated attack needs at least this many reference models.
MIN_REFERENCES = 3

#: The `a` of RMIA's offline approximation; Zarifzadeh et al. 2024 use values from .2 to 1, and .3
#: for CIFAR-10.
OFFLINE_A = 0.3

_SMALLEST_DEVIATION = 1e-6


def lira(own: Floats, references: Floats, usable: Bools, weights: Floats | None = None) -> Floats:
    """Return the offline likelihood ratio attack's score of every row, shape (rows,).

    (own - mean) / standard deviation, both over the usable references' logits: the quantile of
    the one-sided test in Carlini et al., "Membership Inference Attacks From First Principles",
    S&P 2022, section VI (offline attack), before the normal distribution function, which keeps the
    order. With fewer than 15 references the variance is pooled over the rows, as they do for few
    models: rows to be compared must then be scored in one call.

    Parameters
    ----------
    own, references
        Logits; see `scores.logit`.
    usable, weights
        See the module.
    """
    mean, deviation = _fit(references, usable, weights)
    scores: Floats = (own - mean) / deviation
    return scores


def _fit(references: Floats, usable: Bools, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the usable references of each row; see `lira`."""
    counts = counts_of(usable, weights)
    total = counts.sum(axis=1)
    mean = (counts * references).sum(axis=1) / total
    spread = (counts * (references - mean[:, None]) ** 2).sum(axis=1)
    if not np.all(usable.sum(axis=1) >= REFERENCES_FOR_OWN_VARIANCE):
        variance = np.full(len(mean), spread.sum() / max(1.0, float((total - 1).sum())))
    else:
        variance = spread / np.maximum(total - 1, 1.0)
    return mean, np.maximum(np.sqrt(variance), _SMALLEST_DEVIATION)


def lira_of_residuals(
    own: Floats, references: Floats, usable: Bools, weights: Floats | None = None
) -> Floats:
    """Return the likelihood ratio attack's score of every row by its residuals, shape (rows,).

    Carlini et al. 2022 (see `lira`) fit a normal distribution to the answers of models without a
    row. For a regression the answer is the residual r, the prediction less the target, which these
    models have with mean m and standard deviation s. A model that was trained on the row moves
    towards its target: of its residual the mean is 0. The logarithm of the ratio of both normal
    densities is

        log N(r; 0, s) - log N(r; m, s) = -m (r - m) / s^2 - m^2 / (2 s^2)

    Its second part is what the row is worth before the model is asked: the score is the first part,
    the product of two standardised residuals. For a model without the row it is 0 on average,
    however hard the row is. With fewer than 15 references s is pooled over the rows; see `lira`.

    Parameters
    ----------
    own, references
        Residuals, in any one unit that leaves them far above 1e-6.
    usable, weights
        See the module.
    """
    mean, deviation = _fit(references, usable, weights)
    scores: Floats = -(own - mean) / deviation * (mean / deviation)
    return scores


def gaussian_likelihood(residuals: Floats, deviation: float) -> Floats:
    """Return exp(-r^2 / (2 s^2)) of residuals, of the same shape: 1 where there is no error.

    The density of the target under a normal distribution around the prediction, in units of its
    largest value, takes the place of the probability of the right class in RMIA.

    Parameters
    ----------
    residuals
        Predictions less targets.
    deviation
        The standard deviation s of the errors, of models that were not trained on the rows.
    """
    scaled = residuals / max(deviation, _SMALLEST_DEVIATION)
    found: Floats = np.exp(-0.5 * scaled**2)
    return found


def probability_ratio(
    own: Floats, references: Floats, usable: Bools, weights: Floats | None = None
) -> Floats:
    """Return how much likelier the model makes every row than models do in general, shape (rows,).

    own / ((1 + a)/2 * mean + (1 - a)/2): the ratio in Zarifzadeh, Liu and Shokri, "Low-Cost
    High-Power Membership Inference Attacks", ICML 2024, section 3, the mean over models without the
    row being corrected to one over models in general (their offline approximation).

    Parameters
    ----------
    own, references
        Probabilities of the true class.
    usable, weights
        See the module.
    """
    counts = counts_of(usable, weights)
    return _ratio(own, (counts * references).sum(axis=1) / counts.sum(axis=1))


def probability_ratios(members: Floats, weights: Floats | None = None) -> Floats:
    """Return each model's ratios on rows that none of them saw, the others being its references.

    Parameters
    ----------
    members
        Probabilities of the true class under each model, shape (rows, models).
    weights
        See the module.

    Returns
    -------
    numpy.ndarray
        Shape (models, rows); row by row what `probability_ratio` gives.
    """
    models = members.shape[1]
    counts = np.ones(models) if weights is None else weights
    rest = counts.sum() - counts
    means = np.empty_like(members)
    drawn = rest > 0
    means[:, drawn] = ((members @ counts)[:, None] - members * counts)[:, drawn] / rest[drawn]
    # A draw may leave a model with no other: then all others count, as in `counts_of`.
    means[:, ~drawn] = (members.sum(axis=1, keepdims=True) - members)[:, ~drawn] / max(
        1, models - 1
    )
    return _ratio(members, means).T


def _ratio(own: Floats, mean: Floats) -> Floats:
    general = ((1 + OFFLINE_A) * mean + (1 - OFFLINE_A)) / 2
    ratio: Floats = own / general
    return ratio


def rmia(ratios: Floats, model: Ints, population: Floats) -> Floats:
    """Return RMIA's score of every row: the share of population rows that it dominates.

    Pr_z[ratio(x) / ratio(z) >= gamma] with gamma = 1 (Zarifzadeh et al. 2024, equation 4).

    Parameters
    ----------
    ratios
        Of the rows under attack; see `probability_ratio`.
    model
        Which model each row's ratio is of, an index into `population`.
    population
        Ratios of rows that are in no model, shape (models, population rows).

    Returns
    -------
    numpy.ndarray
        Shape (rows,); NaN where the population has no rows.
    """
    if population.shape[1] == 0:
        return np.full(len(ratios), np.nan)
    scores = np.zeros(len(ratios))
    for index, among in enumerate(population):
        here = model == index
        if not here.any():
            continue
        scores[here] = np.searchsorted(np.sort(among), ratios[here], side="right") / len(among)
    return scores


def counts_of(usable: Bools, weights: Floats | None) -> Floats:
    """Return how often each reference counts for each row, shape (rows, models)."""
    plain = usable.astype(np.float64)
    if weights is None:
        return plain
    counts = plain * weights
    # A draw may leave a row with none of its own.
    return np.where(counts.sum(axis=1, keepdims=True) > 0, counts, plain)


def _lira(rows: ComparedRows, weights: Floats | None) -> Floats:
    return lira(rows.own, rows.references, rows.usable, weights)


def _lira_of_residuals(rows: ComparedRows, weights: Floats | None) -> Floats:
    return lira_of_residuals(rows.own, rows.references, rows.usable, weights)


def _rmia(rows: ComparedRows, weights: Floats | None) -> Floats:
    own, references = rows.probabilities
    ratios = probability_ratio(own, references, rows.usable, weights)
    return rmia(ratios, rows.model, rows.population(weights))


LIRA = Attack("lira", "LiRA", ReferenceScore(_lira, _lira_of_residuals, allows_for_difficulty=True))
#: Its offline correction leaves rows that are hard for every model below easy ones.
RMIA = Attack("rmia", "RMIA", ReferenceScore(_rmia, _rmia))
