"""LightGBM's boosted trees."""

from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
from unlearn.stages.config.boosted import LightGBMOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, FloatArray, RefusedRowsError, SliceData
from unlearn.stages.estimators.boosted.lightgbm_file import of_library, read_file
from unlearn.stages.estimators.boosted.refusal import refusal

#: Seeds are signed numbers of 32 bits.
_SEEDS = 2**31

_SETTINGS = {
    "num_threads": 1,
    "verbosity": -1,
    "device_type": "cpu",
    "deterministic": True,
    "force_row_wise": True,
    # The library's default for its class, of which a file says nothing.
    "sigmoid": 1.0,
}

#: What the library calls options of its class for scikit-learn.
_NATIVE_NAMES = {
    "boosting_type": "boosting",
    "min_split_gain": "min_gain_to_split",
    "min_child_weight": "min_sum_hessian_in_leaf",
    "min_child_samples": "min_data_in_leaf",
    "subsample": "bagging_fraction",
    "subsample_freq": "bagging_freq",
    "subsample_for_bin": "bin_construct_sample_cnt",
    "colsample_bytree": "feature_fraction",
    "reg_alpha": "lambda_l1",
    "reg_lambda": "lambda_l2",
}


class LightGBMEstimator:
    """A classifier of LightGBM that reads categories and missing values as they are.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    classes
        Number of pinned classes.
    """

    dtype: Dtype = np.float64
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, classes: int) -> None:
        self._model = train.model
        self._options = LightGBMOptions.model_validate(train.options)
        self._inputs = inputs
        self._classes = classes

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the model of the rows; there is one slice, so there is no state before."""
        del state
        # A shard may lack a class; those that there are get numbers of their own.
        present, targets = np.unique(data.targets, return_inverse=True)
        if len(present) < 2:  # noqa: PLR2004 - one class has nothing to tell apart
            raise RefusedRowsError(f"{self._model} cannot be trained: all rows have one class")
        settings, rounds = self._settings(len(present), init_seed)
        # Edges of histograms are of these rows alone.
        rows = lightgbm.Dataset(
            data.inputs,
            label=targets,
            categorical_feature=[at for at, count in enumerate(data.categories) if count],
            params=settings,
        )
        try:
            booster = lightgbm.train(settings, rows, rounds)
        except (lightgbm.basic.LightGBMError, ValueError) as error:
            raise refusal(self._model, error) from error
        written = of_library(booster.model_to_string(), present.tolist())
        try:
            read_file(written)
        except InputError as error:
            raise RefusedRowsError(f"{self._model} cannot be trained: {error.message}") from error
        return written

    def _settings(self, classes: int, seed: int) -> tuple[dict[str, Any], int]:
        options = self._options.model_dump()
        rounds = int(options.pop("n_estimators"))
        settings = {_NATIVE_NAMES.get(name, name): value for name, value in options.items()}
        of_classes: dict[str, Any] = {"objective": "binary"}
        if classes > 2:  # noqa: PLR2004 - two have one logit
            of_classes = {"objective": "multiclass", "num_class": classes}
        return settings | of_classes | _SETTINGS | {"seed": seed % _SEEDS}, rounds

    def export(self, state: bytes) -> bytes:
        """Return the model: a state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> "LightGBMPredictor":
        """Return the model that a file holds."""
        file = read_file(model)
        if file.inputs != self._inputs:
            raise InputError(f"a model file is of {file.inputs} columns, not {self._inputs}")
        if file.classes[-1] >= self._classes:
            raise InputError(f"a model file has more than {self._classes} classes")
        if not file.trees:
            raise InputError("a model file has no trees")
        try:
            booster = lightgbm.Booster(model_str=file.dump().decode())
        except lightgbm.basic.LightGBMError:
            raise InputError("a model file is not one that LightGBM reads") from None
        return LightGBMPredictor(booster, file.classes, self._classes)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the model."""
        return {}


class LightGBMPredictor:
    """A fitted model, its classes mapped to the pinned ones."""

    def __init__(self, booster: Any, known: tuple[int, ...], classes: int) -> None:
        self._booster = booster
        self._known = list(known)
        self._classes = classes

    def probabilities(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return probabilities of all pinned classes; 0 for one that the rows did not have."""
        found = np.asarray(self._booster.predict(inputs, num_threads=1), dtype=np.float64)
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        answer = np.zeros((len(inputs), self._classes))
        answer[:, self._known] = found / found.sum(axis=1, keepdims=True)
        return answer
