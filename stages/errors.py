"""What can go wrong, each with the exit code that the command ends with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What an error is about: its message names it, and JSON has it field by field.

    Facts are names and numbers. They never have an id, a value, or other text of a row.

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
    rows: tuple[int, ...] = ()
    line: int | None = None
    lines: tuple[int, ...] = ()
    column: str | None = None
    missing: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    nearest: str | None = None
    separator: str | None = None
    decimal: str | None = None

    def __str__(self) -> str:
        """Return the place as messages name it, such as `a.csv: column 'age', data row 3`."""
        if self.column is None:
            return ", ".join(filter(None, (self.file, self._row)))
        column = ", ".join(filter(None, (f"column {self.column!r}", self._row)))
        return column if self.file is None else f"{self.file}: {column}"

    @property
    def _row(self) -> str:
        if self.row is None:
            return "" if self.line is None else f"line {self.line}"
        row = f"data row {self.row}" if self.row else "the header"
        return row if self.line is None else f"{row} (line {self.line})"


class UnlearnError(Exception):
    """Base of every error that a user is meant to read.

    Parameters
    ----------
    message
        One sentence that says what is wrong. Never a row's contents.
    *hints
        What the user can do about it, a line each.
    facts
        What the error is about, where the message names a file, a row or a column.
    """

    exit_code = 3

    def __init__(self, message: str, *hints: str, facts: Facts | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
        self.facts = facts


class InputError(UnlearnError):
    """Usage, configuration or input is wrong; nothing was changed (exit code 2)."""

    exit_code = 2


class RowsError(InputError, ValueError):
    """Rows that were given to a final model in Python: a ValueError too, as of scikit-learn."""


class ToolError(UnlearnError):
    """A tool below failed: dvc, git or the engine (exit code 3)."""

    exit_code = 3


class BusyError(UnlearnError):
    """Another run held what this one needs; nothing was changed (exit code 4)."""

    exit_code = 4
