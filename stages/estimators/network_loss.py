"""What a network is trained to make small: a loss of each row, and the mean of it in a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Targets
from unlearn.stages.estimators.class_weights import by_index
from unlearn.stages.estimators.torch_predictors import one_number
from unlearn.stages.estimators.training_errors import kind_of
from unlearn.stages.project.user_code import load_function
from unlearn.stages.rows.outputs import Outputs

#: A function of the user's: outputs and targets to losses, shape (rows,).
OwnLoss = Callable[[torch.Tensor, torch.Tensor], Any]

Floats = npt.NDArray[np.float64]

_SETTING = "train.loss"


@dataclass(frozen=True)
class NetworkLoss:
    """The loss of each row.

    It is the cross-entropy of classes; the squared error of numbers; or the user's own.

    Parameters
    ----------
    is_number
        Whether rows are answered with a number.
    smoothing
        How much of the probability is spread over all classes (Szegedy et al., "Rethinking the
        Inception Architecture", CVPR 2016).
    own, name
        The user's function, if there is one, and what errors call it.
    """

    is_number: bool
    smoothing: float = 0.0
    own: OwnLoss | None = None
    name: str = ""

    @classmethod
    def of(cls, train: TrainParams, outputs: Outputs, root: Path | None) -> "NetworkLoss":
        """Return the loss that the settings name.

        Parameters
        ----------
        train, outputs
            The settings, and what models answer with.
        root
            The project's folder, where the file of an own loss is.

        Raises
        ------
        InputError
            If the file of an own loss is missing, fails, or has no such function.
        """
        own = None
        if train.loss is not None:
            path, _, function = train.loss.rpartition(":")
            own = load_function((root or Path()) / path, function, _SETTING)
        return cls(outputs.is_number, train.label_smoothing, own, train.loss or "")

    def rows(self, answers: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row, shape (rows,).

        Parameters
        ----------
        answers
            What the network answers, shape (rows, classes); or (rows, 1) or (rows,).
        targets
            Class indices, or numbers in the pinned scale, shape (rows,).
        """
        if self.own is not None:
            return self._of_own(self.own, answers, targets)
        if self.is_number:
            return nn.functional.mse_loss(one_number(answers), targets, reduction="none")
        return nn.functional.cross_entropy(
            answers, targets, reduction="none", label_smoothing=self.smoothing
        )

    def mean(
        self, answers: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mean over the rows of each row's loss times its weight."""
        if weights is None and self.own is None:
            # The same as the mean of `rows`, in one kernel.
            if self.is_number:
                return nn.functional.mse_loss(one_number(answers), targets)
            return nn.functional.cross_entropy(answers, targets, label_smoothing=self.smoothing)
        losses = self.rows(answers, targets)
        return losses.mean() if weights is None else (losses * weights).mean()

    def _of_own(self, own: OwnLoss, answers: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        try:
            losses = own(answers, targets)
        except Exception as error:
            # Only the name of the error: its message may quote rows.
            raise kind_of(error)(
                f"{_SETTING}: {self.name} fails ({type(error).__name__})",
                "--debug shows the whole error",
            ) from error
        if not isinstance(losses, torch.Tensor):
            raise InputError(
                f"{_SETTING}: {self.name} returns a {type(losses).__name__} in place of a tensor"
            )
        if losses.shape != targets.shape:
            raise InputError(
                f"{_SETTING}: {self.name} returns the shape {tuple(losses.shape)} for "
                f"{len(targets)} rows",
                "it has to return the loss of each row: reduction='none'",
            )
        if not losses.requires_grad and answers.requires_grad:
            raise InputError(f"{_SETTING}: {self.name} returns losses without a gradient")
        return losses


def class_weights(train: TrainParams, outputs: Outputs, targets: Targets) -> Floats | None:
    """Return the weight of each class, shape (classes,); None if all count the same.

    Parameters
    ----------
    train
        The settings. `balanced` is n / (k c) for a class with c of the n rows, where k classes have
        rows, as in scikit-learn. Classes without a row, and those without a weight, have 1.
    outputs
        The classes.
    targets
        Class indices of the rows that are trained on: `balanced` is a function of them.

    Raises
    ------
    InputError
        If a weight is of no class, or the target is a number.

    Examples
    --------
    >>> settings = TrainParams(model="resnet", class_weight="balanced")
    >>> class_weights(settings, Outputs(3), np.array([0, 0, 0, 1])).tolist()
    [0.6666666666666666, 2.0, 1.0]
    """
    setting = train.class_weight
    if setting is None:
        return None
    if outputs.is_number:
        raise InputError("train.class_weight: the target is a number, and has no classes")
    weights = np.ones(outputs.classes)
    if setting == "balanced":
        counts = np.bincount(targets, minlength=outputs.classes)
        found = counts > 0
        weights[found] = len(targets) / (found.sum() * counts[found])
    else:
        for index, weight in by_index(setting, outputs.labels, "train").items():
            weights[index] = weight
    return weights


def training_weights(
    train: TrainParams, outputs: Outputs, targets: Targets, rows: Floats | None
) -> Floats | None:
    """Return what each row's loss is multiplied by, shape (rows,): its own weight and its class's.

    Parameters
    ----------
    train, outputs, targets
        See `class_weights`.
    rows
        The rows' own weights, shape (rows,); None where all count the same.
    """
    classes = class_weights(train, outputs, targets)
    if classes is None:
        return rows
    return classes[targets] if rows is None else rows * classes[targets]
