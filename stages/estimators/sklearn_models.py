"""scikit-learn classifiers and regressors, by their import path."""

import importlib
import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from threadpoolctl import ThreadpoolController, threadpool_info
from unlearn.stages.config.train import INCREMENTAL_ON_NEW_ROWS, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.base import (
    Dtype,
    FloatArray,
    RefusedRowsError,
    SliceData,
)
from unlearn.stages.estimators.class_weights import with_indices
from unlearn.stages.estimators.option_names import check_names, parameters_of
from unlearn.stages.estimators.row_weights import with_weights
from unlearn.stages.rows.outputs import Outputs


def blas_facts() -> dict[str, str]:
    """Return which BLAS scikit-learn computes with."""
    blas = {
        f"{info['internal_api']} {info.get('version')} {info.get('architecture', '')}".strip()
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return {"blas": ", ".join(sorted(blas))}


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which numerical libraries have one thread.

    To look for the libraries of the process takes longer than a small model; they are looked for
    again when modules were imported, which is how libraries are loaded.
    """
    context: AbstractContextManager[object] = _libraries(len(sys.modules)).limit(limits=1)
    return context


@lru_cache(maxsize=1)
def _libraries(_modules: int) -> ThreadpoolController:
    return ThreadpoolController()


class SklearnEstimator:
    """A scikit-learn classifier, or a regressor, which reads targets in the dataset's units.

    With one slice it is fitted by `fit`, as its own options say. With more it goes on from slice
    to slice by `partial_fit`: in mini-batches of `train.batch` over the union, or, for naive
    Bayes, over the new rows once (on unions it would count rows repeatedly).

    Parameters
    ----------
    train
        The settings.
    outputs
        What models answer with.
    sliced
        Whether training goes on from a state.
    """

    dtype: Dtype = np.float64
    min_rows = 1

    def __init__(self, train: TrainParams, outputs: Outputs, *, sliced: bool) -> None:
        self._train = train
        self._outputs = outputs
        self._sliced = sliced
        self._blank = _resolve(train)
        _check_task(train.model, self._blank, outputs)
        self.has_probabilities = outputs.is_number or hasattr(self._blank, "predict_proba")

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Fit, or go on with, the estimator; see the class."""
        try:
            model = self._fresh(init_seed) if state is None else skops_file.load(state)
            with one_thread():
                self._fit(model, data)
                # Some find out only now that the rows are too few, such as nearest neighbours.
                model.predict(data.inputs[:1])
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            raise RefusedRowsError(f"{self._train.model} cannot be trained: {reason}") from error
        except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
            reason = type(error).__name__
            raise RefusedRowsError(f"{self._train.model} cannot be trained ({reason})") from error
        return skops_file.dump(model)

    def _fresh(self, seed: int) -> Any:
        return with_indices(_seeded(self._blank, seed), self._outputs.labels)

    def _fit(self, model: Any, data: SliceData) -> None:
        if not self._sliced:
            weights = with_weights(self._train.model, model, "fit", data.weights)
            model.fit(data.inputs, data.targets, **weights)
        elif self._train.model not in INCREMENTAL_ON_NEW_ROWS:
            self._steps(model, data)
        elif data.new:
            self._partial_fit(model, data, slice(len(data.targets) - data.new, None))

    def _steps(self, model: Any, data: SliceData) -> None:
        batch = self._train.batch
        taken = epoch = 0
        while taken < data.steps:
            order = np.random.Generator(np.random.PCG64(data.seed(epoch))).permutation(
                len(data.targets)
            )
            for start in range(0, len(order), batch):
                if taken == data.steps:
                    break
                rows = order[start : start + batch]
                self._partial_fit(model, data, rows)
                taken += 1
            epoch += 1

    def _partial_fit(self, model: Any, data: SliceData, rows: Any) -> None:
        """Go on with some of the rows, which a slice or an array of indices names."""
        of_rows = None if data.weights is None else data.weights[rows]
        more: dict[str, Any] = with_weights(self._train.model, model, "partial_fit", of_rows)
        if not self._outputs.is_number:
            more["classes"] = np.arange(self._outputs.classes)
        model.partial_fit(data.inputs[rows], data.targets[rows], **more)

    def export(self, state: bytes) -> bytes:
        """Return the fitted estimator: a scikit-learn state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> "SklearnPredictor | SklearnRegressor":
        """Return the estimator that a skops file holds."""
        loaded = skops_file.load(model)
        if type(loaded) is not type(self._blank):
            raise InputError(f"a model file does not contain a {self._train.model}")
        if self._outputs.is_number:
            return SklearnRegressor(loaded)
        return SklearnPredictor(loaded, self._outputs.classes)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the estimator."""
        return {}


class SklearnPredictor:
    """A fitted scikit-learn classifier, its classes mapped to the pinned ones."""

    def __init__(self, model: Any, classes: int) -> None:
        self._model = model
        self._classes = classes

    @property
    def model(self) -> Any:
        """The fitted classifier; its classes are indices of the pinned ones."""
        return self._model

    @property
    def classes(self) -> int:
        """Number of pinned classes."""
        return self._classes

    def probabilities(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return probabilities of all pinned classes, or whole votes without `predict_proba`."""
        answer = np.zeros((len(inputs), self._classes))
        # Callers check answers that are no numbers; numpy's warnings of how it
        # came about would be printed for each model.
        with one_thread(), np.errstate(all="ignore"):
            if hasattr(self._model, "predict_proba"):
                answer[:, self._model.classes_] = self._model.predict_proba(inputs)
            else:
                answer[np.arange(len(inputs)), self._model.predict(inputs)] = 1.0
        return answer

    def importances(self) -> npt.NDArray[np.float64] | None:
        """Return the importance of each column, shape (columns,); see `importances`."""
        return importances(self._model)


class SklearnRegressor:
    """A fitted scikit-learn regressor."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def model(self) -> Any:
        """The fitted regressor."""
        return self._model

    def values(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return the predictions, shape (rows,)."""
        with one_thread(), np.errstate(all="ignore"):
            found = np.asarray(self._model.predict(inputs), dtype=np.float64)
        return found.reshape(len(inputs))

    def importances(self) -> npt.NDArray[np.float64] | None:
        """Return the importance of each column, shape (columns,); see `importances`."""
        return importances(self._model)


def importances(model: Any) -> npt.NDArray[np.float64] | None:
    """Return the importances that an estimator gives itself; None where it gives none."""
    with one_thread():
        found = getattr(model, "feature_importances_", None)
    return None if found is None else np.asarray(found, np.float64)


def _resolve(train: TrainParams) -> Any:
    """Return an unfitted estimator with the options of params.yaml."""
    module_name, _, class_name = train.model.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        raise InputError(f"train.model: scikit-learn has no {train.model}") from None
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
        raise InputError(f"train.model: {train.model} is no estimator")
    known = parameters_of(kind)[0]
    own = {
        name: value for name, value in train.options.items() if name in known or "__" not in name
    }
    try:
        check_names(train.model, own, known)
        model = kind(**own)
        parts = {name: value for name, value in train.options.items() if name not in own}
        check_names(train.model, parts, model.get_params(deep=True))
        model.set_params(**parts)
    except TypeError:
        raise InputError(f"train.options: {train.model} does not take these options") from None
    if not (is_classifier(model) or is_regressor(model)):
        raise InputError(f"train.model: {train.model} is neither a classifier nor a regressor")
    return model


def _check_task(name: str, model: Any, outputs: Outputs) -> None:
    """Refuse a classifier for numbers, and a regressor for classes."""
    if outputs.is_number and not is_regressor(model):
        raise InputError(f"train.model: {name} is not a regressor, and the task is regression")
    if not outputs.is_number and not is_classifier(model):
        raise InputError(f"train.model: {name} is not a classifier, and the target has classes")


def gives_probabilities(train: TrainParams) -> bool:
    """Return whether an estimator's answers are more than votes, as those of regressors are."""
    model = _resolve(train)
    return bool(is_regressor(model) or hasattr(model, "predict_proba"))


def _seeded(blank: Any, seed: int) -> Any:
    """Return a fresh clone with every random state set, and one job where options ask for more."""
    model = clone(blank)
    settings: dict[str, Any] = {}
    for name, value in model.get_params(deep=True).items():
        if name == "random_state" or name.endswith("__random_state"):
            settings[name] = seed % 2**32  # the range that scikit-learn accepts
        elif value is not None and (name == "n_jobs" or name.endswith("__n_jobs")):
            settings[name] = 1
    return model.set_params(**settings)
