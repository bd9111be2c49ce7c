"""Linear classifiers as torch modules, among them those of scikit-learn.

A model fitted by scikit-learn can thus be used by code for modules, and be converted back.
"""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import nn

#: How far below the lowest logit that of a class is which the classifier does not know: e to the
#: minus this is 0 in float64.
_NEVER = 1000.0


class LinearScores(nn.Module):
    """Scores that are linear in the weights, and answers that follow from the scores.

    Attributes
    ----------
    weight
        Shape (scores, inputs).
    bias
        Shape (scores,); None for scores without an intercept.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def scores(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the scores of rows, shape (rows, scores)."""
        return nn.functional.linear(inputs, self.weight, self.bias)

    def answers(self, scores: torch.Tensor) -> torch.Tensor:
        """Return what the scores mean, shape (rows, classes)."""
        raise NotImplementedError

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the answers on rows, shape (rows, classes)."""
        return self.answers(self.scores(inputs))


class LinearModel(LinearScores):
    """A linear classifier of scikit-learn, in float64.

    The answers of a logistic regression are logits, whose softmax is scikit-learn's
    `predict_proba`: 0 and z where there are two classes and one score z. Those of a ridge
    classifier are its decision values, -z and z where there are two classes.

    Parameters
    ----------
    inputs, classes
        Number of input columns, and of pinned classes.
    known
        Those classes, as indices, that the classifier knows.
    intercept
        Whether there is one.
    ridge
        Whether answers are decision values.
    """

    def __init__(
        self, inputs: int, classes: int, known: list[int], *, intercept: bool, ridge: bool
    ) -> None:
        super().__init__()
        scores = 1 if len(known) == 2 else len(known)  # noqa: PLR2004 - two classes
        self.weight = nn.Parameter(torch.zeros(scores, inputs, dtype=torch.float64))
        if intercept:
            self.bias = nn.Parameter(torch.zeros(scores, dtype=torch.float64))
        else:
            self.register_parameter("bias", None)
        self.classes = classes
        self.known = list(known)
        self.ridge = ridge

    def answers(self, scores: torch.Tensor) -> torch.Tensor:
        """Return logits or decision values, shape (rows, classes)."""
        if scores.shape[1] == 1:
            scores = torch.cat([-scores if self.ridge else torch.zeros_like(scores), scores], dim=1)
        if len(self.known) == self.classes:
            return scores
        lowest = scores.detach().amin(dim=1, keepdim=True)
        # As far from right as an unknown class can be, and where a ridge's loss on it is 0.
        others = lowest.clamp(max=-1.0) if self.ridge else lowest - _NEVER
        columns = list(others.expand(-1, self.classes).unbind(dim=1))
        for place, column in zip(self.known, scores.unbind(dim=1), strict=True):
            columns[place] = column
        return torch.stack(columns, dim=1)

    def draw(self, seed: int) -> None:
        """Draw new weights, as torch draws those of a linear layer."""
        generator = torch.Generator().manual_seed(seed)
        bound = max(1, self.weight.shape[1]) ** -0.5
        with torch.no_grad():
            for value in self.parameters():
                value.uniform_(-bound, bound, generator=generator)


def unsupported(estimator: Any) -> str | None:
    """Return why a fitted estimator cannot be turned into a module; None if it can."""
    kind = type(estimator)
    if kind not in {LogisticRegression, RidgeClassifier}:
        return f"{kind.__name__} is neither a LogisticRegression nor a RidgeClassifier"
    # By setting: the values under which the objective is the one that is known here.
    known: dict[str, tuple[Any, ...]] = {"class_weight": (None,)}
    if kind is RidgeClassifier:
        known |= {"positive": (False,)}
    else:
        # L1 penalties have no Hessian, and liblinear shrinks the intercept too. The last setting
        # is of scikit-learn before 1.8.
        known |= {
            "penalty": ("l2", None, "deprecated"),
            "l1_ratio": (0, None),
            "solver": ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"),
            "multi_class": ("auto", "deprecated"),
        }
    settings = estimator.get_params()
    for name, values in known.items():
        if name in settings and settings[name] not in values:
            return f"{kind.__name__} was trained with {name} {settings[name]!r}"
    return None


def from_sklearn(estimator: Any, classes: int) -> LinearModel:
    """Return a fitted estimator as a module.

    Parameters
    ----------
    estimator
        One that `unsupported` has nothing against, fitted on class indices.
    classes
        Number of pinned classes.
    """
    # Of two classes, some versions leave out the axis of length 1.
    weight, bias = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    model = LinearModel(
        weight.shape[1],
        classes,
        [int(place) for place in estimator.classes_],
        intercept=estimator.fit_intercept,
        ridge=isinstance(estimator, RidgeClassifier),
    )
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weight))
        if model.bias is not None:
            model.bias.copy_(torch.tensor(bias))
    return model


def to_sklearn(estimator: Any, model: LinearModel) -> Any:
    """Return a copy of the estimator that `model` was made of, with the module's weights."""
    changed = copy.deepcopy(estimator)
    changed.coef_ = _like(estimator.coef_, model.weight)
    if model.bias is not None:
        changed.intercept_ = _like(estimator.intercept_, model.bias)
    return changed


def _like(old: npt.NDArray[np.float64], new: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return numbers in an array of the old shape and order, by which products may round."""
    found = np.empty_like(old)
    found[...] = new.detach().numpy().reshape(old.shape)
    return found
