"""Functions in files of the user's own, which are run to find them."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from unlearn.stages.errors import InputError


def load_function(path: Path, function: str, setting: str) -> Callable[..., Any]:
    """Run a file and return one of its functions.

    Parameters
    ----------
    path, function
        The file, and the function's name.
    setting
        The setting that names them, for errors.

    Raises
    ------
    InputError
        If the file is missing or fails, or there is no such function.
    """
    return function_of(_run(path, setting), path, function, setting)


def function_of(module: ModuleType, path: Path, function: str, setting: str) -> Callable[..., Any]:
    """Return a function of a module that was loaded; see `load_function`."""
    found = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"{setting}: {path.name} has no function {function!r}")
    return found  # type: ignore[no-any-return]  # whatever it takes and returns


#: Modules that were run, by name and SHA-256 of their file: a class is one class in a process.
_loaded: dict[tuple[str, str], ModuleType] = {}


def load_module(path: Path, setting: str) -> ModuleType:
    """Run a file once in this process, and return the module.

    Parameters
    ----------
    path, setting
        The file, and the setting that names it, for errors.

    Raises
    ------
    InputError
        If the file is missing or fails.
    """
    try:
        known = (module_name(path), hashlib.sha256(path.read_bytes()).hexdigest())
    except FileNotFoundError:
        raise InputError(f"{setting}: {path.name} does not exist") from None
    if known not in _loaded:
        _loaded[known] = _run(path, setting)
    return _loaded[known]


def module_name(path: Path) -> str:
    """Return what a file's module is called, wherever the file is."""
    return f"unlearn_user_{path.stem}"


@contextmanager
def importable(module: ModuleType) -> Iterator[None]:
    """Let others import a module of a user's file by its name within the block."""
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before


def _run(path: Path, setting: str) -> ModuleType:
    try:
        spec = importlib.util.spec_from_file_location(module_name(path), path)
        if spec is None or spec.loader is None:
            raise ImportError
        loaded = importlib.util.module_from_spec(spec)
        # Dataclasses look for the module of their class.
        with importable(loaded):
            spec.loader.exec_module(loaded)
    except FileNotFoundError:
        raise InputError(f"{setting}: {path.name} does not exist") from None
    except Exception as error:
        # Whatever the user's code raises is theirs to read; --debug shows it in full.
        raise InputError(
            f"{setting}: {path.name} does not load ({type(error).__name__})"
        ) from error
    return loaded
