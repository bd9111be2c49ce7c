"""Methods of the user's own: a function in a file of the project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from unlearn.stages.config.section import Modality
from unlearn.stages.errors import InputError
from unlearn.stages.project.user_code import load_function
from unlearn.stages.unlearn.base.registry import Function, Method


def user_method(name: str, code: tuple[str, str], modality: Modality, root: Path) -> Method:
    """Return the method in a user's file, which is run; its result is `approximate`.

    For language models the function is `function(problem)`, as built-in ones are. For tables it
    is `function(model, forget, retain, settings, run) -> model`, where `run` is the problem.

    Parameters
    ----------
    name
        `path/to/file.py:function`, as in params.yaml.
    code
        File and function, taken from the name.
    modality
        What it changes.
    root
        The project's folder.

    Raises
    ------
    InputError
        If the file does not load or has no such function.
    """
    function = load_function(root / code[0], code[1], "unlearn.methods")
    return Method(
        name, modality, None, function if modality == "text" else _taking_a_problem(function)
    )


def _taking_a_problem(function: Callable[..., Any]) -> Function:
    def apply(problem: Any) -> None:
        model = function(problem.model, problem.forget, problem.retain, problem.settings, problem)
        if not isinstance(model, nn.Module):
            raise InputError("the method does not return a torch module")
        problem.model = model

    return apply
