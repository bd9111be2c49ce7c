"""What `--json` prints: a typed object for each command, and one for errors."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


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


class ErrorFacts(AnswerPart):
    """What an error is about; null and empty lists for what it does not name.

    Parameters
    ----------
    file
        The file, as the message calls it.
    row, line
        The row, counted from 1 without the header, which is row 0; and the line of the file. Of
        several, the first.
    rows, lines
        All of them, where there are several.
    column
        The column.
    missing
        All columns that are missing, where there are several; `column` is the first.
    columns
        The columns that the file has.
    nearest
        The one of `columns` whose name is most like that of `column`, which is not there.
    separator
        The character that may separate the columns of a file that was read as one column.
    decimal
        The decimal mark with which a value would be a number that was read as text.
    """

    file: str | None = None
    row: int | None = None
    rows: list[int] = []
    line: int | None = None
    lines: list[int] = []
    column: str | None = None
    missing: list[str] = []
    columns: list[str] = []
    nearest: str | None = None
    separator: str | None = None
    decimal: str | None = None


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
    facts: ErrorFacts | None = None


class ErrorAnswer(Answer):
    """What any command prints if it fails.

    Parameters
    ----------
    error
        What went wrong.
    """

    error: ErrorDetails
