"""Output: results go to standard output, messages and progress to standard error."""

import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from unlearn.cli import panels

if TYPE_CHECKING:
    from unlearn.stages.errors import Facts

JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on standard output, and nothing else.",
        rich_help_panel=panels.OUTPUT,
    ),
]


class HasJson(Protocol):
    """An answer; see `unlearn.cli.answers`."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        ...


def emit(answer: HasJson, *, as_json: bool, text: Callable[[], str]) -> None:
    """Print a command's result.

    Parameters
    ----------
    answer
        The result, for programs.
    as_json
        Print `answer`; else what `text` returns.
    text
        The result, for people.
    """
    if as_json:
        line = json.dumps(answer.as_json(), allow_nan=False, ensure_ascii=False)
        sys.stdout.write(f"{line}\n")
    else:
        sys.stdout.write(text().rstrip("\n") + "\n")


def say(message: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"{message}\n")


def ask(question: str) -> None:
    """Ask on standard error whether to go on.

    Raises
    ------
    InputError
        If the answer is no, or nobody can answer.
    """
    # Errors are not needed by the help.
    from unlearn.stages.errors import InputError  # noqa: PLC0415

    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise InputError("nothing was changed", "--yes answers the question")


def report_error(
    message: str, hints: tuple[str, ...], code: int, *, as_json: bool, facts: "Facts | None" = None
) -> None:
    """Print an error: one line and its hints, or one JSON object with its facts as well."""
    if as_json:
        # Pydantic, which the help and other errors do not need.
        from unlearn.cli.answers import ErrorAnswer, ErrorDetails  # noqa: PLC0415

        details = ErrorDetails(
            message=message,
            hints=list(hints),
            exit_code=code,
            facts=facts,
        )
        emit(ErrorAnswer(error=details), as_json=True, text=str)
    else:
        say(f"error: {message}")
        for hint in hints:
            say(f"hint: {hint}")


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun: `1 shard`, `2 shards`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def names(items: list[str]) -> str:
    """Return names in a row, or a dash where there are none."""
    return ", ".join(items) or "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str]) -> list[str]:
    """Return lines of columns as wide as what is in them; none without rows.

    Parameters
    ----------
    head, rows
        The names of the columns, and the cells of each row.
    left
        Columns that are aligned to the left; all others are to the right.
    """
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:{'<' if name in left else '>'}{width}}"
            for name, cell, width in zip(head, cells, widths, strict=True)
        ).rstrip()
        for cells in (head, *rows)
    ]


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error while the block runs, if that is a terminal.

    Yields
    ------
    callable
        Takes how many steps were done since the last call.
    """
    if not sys.stderr.isatty():
        yield lambda _steps: None
        return
    # Here, for people at a terminal: rich takes a tenth of a second to load.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)
