"""Names of options: which ones there are, and which one was meant."""

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

from unlearn.stages.errors import InputError

#: Parameters of scikit-learn's estimators, at any depth, that training sets itself.
SET_BY_TRAINING = ("random_state", "n_jobs")


def check_names(model: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse options that there are not.

    Parameters
    ----------
    model
        What takes the options, as `train.model` names it.
    given
        The names in `train.options`.
    known
        The names that there are.

    Raises
    ------
    InputError
        That names the first unknown option, and the known one whose name is most like it.
    """
    for name in given:
        if name in known:
            continue
        if is_set_by_training(name):
            hint = "training sets it itself, from the key: remove it"
            raise InputError(f"train.options: {model} does not take {name!r}", hint)
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hints = [f"did you mean `{near[0]}`?"] if near else []
        if not near and known:
            hints = [f"it takes {', '.join(sorted(known)[:20])}"]
        raise InputError(f"train.options: {model} does not take {name!r}", *hints)


def parameters_of(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the names that a function or class can be called with, and whether any others too."""
    found = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [parameter.name for parameter in found if parameter.kind in named]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in found)
    return names, takes_any


def without_default(function: Callable[..., Any]) -> list[str]:
    """Return the parameters that a function cannot be called without."""
    found = inspect.signature(function).parameters.values()
    any_number = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in found
        if parameter.default is inspect.Parameter.empty and parameter.kind not in any_number
    ]


def is_set_by_training(name: str) -> bool:
    """Return whether an option, which may be of a part such as `step__n_jobs`, is set anyway."""
    return name.rpartition("__")[2] in SET_BY_TRAINING
