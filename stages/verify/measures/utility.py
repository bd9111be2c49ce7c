"""Utility of the model on rows that it was not trained on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from unlearn.stages.verify_report.quality import ClassUtility, Utility

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Probabilities below this count as this: one certain mistake is not an infinite loss.
_FLOOR = float(np.finfo(np.float64).eps)

_CALIBRATION_BINS = 15


def accuracy(probabilities: Floats, targets: Ints) -> float:
    """Share of rows whose most probable class is the true one.

    Parameters
    ----------
    probabilities
        Shape (rows, classes).
    targets
        True class indices, shape (rows,).
    """
    return float(np.mean(probabilities.argmax(axis=1) == targets))


def log_loss(probabilities: Floats, targets: Ints) -> float:
    """Mean negative log probability of the true class, in nats; see `accuracy` for shapes."""
    true = probabilities[np.arange(len(targets)), targets]
    return float(-np.mean(np.log(np.clip(true, _FLOOR, 1.0))))


def macro_f1(probabilities: Floats, targets: Ints) -> float:
    """Mean F1 score of the classes that occur among truths or answers; see `accuracy`."""
    answers = probabilities.argmax(axis=1)
    scores = []
    for index in np.union1d(targets, answers):
        right = np.count_nonzero((answers == index) & (targets == index))
        named = np.count_nonzero(answers == index) + np.count_nonzero(targets == index)
        scores.append(2 * right / named)
    return float(np.mean(scores))


def calibration_error(probabilities: Floats, targets: Ints) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, by rows.

    In 15 bins of equal width (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017,
    equation 3); see `accuracy` for shapes.
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((sure * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    gap = np.bincount(bins, sure - right, _CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(targets))


def measure(
    probabilities: Floats,
    targets: Ints,
    classes: Sequence[str],
    *,
    has_probabilities: bool,
    min_rows: int = 1,
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
        share = float(right[of_class].mean()) if rows >= min_rows else None
        per_class[label] = ClassUtility(rows=rows, accuracy=share)
    return Utility(
        rows=len(targets),
        accuracy=accuracy(probabilities, named),
        log_loss=log_loss(probabilities, targets) if probable else None,
        macro_f1=macro_f1(probabilities, targets) if numbers.all() else None,
        calibration_error=calibration_error(probabilities, targets) if probable else None,
        per_class=per_class,
    )
