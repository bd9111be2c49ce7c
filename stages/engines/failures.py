"""Errors that are raised on a node, as JSON values on their way to the driver."""

from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter
from unlearn.stages.errors import BusyError, Facts, InputError, ToolError, UnlearnError


def error_as_json(error: UnlearnError) -> dict[str, Any]:
    """Return an error as JSON values; see `error_of_json`."""
    return {
        "code": error.exit_code,
        "message": error.message,
        "hints": list(error.hints),
        "facts": None if error.facts is None else asdict(error.facts),
    }


def error_of_json(values: dict[str, Any]) -> UnlearnError:
    """Return the error that `error_as_json` described, with its exit code."""
    kinds = {kind.exit_code: kind for kind in (InputError, ToolError, BusyError)}
    facts = None
    if values["facts"] is not None:
        facts = TypeAdapter(Facts).validate_python(values["facts"])
    return kinds[values["code"]](values["message"], *values["hints"], facts=facts)
