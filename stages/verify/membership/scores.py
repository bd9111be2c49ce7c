"""Scores that a membership attack gives to classes or numbers: larger for likely members.

All of them read one answer of one model. `token_scores.py` does the same for answers by tokens, and
`calibrated.py` compares with other models' answers on the same row.
"""

import numpy as np
from unlearn.stages.verify.membership import token_scores
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.attack import AnswerScore, Attack

#: Probabilities are kept this far from 0 and 1, so that their logarithms are numbers.
_FLOOR = 1e-12


def confidence(probabilities: Floats, targets: Ints) -> Floats:
    """Return the largest class probability of every row, shape (rows,).

    Salem et al., "ML-Leaks", NDSS 2019, section V: a model tends to be surer of rows that it was
    trained on. The true class does not matter.

    Parameters
    ----------
    probabilities
        Shape (rows, classes).
    targets
        True class indices, shape (rows,).
    """
    del targets
    top: Floats = probabilities.max(axis=1)
    return top


def loss(probabilities: Floats, targets: Ints) -> Floats:
    """Return minus the cross-entropy loss of every row; see `confidence` for shapes.

    Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, section III.
    """
    return np.log(np.clip(_of_true_class(probabilities, targets), _FLOOR, 1.0))


def entropy(probabilities: Floats, targets: Ints) -> Floats:
    """Return minus the entropy of every answer, in nats; see `confidence` for shapes.

    Shokri et al., "Membership Inference Attacks Against Machine Learning Models", S&P 2017.
    """
    del targets
    clipped = np.clip(probabilities, _FLOOR, 1.0)
    total: Floats = (probabilities * np.log(clipped)).sum(axis=1)
    return total


def modified_entropy(probabilities: Floats, targets: Ints) -> Floats:
    """Return minus the modified entropy of every row; see `confidence` for shapes.

    Mentr = -(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i): small only where the answer is sure
    and right (Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning
    Models", USENIX Security 2021, equation 8).
    """
    true = _of_true_class(probabilities, targets)
    right = (1.0 - true) * np.log(np.clip(true, _FLOOR, 1.0))
    wrong = probabilities * np.log(np.clip(1.0 - probabilities, _FLOOR, 1.0))
    rows = np.arange(len(targets))
    total: Floats = right + wrong.sum(axis=1) - wrong[rows, targets]
    return total


def logit(probabilities: Floats, targets: Ints) -> Floats:
    """Return log(p_y / (1 - p_y)) of every row; see `confidence` for shapes.

    The logit-scaled confidence of Carlini et al., "Membership Inference Attacks From First
    Principles", S&P 2022, section VI-A: close to normal over models. 1 - p_y is summed from the
    other classes, which keeps its digits where p_y is all but 1.
    """
    rows = np.arange(len(targets))
    others = probabilities.copy()
    others[rows, targets] = 0.0
    true = np.maximum(probabilities[rows, targets], _FLOOR)
    scaled: Floats = np.log(true) - np.log(np.maximum(others.sum(axis=1), _FLOOR))
    return scaled


def squared_error(predictions: Floats, targets: Floats) -> Floats:
    """Return minus the squared error of every row, shape (rows,).

    The loss of a regression in Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, section
    III: a model errs less on rows that it was trained on.

    Parameters
    ----------
    predictions, targets
        In the units of the dataset, shape (rows,).
    """
    return -((predictions - targets) ** 2)


def absolute_error(predictions: Floats, targets: Floats) -> Floats:
    """Return minus the absolute error of every row; see `squared_error` for shapes.

    Gupta et al., "Membership Inference Attacks on Deep Regression Models for Neuroimaging", MIDL
    2021, attack by the error of predicted ages. It ranks the rows of one model as the squared error
    does, so both have one AUC; the distribution of its scores shows errors in the target's units.
    """
    return -np.abs(predictions - targets)


def _of_true_class(probabilities: Floats, targets: Ints) -> Floats:
    true: Floats = probabilities[np.arange(len(targets)), targets]
    return true


CONFIDENCE = Attack("confidence", "Confidence", AnswerScore(confidence))
LOSS = Attack("loss", "Loss", AnswerScore(loss, token_scores.loss))
ENTROPY = Attack("entropy", "Entropy", AnswerScore(entropy))
MODIFIED_ENTROPY = Attack("modified_entropy", "Modified entropy", AnswerScore(modified_entropy))
SQUARED_ERROR = Attack("squared_error", "Squared error", AnswerScore(numbers=squared_error))
ABSOLUTE_ERROR = Attack("absolute_error", "Absolute error", AnswerScore(numbers=absolute_error))
