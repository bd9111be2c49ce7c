"""Functions in files of the user's own, which are run to find them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
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
    try:
        spec = importlib.util.spec_from_file_location(f"unlearn_user_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        found = getattr(loaded, function, None)
    except FileNotFoundError:
        raise InputError(f"{setting}: {path.name} does not exist") from None
    except Exception as error:
        # Whatever the user's code raises is theirs to read; --debug shows it in full.
        raise InputError(
            f"{setting}: {path.name} does not load ({type(error).__name__})"
        ) from error
    if not callable(found):
        raise InputError(f"{setting}: {path.name} has no function {function!r}")
    return found  # type: ignore[no-any-return]  # whatever it takes and returns
