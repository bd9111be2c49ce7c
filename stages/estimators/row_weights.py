"""Weights of rows, handed to what takes them in an estimator with scikit-learn's interface."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.errors import InputError

#: What searches of parameters, and estimators around another one, call that one.
_INNER = ("estimator", "regressor", "base_estimator")


def with_weights(
    name: str, model: Any, method: str, weights: npt.NDArray[np.float64] | None
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the named arguments by which a method takes weights of rows.

    Parameters
    ----------
    name
        What errors call the estimator.
    model, method
        The estimator, and `fit` or `partial_fit`.
    weights
        Shape (rows,); None where all rows count the same.

    Raises
    ------
    InputError
        If the estimator takes none.
    """
    if weights is None:
        return {}
    argument = _argument(model, method)
    if argument is None:
        raise InputError(
            f"{name} takes no weights of rows: its `{method}` has no `sample_weight`",
            "choose an estimator that has it, or remove dataset.weight",
        )
    return {argument: weights}


def _argument(model: Any, method: str) -> str | None:
    """Return the name of the argument for weights; of a Pipeline that of its last step."""
    function: Callable[..., Any] = getattr(model, method)
    parameters = inspect.signature(function).parameters
    if "sample_weight" in parameters:
        return "sample_weight"
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return None
    steps = getattr(model, "steps", None)
    if steps:
        step, last = steps[-1]
        inner = _argument(last, method)
        return None if inner is None else f"{step}__{inner}"
    for attribute in _INNER:
        if hasattr(getattr(model, attribute, None), method):
            return _argument(getattr(model, attribute), method)
    return None
