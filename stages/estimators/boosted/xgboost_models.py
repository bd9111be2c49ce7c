"""XGBoost's boosted trees."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from unlearn.stages.config.boosted import XGBoostOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, FloatArray, RefusedRowsError, SliceData
from unlearn.stages.estimators.boosted.refusal import refusal
from unlearn.stages.estimators.boosted.xgboost_file import read_file
from unlearn.stages.project.files import canonical_json

#: Seeds are signed numbers of 32 bits.
_SEEDS = 2**31

_SETTINGS = {"nthread": 1, "verbosity": 0, "device": "cpu"}


class XGBoostEstimator:
    """A classifier of XGBoost that reads categories and missing values as they are.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    classes
        Number of pinned classes.
    """

    dtype: Dtype = np.float32
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, classes: int) -> None:
        self._model = train.model
        self._options = XGBoostOptions.model_validate(train.options)
        self._inputs = inputs
        self._classes = classes

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the model of the rows; there is one slice, so there is no state before."""
        del state
        # A shard may lack a class; XGBoost numbers those that there are.
        present, targets = np.unique(data.targets, return_inverse=True)
        if len(present) < 2:  # noqa: PLR2004 - one class has nothing to tell apart
            raise RefusedRowsError(f"{self._model} cannot be trained: all rows have one class")
        rows = self._matrix(data, targets)
        settings, rounds = self._settings(len(present), init_seed)
        try:
            booster = xgboost.train(settings, rows, rounds)
            booster.set_attr(classes=canonical_json(present.tolist()).decode())
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise refusal(self._model, error) from error
        written = bytes(booster.save_raw("json"))
        try:
            read_file(written)
        except InputError as error:
            raise RefusedRowsError(f"{self._model} cannot be trained: {error.message}") from error
        return written

    def _matrix(self, data: SliceData, targets: npt.NDArray[np.int64]) -> Any:
        """Return the rows as XGBoost takes them; edges of histograms are of these rows alone."""
        kinds = ["c" if count else "q" for count in data.categories] or ["q"] * self._inputs
        facts = {
            "label": targets,
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
        of_classes: dict[str, Any] = {"objective": "binary:logistic"}
        if classes > 2:  # noqa: PLR2004 - two have one logit
            of_classes = {"objective": "multi:softprob", "num_class": classes}
        return settings | of_classes | _SETTINGS | {"seed": seed % _SEEDS}, rounds

    def export(self, state: bytes) -> bytes:
        """Return the model: a state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> "XGBoostPredictor":
        """Return the model that a file holds."""
        file = read_file(model)
        if file.inputs != self._inputs:
            raise InputError(f"a model file is of {file.inputs} columns, not {self._inputs}")
        if file.classes[-1] >= self._classes:
            raise InputError(f"a model file has more than {self._classes} classes")
        booster = xgboost.Booster(_SETTINGS)
        try:
            booster.load_model(bytearray(file.dump()))
        except xgboost.core.XGBoostError:
            raise InputError("a model file is not one that XGBoost reads") from None
        booster.set_param(_SETTINGS)
        return XGBoostPredictor(booster, file.classes, self._classes)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the model."""
        return {}


class XGBoostPredictor:
    """A fitted model, its classes mapped to the pinned ones."""

    def __init__(self, booster: Any, known: tuple[int, ...], classes: int) -> None:
        self._booster = booster
        self._known = list(known)
        self._classes = classes

    def probabilities(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return probabilities of all pinned classes; 0 for one that the rows did not have."""
        found = np.asarray(self._booster.inplace_predict(inputs), dtype=np.float64)
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        answer = np.zeros((len(inputs), self._classes))
        answer[:, self._known] = found / found.sum(axis=1, keepdims=True)
        return answer
