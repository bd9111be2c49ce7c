"""What the weights of two linear models tell about the row that only one was trained on.

Bertran et al., "Reconstruction Attacks on Machine Unlearning: Simple Models are Vulnerable",
NeurIPS 2024. At the minimum of a loss the gradients of all rows cancel. Without a row x of class y
the minimum moves by about H^-1 g, where H is the Hessian and g = (p - y) (x, 1) is the gradient of
that row. So H times the difference of the weights is about g, and its direction is that of the row.
H is estimated from rows that the adversary has. Of several rows it is the sum of their gradients:
the more there are, the less it tells about each.
"""

from dataclasses import dataclass

import numpy as np
from unlearn.stages.estimators.base import Predictor
from unlearn.stages.verify.membership.arrays import Bools, Floats

#: Points at which a model has to be as linear as this, relative to its largest logit.
_POINTS, _LINEAR = 8, 1e-6
#: The smallest probability whose logarithm still has its digits.
_SMALLEST = 1e-290


@dataclass(frozen=True)
class LinearWeights:
    """A model whose log-probabilities are linear in its inputs, up to a term that classes share.

    Parameters
    ----------
    weights
        Of the classes that the model knows, shape (classes, inputs + 1), with mean 0 over the
        classes; the last column is the intercept.
    known
        Which classes it knows, shape (all classes,).
    """

    weights: Floats
    known: Bools

    @classmethod
    def of(cls, model: Predictor, width: int) -> "LinearWeights | None":
        """Return the weights of a model, found by asking it; None if it is not linear.

        An adversary needs no more than its answers: those at 0 and at each unit vector.

        Parameters
        ----------
        model
            Any model that gives probabilities.
        width
            Number of its inputs.
        """
        rng = np.random.Generator(np.random.PCG64(0))
        trials = rng.normal(size=(_POINTS, width)) / np.sqrt(max(width, 1))
        asked = np.vstack([np.zeros((1, width)), np.eye(width), trials])
        answers = model.probabilities(asked)
        known = answers[0] > 0
        found = answers[:, known]
        if found.shape[1] < 2 or not np.isfinite(found).all() or found.min() < _SMALLEST:  # noqa: PLR2004 - one class has no weights
            return None
        logs = np.log(found)
        logs -= logs.mean(axis=1, keepdims=True)
        intercept, ends, at_trials = logs[0], logs[1 : width + 1], logs[width + 1 :]
        weights = np.column_stack([(ends - intercept).T, intercept])
        error = np.abs(trials @ weights[:, :-1].T + intercept - at_trials).max()
        if error > _LINEAR * max(1.0, float(np.abs(logs).max())):
            return None
        return cls(weights, known)

    def moved(self, shift: Floats, scale: Floats) -> "LinearWeights":
        """Return the same model for inputs z where its own are z * scale + shift.

        Parameters
        ----------
        shift, scale
            Shape (inputs,).
        """
        inner = self.weights[:, :-1]
        moved = np.column_stack([inner * scale, self.weights[:, -1] + inner @ shift])
        return LinearWeights(moved, self.known)


def reconstruct(
    older: LinearWeights, newer: LinearWeights, public: Floats, *, rows: int, ridge: float = 0.0
) -> Floats | None:
    """Return the direction of the row that only the older model was trained on.

    Parameters
    ----------
    older, newer
        Both models, on the same inputs.
    public
        Rows that the adversary has, to estimate the Hessian, shape (public rows, inputs).
    rows
        How many rows the newer model was trained on.
    ridge
        What the loss, summed over rows, adds for weights w: ridge / 2 times the sum of their
        squares, but not for the intercept. The weights here have mean 0 over the classes.

    Returns
    -------
    numpy.ndarray or None
        Shape (inputs,), of length 1. None where the models know other classes or are the same.
    """
    if not np.array_equal(older.known, newer.known) or len(public) == 0:
        return None
    difference = newer.weights - older.weights
    inputs = np.column_stack([public, np.ones(len(public))])
    logits = inputs @ older.weights.T
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = exponents / exponents.sum(axis=1, keepdims=True)
    # The Hessian of the softmax loss times the difference, without forming it.
    changes = inputs @ difference.T
    pulled = shares * (changes - (shares * changes).sum(axis=1, keepdims=True))
    gradient = pulled.T @ inputs * (rows / len(public))
    gradient[:, :-1] += ridge * difference[:, :-1]
    if not np.isfinite(gradient).all() or not gradient[:, :-1].any():
        return None
    # (p - y) (x, 1) is a matrix of rank one: x is its right singular vector, up to the sign.
    _, _, right = np.linalg.svd(gradient[:, :-1], full_matrices=False)
    found: Floats = right[0]
    errors = gradient[:, :-1] @ found
    sign = -1.0 if errors @ gradient[:, -1] < 0 else 1.0
    direction: Floats = sign * found
    return direction


def cosines(rows: Floats, direction: Floats) -> Floats:
    """Return the cosine of each row with a direction of length 1, shape (rows,); 0 for zero rows.

    Parameters
    ----------
    rows
        Shape (rows, inputs).
    direction
        Shape (inputs,).
    """
    lengths = np.linalg.norm(rows, axis=1)
    found: Floats = rows @ direction / np.where(lengths > 0, lengths, 1.0)
    return found
