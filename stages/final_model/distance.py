"""How far one model's answers are from another's: what both say on rows."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Probabilities below this count as this.
_FLOOR = 1e-12


def disagreement(answers: Floats, reference: Floats) -> float:
    """Share of rows on which two models name different classes; both shape (rows, classes).

    >>> disagreement(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([[0.6, 0.4], [0.3, 0.7]]))
    0.5
    """
    return float(np.mean(answers.argmax(axis=1) != reference.argmax(axis=1)))


def divergence(answers: Floats, reference: Floats) -> float:
    """Mean over rows of KL(reference || answers), in nats; both shape (rows, classes).

    How surprised the model would be by the retrained one's answers (Golatkar et al., CVPR 2020,
    use the same direction for read-out functions).
    """
    first, second = (np.clip(of, _FLOOR, 1.0) for of in (reference, answers))
    return float((first * (np.log(first) - np.log(second))).sum(axis=1).mean())


def number_divergence(answers: Floats, reference: Floats, scale: float) -> float:
    """Mean over rows of KL(reference || answers) of predicted numbers, in nats; shape (rows,).

    The predictions are taken for the means of normal distributions whose standard deviation is the
    pinned scale of the target: half the mean squared distance in this scale.

    >>> number_divergence(np.array([0.0, 10.0]), np.array([20.0, 10.0]), 10.0)
    1.0
    """
    return float(np.mean(((answers - reference) / scale) ** 2) / 2)
