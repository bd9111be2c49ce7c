"""Estimators with scikit-learn's interface: built by a function of the user's, or by their class.

All of an estimator is fitted on the rows of one shard. A function of the user's may return a
`Pipeline`, whose scalers, encoders and selections of features are then parts of it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.base import (
    Dtype,
    RefusedRowsError,
    SliceData,
    UnansweredRowError,
)
from unlearn.stages.estimators.class_weights import with_indices
from unlearn.stages.estimators.own_building import (
    build,
    check_interface,
    forget_times,
    has_method,
    path_of,
    seeded,
    seeds,
    without_values,
)
from unlearn.stages.estimators.own_packages import UntrustedTypesError, is_trusted
from unlearn.stages.estimators.row_weights import with_weights
from unlearn.stages.estimators.sklearn_models import one_thread
from unlearn.stages.project.user_code import importable, load_module
from unlearn.stages.rows.outputs import Outputs

#: So many rows are answered by a fitted estimator and by what its file holds, to compare them.
_COMPARED = 64


class OwnEstimator:
    """A classifier or regressor with scikit-learn's interface, fitted as a whole on one slice.

    A regressor reads targets in the units of the dataset.

    Parameters
    ----------
    train
        The settings.
    outputs
        What models answer with.
    code
        The user's own module file, where `train.model` names one. It is run.
    """

    dtype: Dtype = np.float64
    min_rows = 1

    def __init__(self, train: TrainParams, outputs: Outputs, code: Path | None) -> None:
        self._train = train
        self._outputs = outputs
        self._name = train.model.removeprefix(SKLEARN_INTERFACE)
        self._code = code
        self._module = (
            None if train.code_path is None else load_module(path_of(code), "train.model")
        )
        self._trusted = is_trusted(train, self._module)
        self._blank = build(train, self._name, self._module, code)
        check_interface(self._name, self._blank, outputs)
        # Some estimators know only after a fit what they can do; see `fit_slice`.
        self.has_probabilities = outputs.is_number or has_method(self._blank, "predict_proba")

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Fit the estimator; it takes one slice, so there is no state to go on from.

        Raises
        ------
        InputError
            If it cannot be saved, or its file holds a type that is not trusted.
        """
        del state
        model = with_indices(seeded(self._blank, init_seed), self._outputs.labels)
        weights = with_weights(self._name, model, "fit", data.weights)
        with self._errors(data.inputs), one_thread(), seeds(init_seed):
            model.fit(data.inputs, data.targets, **weights)
        forget_times(model)
        if not self._outputs.is_number:
            self.has_probabilities = hasattr(model, "predict_proba")
            self._check_classes(model, data.targets)
        content = self._saved(model)
        self._check_complete(model, content, data.inputs[:_COMPARED])
        return content

    @contextmanager
    def _errors(self, inputs: Any) -> Iterator[None]:
        """Turn what an estimator raises into the error of refused rows."""
        try:
            yield
        except InputError:
            raise
        except ValueError as error:
            reason = without_values(str(error).partition("\n")[0], inputs)
            raise RefusedRowsError(f"{self._name} cannot be trained: {reason}") from error
        except Exception as error:
            # Of the user's code: only the name, because the message may quote a row.
            reason = type(error).__name__
            raise RefusedRowsError(f"{self._name} cannot be trained ({reason})") from error

    def _check_classes(self, model: Any, targets: npt.NDArray[Any]) -> None:
        found = getattr(model, "classes_", None)
        if found is None or not np.array_equal(np.asarray(found), np.unique(targets)):
            raise InputError(
                f"{self._name} has no `classes_` with the classes of its rows after fit, which "
                "scikit-learn's interface asks for"
            )

    def _saved(self, model: Any) -> bytes:
        """Return the file of a fitted estimator."""
        with self._names():
            try:
                content = skops_file.dump(model, ordered=True)
                needed = [
                    name for name in skops_file.foreign_types(content) if not self._trusted(name)
                ]
            except Exception as error:
                raise InputError(
                    f"{self._name} cannot be saved in a skops file ({type(error).__name__})",
                    "its parts have to be objects of classes with plain attributes: no open "
                    "files, generators, DataFrames or lambda functions",
                ) from error
        if local := [name for name in needed if "<" in name]:
            raise InputError(
                f"{self._name} cannot be saved: it has the function {local[0].rpartition('.')[2]}",
                "define the function with `def` at the top of a module",
            )
        if needed:
            raise UntrustedTypesError(self._name, needed)
        return content

    def _check_complete(self, model: Any, content: bytes, inputs: Any) -> None:
        """Make sure that an estimator's file holds all that it answers from."""
        try:
            before, after = self._opened(model), self.predictor(content)
            same = np.array_equal(before.answers(inputs), after.answers(inputs), equal_nan=True)
        except InputError:
            same = False
        if not same:
            raise InputError(
                f"{self._name} would answer differently after loading: its skops file does not "
                "hold all that it answers from"
            )

    def export(self, state: bytes) -> bytes:
        """Return the fitted estimator: its state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> "OwnPredictor | OwnRegressor":
        """Return the estimator that a skops file holds."""
        with self._names():
            loaded = skops_file.load(model, self._trusted)
        if type(loaded) is not type(self._blank):
            raise InputError(f"a model file does not contain what {self._name} returns")
        return self._opened(loaded)

    def _opened(self, model: Any) -> "OwnPredictor | OwnRegressor":
        if self._outputs.is_number:
            return OwnRegressor(model, self._name)
        return OwnPredictor(model, self._outputs.classes, self._name)

    def describe(self) -> dict[str, Any]:
        """Return which code builds the estimator, if it is the user's."""
        if self._module is None:
            return {}
        path = path_of(self._code)
        return {
            "code": {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        }

    def _names(self) -> Any:
        """Let skops find the classes of the user's module."""
        return nullcontext() if self._module is None else importable(self._module)


class _Opened:
    """A fitted estimator, which names the first row that it refuses."""

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self._name = name

    def answers(self, inputs: Any) -> npt.NDArray[np.float64]:
        """Return the answers on rows.

        Raises
        ------
        UnansweredRowError
            If the estimator refuses the rows.
        """
        # Some estimators draw when they answer.
        with one_thread(), np.errstate(all="ignore"), seeds(0):
            try:
                return self._answers(inputs)
            except Exception as error:
                reason = f"{self._name} cannot answer ({type(error).__name__})"
                raise UnansweredRowError(reason, self._first_refused(inputs)) from error

    def _answers(self, inputs: Any) -> npt.NDArray[np.float64]:
        raise NotImplementedError

    def _first_refused(self, inputs: Any) -> int | None:
        for row in range(len(inputs)):
            try:
                self._answers(inputs[row : row + 1])
            except Exception:  # noqa: BLE001 - whatever the user's code raises
                return row
        return None


class OwnPredictor(_Opened):
    """A fitted classifier, its classes mapped to the pinned ones."""

    def __init__(self, model: Any, classes: int, name: str) -> None:
        super().__init__(model, name)
        self._classes = classes

    def probabilities(self, inputs: Any) -> npt.NDArray[np.float64]:
        """Return probabilities of all pinned classes, or whole votes without `predict_proba`.

        See `_Opened.answers` for errors.
        """
        return self.answers(inputs)

    def _answers(self, inputs: Any) -> npt.NDArray[np.float64]:
        answer = np.zeros((len(inputs), self._classes))
        if hasattr(self._model, "predict_proba"):
            answer[:, self._model.classes_] = np.asarray(self._model.predict_proba(inputs))
        else:
            answer[np.arange(len(inputs)), np.asarray(self._model.predict(inputs))] = 1.0
        return answer


class OwnRegressor(_Opened):
    """A fitted regressor."""

    def values(self, inputs: Any) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, in the units of the dataset, shape (rows,).

        See `_Opened.answers` for errors.
        """
        return self.answers(inputs)

    def _answers(self, inputs: Any) -> npt.NDArray[np.float64]:
        found = np.asarray(self._model.predict(inputs), dtype=np.float64)
        return found.reshape(len(inputs))
