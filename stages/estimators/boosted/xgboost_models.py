"""XGBoost's boosted trees."""

from typing import Any

import numpy as np
import xgboost
from unlearn.stages.config.boosted import XGBoostOptions, XGBoostRegressorOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, SliceData, Targets
from unlearn.stages.estimators.boosted.answers import (
    BoostedClassifier,
    BoostedRegressor,
    answering,
    check_model,
    check_signs,
    known_targets,
    read_back,
)
from unlearn.stages.estimators.boosted.refusal import refusal
from unlearn.stages.estimators.boosted.xgboost_file import read_file
from unlearn.stages.project.files import canonical_json
from unlearn.stages.rows.outputs import Outputs

#: Seeds are signed numbers of 32 bits.
_SEEDS = 2**31

_SETTINGS = {"nthread": 1, "verbosity": 0, "device": "cpu"}


class XGBoostEstimator:
    """A model of XGBoost that reads categories and missing values as they are.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    outputs
        What models answer with.
    """

    dtype: Dtype = np.float32
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, outputs: Outputs) -> None:
        self._model = train.model
        kind = XGBoostRegressorOptions if outputs.is_number else XGBoostOptions
        self._options = kind.model_validate(train.options)
        check_signs(self._options.monotone_constraints, inputs)
        self._inputs = inputs
        self._outputs = outputs

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the model of the rows; there is one slice, so there is no state before."""
        del state
        present, targets = known_targets(self._model, data, self._outputs)
        settings, rounds = self._settings(len(present), init_seed)
        try:
            rows = self._matrix(data, targets)
            booster = xgboost.train(settings, rows, rounds)
            booster.set_attr(classes=canonical_json(present).decode())
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise refusal(self._model, error) from error
        written = bytes(booster.save_raw("json"))
        return read_back(self._model, read_file, written)

    def _matrix(self, data: SliceData, targets: Targets) -> Any:
        """Return the rows as XGBoost takes them; edges of histograms are of these rows alone."""
        kinds = ["c" if count else "q" for count in data.categories] or ["q"] * self._inputs
        facts = {
            "label": targets,
            "weight": data.weights,
            "feature_types": kinds,
            "enable_categorical": True,
            "nthread": 1,
        }
        if (self._options.tree_method or "hist") == "hist":
            return xgboost.QuantileDMatrix(
                data.inputs, max_bin=self._options.max_bin or 256, **facts
            )
        return xgboost.DMatrix(data.inputs, **facts)

    def _settings(self, classes: int, seed: int) -> tuple[dict[str, Any], int]:
        settings = self._options.model_dump()
        rounds = int(settings.pop("n_estimators"))
        if "monotone_constraints" in settings:
            settings["monotone_constraints"] = tuple(settings["monotone_constraints"])
        of_targets: dict[str, Any] = {}
        if not self._outputs.is_number:
            of_targets = {"objective": "binary:logistic"}
            if classes > 2:  # noqa: PLR2004 - two have one logit
                of_targets = {"objective": "multi:softprob", "num_class": classes}
        return settings | of_targets | _SETTINGS | {"seed": seed % _SEEDS}, rounds

    def export(self, state: bytes) -> bytes:
        """Return the model: a state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> BoostedClassifier | BoostedRegressor:
        """Return the model that a file holds."""
        file = read_file(model)
        check_model(file.inputs, file.classes, self._inputs, self._outputs)
        booster = xgboost.Booster(_SETTINGS)
        try:
            booster.load_model(bytearray(file.dump()))
        except xgboost.core.XGBoostError:
            raise InputError("a model file is not one that XGBoost reads") from None
        booster.set_param(_SETTINGS)
        return answering(booster.inplace_predict, file.classes, self._outputs)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the model."""
        return {}
