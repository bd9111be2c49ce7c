"""Perturbed logistic regressions for tests."""

from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.perturbed_logistic import (
    PerturbedLogistic,
    PerturbedLogisticEstimator,
)

PREPROCESSING = {"scale": "none", "impute": "zero"}


def settings_of(**options: Any) -> TrainParams:
    """Return the settings of a perturbed logistic regression."""
    return TrainParams.model_validate(
        {"model": "perturbed_logistic", "options": options, "preprocessing": PREPROCESSING}
    )


def fit(
    train: TrainParams,
    inputs: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    classes: int,
    seed: int,
) -> PerturbedLogistic:
    """Return the module that training makes."""
    estimator = PerturbedLogisticEstimator(train, inputs.shape[1], classes)
    data = SliceData(inputs, targets, len(targets), 1, lambda epoch: epoch)
    return estimator.load(estimator.export(estimator.fit_slice(None, data, seed)))
