"""Errors of commands in the words of Python: methods and parameters in place of options."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Literal, ParamSpec, TypeVar, get_args, get_origin

from unlearn.stages.errors import UnlearnError

#: Options that are one value of a parameter of another name, or another word for it.
_OTHERWISE = {
    "--id": "ids",
    "--ignore-unknown": 'unknown="skip"',
    "--suppress": 'unknown="suppress"',
}

_QUOTED = re.compile(r"(`[^`]*`)")
_COMMAND = re.compile(r"`unlearn (\w+)([^`]*)`")
#: Two hyphens inside a word, such as in the name of a file, are no option.
_OPTION = re.compile(r"(?<![\w./-])(--[a-z][a-z-]*)(?: \(in Python ([^)]*)\))?(?:[ =](\w[\w-]*))?")

_P = ParamSpec("_P")
_R = TypeVar("_R")

_Parameters = Mapping[str, inspect.Parameter]

#: The methods of a project by the command that each is like.
_METHODS: dict[str, Callable[..., object]] = {}


class _NoPythonFormError(Exception):
    """An option is no parameter."""


def in_python(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a method of a project whose errors name its parameters, and not options of commands.

    A hint on an option that is no parameter of the method is left out. Commands without a method,
    such as `unlearn doctor`, stay as they are typed.

    Parameters
    ----------
    method
        A method with the name of the command.
    """

    @functools.wraps(method)
    def worded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except UnlearnError as error:
            parameters = inspect.signature(method).parameters
            # The same error, so that its traceback is that of where it was raised.
            error.message = in_words(error.message, parameters) or error.message
            error.args = (error.message,)
            found = (in_words(hint, parameters) for hint in error.hints)
            error.hints = tuple(hint for hint in found if hint is not None)
            raise

    _METHODS[method.__name__] = method
    return worded


def in_words(text: str, parameters: _Parameters) -> str | None:
    """Return a sentence with parameters in place of options; None if an option has none.

    Parameters
    ----------
    text
        The sentence, as a command says it.
    parameters
        Those of the method that was called.
    """
    try:
        parts = _QUOTED.split(text)
        return "".join(_part(part, parameters) for part in parts)
    except _NoPythonFormError:
        return None


def _part(part: str, parameters: _Parameters) -> str:
    if command := _COMMAND.fullmatch(part):
        return _call(part, command[1], command[2])
    if part.startswith("`") and not part.startswith("`--"):
        return part  # of another program, or code
    return _OPTION.sub(lambda found: _parameter(found, parameters), part)


def _call(quoted: str, command: str, words: str) -> str:
    """Return a command as a call; the command itself if it has no method, or more options."""
    if command not in _METHODS:
        return quoted
    parameters = inspect.signature(_METHODS[command]).parameters
    try:
        given = [_argument(found, parameters) for found in _OPTION.finditer(words)]
    except _NoPythonFormError:
        return quoted
    if _OPTION.sub("", words).strip():
        return quoted
    return f"`project.{command}({', '.join(given)})`"


def _argument(found: re.Match[str], parameters: _Parameters) -> str:
    """Return an option of a command in the form that a call has it."""
    words = _parameter(found, parameters)
    return words if "=" in words else f"{words.partition(' ')[0]}=..."


def _parameter(found: re.Match[str], parameters: _Parameters) -> str:
    """Return an option, and the value after it if that is one of the parameter's, in Python."""
    option, python, value = found.groups()
    rest = "" if value is None else found[0][found.start(3) - found.start() - 1 :]
    if python is not None:
        return f"{python}{rest}"
    if option in _OTHERWISE and _OTHERWISE[option].partition("=")[0] in parameters:
        return f"{_OTHERWISE[option]}{rest}"
    name = option[2:].replace("-", "_")
    if name not in parameters:
        raise _NoPythonFormError
    kind = parameters[name].annotation
    if kind is bool:
        return f"{name}=True{rest}"
    if get_origin(kind) is Literal and value in get_args(kind):
        return f'{name}="{value}"'
    return f"{name}{rest}"
