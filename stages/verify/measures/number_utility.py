"""Utility of a regression on rows that it was not trained on."""

import numpy as np
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify_report.quality import Utility


def mean_absolute_error(predictions: Floats, targets: Floats) -> float:
    """Mean distance of the predictions from the targets, in their units.

    Parameters
    ----------
    predictions, targets
        Shape (rows,).

    Examples
    --------
    >>> mean_absolute_error(np.array([1.0, 5.0]), np.array([2.0, 2.0]))
    2.0
    """
    return float(np.mean(np.abs(predictions - targets)))


def root_mean_squared_error(predictions: Floats, targets: Floats) -> float:
    """Root of the mean squared distance; see `mean_absolute_error`.

    Examples
    --------
    >>> root_mean_squared_error(np.array([1.0, 5.0]), np.array([2.0, -2.0]))
    5.0
    """
    return float(np.sqrt(np.mean((predictions - targets) ** 2)))


def r_squared(predictions: Floats, targets: Floats) -> float | None:
    """Share of the targets' variance that the predictions explain; None if they do not vary.

    1 - sum (y - p)^2 / sum (y - mean y)^2: 1 is best, 0 is what the mean of these very rows would
    give, and a worse model has less. See `mean_absolute_error` for shapes.

    Examples
    --------
    >>> r_squared(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    0.5
    >>> r_squared(np.array([1.0, 2.0]), np.array([3.0, 3.0])) is None
    True
    """
    total = float(np.sum((targets - targets.mean()) ** 2))
    if total == 0:
        return None
    return 1.0 - float(np.sum((targets - predictions) ** 2)) / total


def pinball_loss(predictions: Floats, targets: Floats, quantile: float) -> float:
    """Mean pinball loss of predicted quantiles, in the units of the target.

    q (y - p) where the target is above the prediction, and (1 - q) (p - y) where it is below
    (Koenker and Bassett, "Regression Quantiles", Econometrica 46, 1978).

    Parameters
    ----------
    predictions, targets
        Shape (rows,).
    quantile
        Which one, from 0 to 1.

    Examples
    --------
    >>> pinball_loss(np.array([0.0, 4.0]), np.array([10.0, 0.0]), 0.75)
    4.25
    """
    apart = targets - predictions
    return float(np.mean(np.maximum(quantile * apart, (quantile - 1.0) * apart)))


def measure_numbers(
    predictions: Floats, targets: Floats, quantile: float | None, min_rows: int = 1
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
        mean_absolute_error=mean_absolute_error(predictions, targets),
        root_mean_squared_error=root_mean_squared_error(predictions, targets),
        r_squared=r_squared(predictions, targets),
    )
    if quantile is None:
        return utility
    loss = pinball_loss(predictions, targets, quantile)
    return utility.model_copy(update={"quantile": quantile, "pinball_loss": loss})
