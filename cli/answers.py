"""What `--json` prints: a typed object for each command, and one for errors."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from unlearn.stages.errors import Facts


class AnswerPart(BaseModel):
    """An object within an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Answer(AnswerPart):
    """The one object on standard output.

    Parameters
    ----------
    schema_version
        Always 1. Keys are only ever added.
    """

    schema_version: Literal[1] = 1

    def as_json(self) -> dict[str, Any]:
        """Return the answer as JSON values, its keys in the order of the fields."""
        return self.model_dump(mode="json")


class ErrorDetails(AnswerPart):
    """An error.

    Parameters
    ----------
    message
        One line.
    hints
        What may help, a line each.
    exit_code
        As the process exits.
    facts
        What the message is about, for programs; null where it names no file, row or column.
    """

    message: str
    hints: list[str]
    exit_code: int
    facts: Facts | None = None


class ErrorAnswer(Answer):
    """What any command prints if it fails.

    Parameters
    ----------
    error
        What went wrong.
    """

    error: ErrorDetails
