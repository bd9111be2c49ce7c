"""What the training of linear models made small."""

from typing import Any

import torch
from sklearn.linear_model import RidgeClassifier
from unlearn.stages.config.train import PerturbedLogisticOptions
from unlearn.stages.unlearn.tabular.problem import Objective

_WEIGHT = frozenset({"weight"})
_TWO = 2


def objective_of_sklearn(estimator: Any) -> Objective:
    """Return the objective of a fitted estimator, as a function of its module's weights.

    LogisticRegression (scikit-learn's user guide, 1.1.11): C * sum CE + |w|^2 / 2, here divided by
    C; without a penalty C is infinite. RidgeClassifier (1.1.2): |z - y|^2 + alpha * |w|^2 for
    targets y of +-1, here halved; with two classes there is one score, which the two answers -z and
    z count twice, so that nothing is halved. Neither shrinks the intercept.

    Parameters
    ----------
    estimator
        One that can be turned into a module (`unlearn.stages.estimators.linear`).
    """
    if isinstance(estimator, RidgeClassifier):
        twice = 2.0 if len(estimator.classes_) == _TWO else 1.0
        return Objective("squared", l2=twice * float(estimator.alpha), penalized=_WEIGHT)
    l2 = 0.0 if estimator.penalty is None else 1.0 / float(estimator.C)
    return Objective("cross_entropy", l2=l2, penalized=_WEIGHT)


def objective_of_perturbed(
    options: PerturbedLogisticOptions, noise: torch.Tensor, classes: int
) -> Objective:
    """Return the objective of a perturbed logistic regression, with the noise it was trained with.

    Parameters
    ----------
    options
        Of its training.
    noise
        Shape (scores, inputs), as the weights.
    classes
        Number of pinned classes.
    """
    return Objective(
        "cross_entropy" if classes == _TWO else "one_vs_rest",
        l2_per_row=options.regularization,
        noise={"weight": noise},
        sigma=options.sigma,
    )
