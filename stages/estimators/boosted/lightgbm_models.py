"""LightGBM's boosted trees."""

from functools import partial
from typing import Any

import lightgbm
import numpy as np
from unlearn.stages.config.boosted import LightGBMOptions, LightGBMRegressorOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, SliceData
from unlearn.stages.estimators.boosted.answers import (
    BoostedClassifier,
    BoostedRegressor,
    answering,
    check_model,
    check_signs,
    known_targets,
    read_back,
)
from unlearn.stages.estimators.boosted.lightgbm_file import of_library, read_file
from unlearn.stages.estimators.boosted.refusal import refusal
from unlearn.stages.rows.outputs import Outputs

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
    """A model of LightGBM that reads categories and missing values as they are.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    outputs
        What models answer with.
    """

    dtype: Dtype = np.float64
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, outputs: Outputs) -> None:
        self._model = train.model
        kind = LightGBMRegressorOptions if outputs.is_number else LightGBMOptions
        self._options = kind.model_validate(train.options)
        check_signs(self._options.monotone_constraints, inputs)
        self._inputs = inputs
        self._outputs = outputs

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the model of the rows; there is one slice, so there is no state before."""
        del state
        present, targets = known_targets(self._model, data, self._outputs)
        signs = self._options.monotone_constraints or ()
        if any(sign and count for sign, count in zip(signs, data.categories, strict=False)):
            # The library ends the process.
            raise InputError("train.options.monotone_constraints: a category takes 0")
        settings, rounds = self._settings(len(present), init_seed)
        # Edges of histograms are of these rows alone.
        rows = lightgbm.Dataset(
            data.inputs,
            label=targets,
            weight=data.weights,
            categorical_feature=[at for at, count in enumerate(data.categories) if count],
            params=settings,
        )
        try:
            # A target too large for 32 bits makes leaves that are not finite, which are refused.
            with np.errstate(over="ignore"):
                booster = lightgbm.train(settings, rows, rounds)
        except (lightgbm.basic.LightGBMError, ValueError) as error:
            raise refusal(self._model, error) from error
        written = of_library(booster.model_to_string(), present)
        return read_back(self._model, read_file, written)

    def _settings(self, classes: int, seed: int) -> tuple[dict[str, Any], int]:
        options = self._options.model_dump()
        rounds = int(options.pop("n_estimators"))
        settings = {_NATIVE_NAMES.get(name, name): value for name, value in options.items()}
        of_targets: dict[str, Any] = {}
        if not self._outputs.is_number:
            of_targets = {"objective": "binary"}
            if classes > 2:  # noqa: PLR2004 - two have one logit
                of_targets = {"objective": "multiclass", "num_class": classes}
        return {"objective": "regression"} | settings | of_targets | _SETTINGS | {
            "seed": seed % _SEEDS
        }, rounds

    def export(self, state: bytes) -> bytes:
        """Return the model: a state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> BoostedClassifier | BoostedRegressor:
        """Return the model that a file holds."""
        file = read_file(model)
        check_model(file.inputs, file.classes, self._inputs, self._outputs)
        if not file.trees:
            raise InputError("a model file has no trees")
        try:
            booster = lightgbm.Booster(model_str=file.dump().decode())
        except lightgbm.basic.LightGBMError:
            raise InputError("a model file is not one that LightGBM reads") from None
        return answering(partial(booster.predict, num_threads=1), file.classes, self._outputs)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the model."""
        return {}
