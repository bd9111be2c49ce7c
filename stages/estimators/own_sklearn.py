"""Estimators with scikit-learn's interface: built by a function of the user's, or by their class.

All of an estimator is fitted on the rows of one shard. A function of the user's may return a
`Pipeline`, whose scalers, encoders and selections of features are then parts of it.
"""

import hashlib
import importlib
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.base import (
    Dtype,
    RefusedRowsError,
    SliceData,
    UnansweredRowError,
)
from unlearn.stages.estimators.option_names import check_names, parameters_of, without_default
from unlearn.stages.estimators.own_packages import UntrustedTypesError, is_trusted
from unlearn.stages.estimators.sklearn_models import one_thread
from unlearn.stages.project.user_code import function_of, importable, load_module

#: So many rows are answered by a fitted estimator and by what its file holds, to compare them.
_COMPARED = 64

#: Parameters at any depth that training sets: one thread, and no cache of rows on disk.
_FIXED = {"n_jobs": 1, "memory": None}


class OwnEstimator:
    """A classifier with scikit-learn's interface, fitted as a whole on one slice.

    Parameters
    ----------
    train
        The settings.
    classes
        Number of classes.
    code
        The user's own module file, where `train.model` names one. It is run.
    """

    dtype: Dtype = np.float64
    min_rows = 1

    def __init__(self, train: TrainParams, classes: int, code: Path | None) -> None:
        self._train = train
        self._classes = classes
        self._name = train.model.removeprefix(SKLEARN_INTERFACE)
        self._code = code
        self._module = None if train.code_path is None else load_module(_path(code), "train.model")
        self._trusted = is_trusted(train, self._module)
        self._blank = _build(train, self._name, self._module, code)
        # Some estimators know only after a fit what they can do; see `fit_slice`.
        self.has_probabilities = _has(self._blank, "predict_proba")

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Fit the classifier; it takes one slice, so there is no state to go on from.

        Raises
        ------
        InputError
            If it cannot be saved, or its file holds a type that is not trusted.
        """
        del state
        model = _seeded(self._blank, init_seed)
        with self._errors(data.inputs), one_thread(), _seeds(init_seed):
            model.fit(data.inputs, data.targets)
        self.has_probabilities = hasattr(model, "predict_proba")
        _forget_times(model)
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
            again = self.predictor(content)
            same = np.array_equal(
                again.probabilities(inputs),
                OwnPredictor(model, self._classes, self._name).probabilities(inputs),
                equal_nan=True,
            )
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

    def predictor(self, model: bytes) -> "OwnPredictor":
        """Return the classifier that a skops file holds."""
        with self._names():
            loaded = skops_file.load(model, self._trusted)
        if type(loaded) is not type(self._blank):
            raise InputError(f"a model file does not contain what {self._name} returns")
        return OwnPredictor(loaded, self._classes, self._name)

    def describe(self) -> dict[str, Any]:
        """Return which code builds the estimator, if it is the user's."""
        if self._module is None:
            return {}
        path = _path(self._code)
        return {
            "code": {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        }

    def _names(self) -> Any:
        """Let skops find the classes of the user's module."""
        return nullcontext() if self._module is None else importable(self._module)


class OwnPredictor:
    """A fitted classifier, its classes mapped to the pinned ones."""

    def __init__(self, model: Any, classes: int, name: str) -> None:
        self._model = model
        self._classes = classes
        self._name = name

    def probabilities(self, inputs: Any) -> npt.NDArray[np.float64]:
        """Return probabilities of all pinned classes, or whole votes without `predict_proba`.

        Raises
        ------
        UnansweredRowError
            If the estimator refuses the rows.
        """
        # Some estimators draw when they answer.
        with one_thread(), np.errstate(all="ignore"), _seeds(0):
            try:
                return self._answers(inputs)
            except Exception as error:
                reason = f"{self._name} cannot answer ({type(error).__name__})"
                raise UnansweredRowError(reason, self._first_refused(inputs)) from error

    def _answers(self, inputs: Any) -> npt.NDArray[np.float64]:
        answer = np.zeros((len(inputs), self._classes))
        if hasattr(self._model, "predict_proba"):
            answer[:, self._model.classes_] = np.asarray(self._model.predict_proba(inputs))
        else:
            answer[np.arange(len(inputs)), np.asarray(self._model.predict(inputs))] = 1.0
        return answer

    def _first_refused(self, inputs: Any) -> int | None:
        for row in range(len(inputs)):
            try:
                self._answers(inputs[row : row + 1])
            except Exception:  # noqa: BLE001 - whatever the user's code raises
                return row
        return None


def without_values(message: str, inputs: Any) -> str:
    """Return a message without the texts that are values of the rows.

    Parameters
    ----------
    message
        What an estimator says.
    inputs
        The rows that it was given; only a DataFrame has texts.
    """
    texts: set[str] = set()
    for column in getattr(inputs, "columns", ()):
        if inputs[column].dtype == "category":
            texts.update(map(str, inputs[column].cat.categories))
        elif inputs[column].dtype == "str":
            # A message may quote a word of a text, or all of it.
            for text in inputs[column]:
                texts.update((text, *text.split()))
    if not texts:
        return message

    def shown(match: re.Match[str]) -> str:
        return "..." if match[0].strip("'\"") in texts else match[0]

    return re.sub(r"'[^']*'|\"[^\"]*\"|[^\s'\",;:()\[\]{}]+", shown, message)


def _path(code: Path | None) -> Path:
    if code is None:
        raise ValueError("an estimator of the user's own needs the path of its code")
    return code


def _build(train: TrainParams, name: str, module: ModuleType | None, code: Path | None) -> Any:
    """Return the unfitted estimator with the options of params.yaml."""
    if module is None:
        function = _class_of(name, train)
    else:
        function = function_of(module, _path(code), name.rpartition(":")[2], "train.model")
    known, takes_any = parameters_of(function)
    own = {
        option: value
        for option, value in train.options.items()
        if takes_any or option in known or "__" not in option
    }
    if not takes_any:
        check_names(name, own, known)
    if missing := [option for option in without_default(function) if option not in own]:
        raise InputError(
            f"train.options: {name} needs {missing[0]!r}",
            "give it a value in train.options, or a default in the function",
        )
    model = _called(name, function, own)
    _check_interface(name, model)
    parts = {option: value for option, value in train.options.items() if option not in own}
    check_names(name, parts, model.get_params(deep=True))
    return model.set_params(**parts)


def _called(name: str, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    with _seeds(0):
        try:
            return function(**options)
        except Exception as error:
            raise InputError(
                f"train.model: {name} cannot be called with these options ({type(error).__name__})"
            ) from error


def _class_of(name: str, train: TrainParams) -> Callable[..., Any]:
    """Return a class of an installed package.

    Importing a package runs its code: `train.trusted_types` has to name a type of it.
    """
    package = name.partition(".")[0]
    trusted = {known.partition(".")[0] for known in train.trusted_types} | {"sklearn"}
    if package not in trusted:
        raise UntrustedTypesError(name, [name])
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise InputError(f"train.model: there is no {name} on this machine") from None
    if not isinstance(found, type):
        raise InputError(f"train.model: {name} is not a class")
    return found


def _has(model: Any, method: str) -> bool:
    """Return whether an unfitted estimator has a method, or may have it after a fit.

    A `StackingClassifier` has no `predict` before.
    """
    if hasattr(model, method):
        return True
    return not hasattr(model, "predict") and hasattr(type(model), method)


def _check_interface(name: str, model: Any) -> None:
    if any(kind.__module__.startswith("torch.") for kind in type(model).__mro__):
        raise InputError(
            f"train.model: {name} returns a torch module",
            f"write it without {SKLEARN_INTERFACE!r}: train.model: {name}",
        )
    needed = ("fit", "predict", "get_params", "set_params")
    if missing := [method for method in needed if not _has(model, method)]:
        raise InputError(
            f"train.model: {name} does not return an estimator with scikit-learn's interface: it "
            f"has no {missing[0]}"
        )
    try:
        is_one = is_classifier(model)
    except Exception as error:
        raise InputError(
            f"train.model: {name} returns an estimator that scikit-learn cannot describe "
            f"({type(error).__name__})"
        ) from error
    if not is_one:
        raise InputError(f"train.model: {name} does not return a classifier")
    for part in (model, *model.get_params(deep=True).values()):
        if isinstance(part, FrozenEstimator):
            raise InputError(
                f"train.model: {name} has a FrozenEstimator, which was fitted on other rows than "
                "those of a shard"
            )


def _seeded(blank: Any, seed: int) -> Any:
    """Return a fresh clone with every random state and the fixed parameters set, at any depth."""
    try:
        model = clone(blank)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"train.model: scikit-learn cannot clone a {type(blank).__name__}: its constructor "
            "has to keep its parameters as they are"
        ) from error
    settings: dict[str, Any] = {}
    for name, value in model.get_params(deep=True).items():
        last = name.rpartition("__")[2]
        if last == "random_state":
            digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
            settings[name] = int.from_bytes(digest[:4], "big")
        elif last in _FIXED and value is not None:
            settings[name] = _FIXED[last]
    return model.set_params(**settings)


def _forget_times(model: Any) -> None:
    """Set the seconds that a search of parameters notes of itself to zero, in each step."""
    for _, step in getattr(model, "steps", ()):
        _forget_times(step)
    if isinstance(getattr(model, "refit_time_", None), float):
        model.refit_time_ = 0.0
    results = getattr(model, "cv_results_", None)
    if isinstance(results, dict):
        for name in results:
            if name.endswith("_time"):
                results[name] = np.zeros_like(results[name])


@contextmanager
def _seeds(seed: int) -> Iterator[None]:
    """Seed the global generators, for what no random state decides, and put them back."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
