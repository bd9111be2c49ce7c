"""Building estimators with scikit-learn's interface, and seeding them."""

import hashlib
import importlib
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.option_names import check_names, parameters_of, without_default
from unlearn.stages.estimators.own_packages import UntrustedTypesError
from unlearn.stages.project.user_code import function_of
from unlearn.stages.rows.outputs import Outputs

#: Parameters at any depth that training sets: one thread, and no cache of rows on disk.
_FIXED = {"n_jobs": 1, "memory": None}


def path_of(code: Path | None) -> Path:
    """Return the path of the user's own file, which there has to be."""
    if code is None:
        raise ValueError("an estimator of the user's own needs the path of its code")
    return code


def build(train: TrainParams, name: str, module: ModuleType | None, code: Path | None) -> Any:
    """Return the unfitted estimator with the options of params.yaml.

    Parameters
    ----------
    train
        The settings.
    name
        What builds it, without the prefix of `train.model`.
    module, code
        The user's own module and its file, unless a class of a package builds it.
    """
    if module is None:
        function = _class_of(name, train)
    else:
        function = function_of(module, path_of(code), name.rpartition(":")[2], "train.model")
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
    _check_methods(name, model)
    parts = {option: value for option, value in train.options.items() if option not in own}
    check_names(name, parts, model.get_params(deep=True))
    return model.set_params(**parts)


def _called(name: str, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    with seeds(0):
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


def has_method(model: Any, method: str) -> bool:
    """Return whether an unfitted estimator has a method, or may have it after a fit.

    A `StackingClassifier` has no `predict` before.
    """
    if hasattr(model, method):
        return True
    return not hasattr(model, "predict") and hasattr(type(model), method)


def _check_methods(name: str, model: Any) -> None:
    if any(kind.__module__.startswith("torch.") for kind in type(model).__mro__):
        raise InputError(
            f"train.model: {name} returns a torch module",
            f"write it without {SKLEARN_INTERFACE!r}: train.model: {name}",
        )
    needed = ("fit", "predict", "get_params", "set_params")
    if missing := [method for method in needed if not has_method(model, method)]:
        raise InputError(
            f"train.model: {name} does not return an estimator with scikit-learn's interface: it "
            f"has no {missing[0]}"
        )
    for part in (model, *model.get_params(deep=True).values()):
        if isinstance(part, FrozenEstimator):
            raise InputError(
                f"train.model: {name} has a FrozenEstimator, which was fitted on other rows than "
                "those of a shard"
            )


def check_interface(name: str, model: Any, outputs: Outputs) -> None:
    """Refuse an estimator of the other task."""
    try:
        is_one = is_regressor(model) if outputs.is_number else is_classifier(model)
    except Exception as error:
        raise InputError(
            f"train.model: {name} returns an estimator that scikit-learn cannot describe "
            f"({type(error).__name__})"
        ) from error
    if not is_one:
        wanted = "a regressor" if outputs.is_number else "a classifier"
        raise InputError(
            f"train.model: {name} does not return {wanted}, and the task is {outputs.task}"
        )


def seeded(blank: Any, seed: int) -> Any:
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


def forget_times(model: Any) -> None:
    """Set the seconds that searches of parameters, at any depth, note of themselves to zero."""
    parts, seen = [model], set()
    while parts:
        part = parts.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple):
            parts.extend(part)
        elif isinstance(part, dict):
            parts.extend(part.values())
        elif isinstance(part, BaseEstimator):
            _forget_own_times(part)
            parts.extend(vars(part).values())


def _forget_own_times(model: Any) -> None:
    if isinstance(getattr(model, "refit_time_", None), float):
        model.refit_time_ = 0.0
    results = getattr(model, "cv_results_", None)
    if isinstance(results, dict):
        for name in results:
            if name.endswith("_time"):
                results[name] = np.zeros_like(results[name])


@contextmanager
def seeds(seed: int) -> Iterator[None]:
    """Seed the global generators, for what no random state decides, and put them back."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


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
