"""Utility of the model on rows that it was not trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.verify_report.quality import ClassUtility, Utility

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Probabilities below this count as this: one certain mistake is not an infinite loss.
_FLOOR = float(np.finfo(np.float64).eps)

_CALIBRATION_BINS = 15


def accuracy(probabilities: Floats, targets: Ints, weights: Floats | None = None) -> float:
    """Share of rows whose most probable class is the true one.

    Parameters
    ----------
    probabilities
        Shape (rows, classes).
    targets
        True class indices, shape (rows,).
    weights
        How much each row counts, shape (rows,); None where all count the same.

    Examples
    --------
    >>> answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> accuracy(answers, np.array([0, 1, 1]), np.array([1.0, 1.0, 2.0]))
    0.5
    """
    return mean_of(probabilities.argmax(axis=1) == targets, weights)


def mean_of(values: npt.NDArray[Any], weights: Floats | None) -> float:
    """Return the mean of a value of each row, in which rows count by their weights."""
    return float(np.mean(values) if weights is None else np.average(values, weights=weights))


def log_loss(probabilities: Floats, targets: Ints, weights: Floats | None = None) -> float:
    """Mean negative log probability of the true class, in nats; see `accuracy` for shapes."""
    true = probabilities[np.arange(len(targets)), targets]
    return -mean_of(np.log(np.clip(true, _FLOOR, 1.0)), weights)


def macro_f1(probabilities: Floats, targets: Ints, weights: Floats | None = None) -> float:
    """Mean F1 score of the classes that occur among truths or answers; see `accuracy`."""
    answers = probabilities.argmax(axis=1)
    scores = []
    counts = np.ones(len(targets)) if weights is None else weights
    for index in np.union1d(targets, answers):
        right = counts[(answers == index) & (targets == index)].sum()
        named = counts[answers == index].sum() + counts[targets == index].sum()
        scores.append(2 * right / named)
    return float(np.mean(scores))


def calibration_error(probabilities: Floats, targets: Ints, weights: Floats | None = None) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, by rows.

    In 15 bins of equal width (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017,
    equation 3); see `accuracy` for shapes.
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((sure * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    counts = np.ones(len(targets)) if weights is None else weights
    gap = np.bincount(bins, (sure - right) * counts, _CALIBRATION_BINS)
    return float(np.abs(gap).sum() / counts.sum())


def measure(
    probabilities: Floats,
    targets: Ints,
    classes: Sequence[str],
    *,
    has_probabilities: bool,
    min_rows: int = 1,
    weights: Floats | None = None,
) -> Utility:
    """Measure the quality of answers.

    Votes have no log loss and no calibration, nor have answers some of which are not numbers; such
    an answer is wrong.

    Parameters
    ----------
    probabilities, targets
        See `accuracy`.
    classes
        Class labels.
    has_probabilities
        Whether the answers are more than votes.
    min_rows
        A class of fewer rows gets no accuracy of its own.
    weights
        See `accuracy`. Counts of rows do not depend on them.
    """
    if len(targets) == 0:
        return Utility(rows=0)
    numbers = np.isfinite(probabilities).all(axis=1)
    probable = has_probabilities and bool(numbers.all())
    # No class: such an answer is never right.
    named = np.where(numbers, targets, -1)
    right = probabilities.argmax(axis=1) == named
    per_class = {}
    for index, label in enumerate(classes):
        of_class = targets == index
        rows = int(np.count_nonzero(of_class))
        own = None if weights is None else weights[of_class]
        share = mean_of(right[of_class], own) if rows >= max(1, min_rows) else None
        per_class[label] = ClassUtility(rows=rows, accuracy=share)
    return Utility(
        rows=len(targets),
        accuracy=accuracy(probabilities, named, weights),
        log_loss=log_loss(probabilities, targets, weights) if probable else None,
        macro_f1=macro_f1(probabilities, targets, weights) if numbers.all() else None,
        calibration_error=calibration_error(probabilities, targets, weights) if probable else None,
        per_class=per_class,
    )
