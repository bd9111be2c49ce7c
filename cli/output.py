"""Output: results go to standard output, messages and progress to standard error."""

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TextIO

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


def emit(answer: HasJson, *, as_json: bool, text: Callable[[], str], source: bool = False) -> None:
    """Print a command's result.

    Parameters
    ----------
    answer
        The result, for programs.
    as_json
        Print `answer`; else what `text` returns.
    text
        The result, for people.
    source
        Whether the text is to be copied, such as Markdown: lines are then left as they are on a
        terminal, too.
    """
    if as_json:
        line = json.dumps(answer.as_json(), allow_nan=False, ensure_ascii=False)
        sys.stdout.write(f"{line}\n")
    else:
        content = text().rstrip("\n")
        sys.stdout.write(f"{content if source else _for(sys.stdout, content)}\n")


#: What takes messages in place of standard error; None on the command line.
_LISTENER: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Hand the messages of the block to a function, and show no progress.

    Parameters
    ----------
    listener
        Is called with each message, without a line end.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def say(message: str) -> None:
    """Print a message on standard error, or hand it to who listens; see `heard_by`."""
    listener = _LISTENER.get()
    if listener is None:
        sys.stderr.write(f"{_for(sys.stderr, message)}\n")
    else:
        listener(message)


def _for(stream: TextIO, text: str) -> str:
    """Return text as a stream takes it: a pipe as it is, a terminal in lines that fit."""
    if not (_may_be_a_terminal(stream) or os.environ.get("FORCE_COLOR")):
        return text
    # Here, for people at a terminal.
    from unlearn.cli.terminal import shown  # noqa: PLC0415

    return shown(text, stream)


def _may_be_a_terminal(stream: TextIO) -> bool:
    # While a progress bar is shown, the streams are files: `unlearn.cli.terminal` knows better.
    return stream.isatty() or "unlearn.cli.terminal" in sys.modules


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


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Collection[str],
    *,
    red: Collection[int] = (),
) -> list[str]:
    """Return lines of columns as wide as what is in them; none without rows.

    On a terminal, they fit its width.

    Parameters
    ----------
    head, rows
        The names of the columns, and the cells of each row.
    left
        Columns that are aligned to the left; all others are to the right.
    red
        Rows, by number, that are red on a terminal; their words say why.
    """
    if not rows:
        return []
    # The help has no tables.
    from unlearn.cli import terminal  # noqa: PLC0415

    top, *found = terminal.table(head, rows, left, width=terminal.columns(sys.stdout))
    lines = [*top]
    for number, row in enumerate(found):
        lines += [
            terminal.styled(line, terminal.RED, sys.stdout) if number in red else line
            for line in row
        ]
    return lines


def has_bars() -> bool:
    """Return whether bars are shown: on standard error, if that is a terminal with a cursor."""
    if _LISTENER.get() is not None or not _may_be_a_terminal(sys.stderr):
        return False
    # Here, for people at a terminal.
    from unlearn.cli.terminal import has_cursor  # noqa: PLC0415

    return has_cursor(sys.stderr)


@contextmanager
def progress(
    description: str, total: int | None, unit: str = ""
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error while the block runs, if that is a terminal.

    Parameters
    ----------
    description
        What is done.
    total
        How many steps there are; None if that is not known.
    unit
        What a step is, as a plural, for the rate: `rows`.

    Yields
    ------
    callable
        Takes how many steps were done since the last call.
    """
    if not has_bars():
        yield lambda _steps: None
        return
    # Here, for people at a terminal.
    from unlearn.cli import progress as shown  # noqa: PLC0415

    with shown.progress(description, total, unit) as advance:
        yield advance
