"""Utility of a regression on rows that it was not trained on."""

import numpy as np
from unlearn.stages.verify.measures.utility import mean_of
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify_report.quality import Utility


def mean_absolute_error(
    predictions: Floats, targets: Floats, weights: Floats | None = None
) -> float:
    """Mean distance of the predictions from the targets, in their units.

    Parameters
    ----------
    predictions, targets
        Shape (rows,).
    weights
        How much each row counts, shape (rows,); None where all count the same.

    Examples
    --------
    >>> mean_absolute_error(np.array([1.0, 5.0]), np.array([2.0, 2.0]))
    2.0
    >>> mean_absolute_error(np.array([1.0, 5.0]), np.array([2.0, 2.0]), np.array([3.0, 1.0]))
    1.5
    """
    return mean_of(np.abs(predictions - targets), weights)


def root_mean_squared_error(
    predictions: Floats, targets: Floats, weights: Floats | None = None
) -> float:
    """Root of the mean squared distance; see `mean_absolute_error`.

    Examples
    --------
    >>> root_mean_squared_error(np.array([1.0, 5.0]), np.array([2.0, -2.0]))
    5.0
    """
    return float(np.sqrt(mean_of((predictions - targets) ** 2, weights)))


def r_squared(predictions: Floats, targets: Floats, weights: Floats | None = None) -> float | None:
    """Share of the targets' variance that the predictions explain; None if they do not vary.

    1 - sum (y - p)^2 / sum (y - mean y)^2: 1 is best, 0 is what the mean of these very rows would
    give, and a worse model has less. Rows count by their weights in each sum, and in the mean. See
    `mean_absolute_error` for shapes.

    Examples
    --------
    >>> r_squared(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    0.5
    >>> r_squared(np.array([1.0, 2.0]), np.array([3.0, 3.0])) is None
    True
    """
    counts = np.ones(len(targets)) if weights is None else weights
    total = float(np.sum(counts * (targets - mean_of(targets, weights)) ** 2))
    if total == 0:
        return None
    return 1.0 - float(np.sum(counts * (targets - predictions) ** 2)) / total


def pinball_loss(
    predictions: Floats, targets: Floats, quantile: float, weights: Floats | None = None
) -> float:
    """Mean pinball loss of predicted quantiles, in the units of the target.

    q (y - p) where the target is above the prediction, and (1 - q) (p - y) where it is below
    (Koenker and Bassett, "Regression Quantiles", Econometrica 46, 1978).

    Parameters
    ----------
    predictions, targets
        Shape (rows,).
    quantile
        Which one, from 0 to 1.
    weights
        See `mean_absolute_error`.

    Examples
    --------
    >>> pinball_loss(np.array([0.0, 4.0]), np.array([10.0, 0.0]), 0.75)
    4.25
    """
    apart = targets - predictions
    return mean_of(np.maximum(quantile * apart, (quantile - 1.0) * apart), weights)


def measure_numbers(
    predictions: Floats,
    targets: Floats,
    quantile: float | None,
    min_rows: int = 1,
    weights: Floats | None = None,
) -> Utility:
    """Measure the quality of predicted numbers.

    Parameters
    ----------
    predictions, targets
        See `mean_absolute_error`.
    quantile
        The quantile that is predicted; None for the mean or another centre.
    min_rows
        Fewer rows are persons, and get a count alone: the error of one row gives its target away.
    weights
        See `mean_absolute_error`. The count of rows does not depend on them.
    """
    rows = len(targets)
    with np.errstate(over="ignore"):
        is_measured = rows >= max(1, min_rows) and np.isfinite(
            np.mean((predictions - targets) ** 2)
        )
    if not is_measured:
        return Utility(
            rows=rows, mean_absolute_error=None, root_mean_squared_error=None, r_squared=None
        )
    utility = Utility(
        rows=rows,
        mean_absolute_error=mean_absolute_error(predictions, targets, weights),
        root_mean_squared_error=root_mean_squared_error(predictions, targets, weights),
        r_squared=r_squared(predictions, targets, weights),
    )
    if quantile is None:
        return utility
    loss = pinball_loss(predictions, targets, quantile, weights)
    return utility.model_copy(update={"quantile": quantile, "pinball_loss": loss})
