"""`unlearn restore`: takes a request back."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.ids import IdOption, IdsOption, read_wanted
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, ask, emit, plural
from unlearn.stages.context import open_project
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project
from unlearn.stages.requests.restore import find_restored
from unlearn.stages.requests.restore import restore as take_back


class RestoreAnswer(Answer):
    """The lines that were taken back.

    Parameters
    ----------
    removed
        Lines that left the forget list.
    dry_run
        Whether nothing was changed.
    """

    removed: int
    dry_run: bool


def restore(
    tickets: Annotated[
        list[str] | None,
        typer.Option(
            "--ticket",
            metavar="WORD",
            help="The reference of a request. All lines that it added are taken back.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    ids: IdsOption = None,
    one: IdOption = None,
    subjects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of person ids, one on each line. All lines of these persons are taken "
            "back.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="A reference for the request log, such as the ticket of the withdrawal.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the change.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the result and change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take a request back, so that its records are trained on again.

    It is the only way for a line to leave the forget list, and the request log keeps it.
    """
    if not tickets and ids is None and not one and subjects is None:
        raise InputError(
            "no request to take back: pass --ticket WORD, --ids FILE, --id ID or --subjects FILE"
        )
    context = open_project(find_project())
    wanted = read_wanted(ids, one, subjects)
    found = find_restored(context, wanted, tickets or [])
    if not dry_run:
        if not yes:
            lines = plural(len(found.lines), "line")
            ask(f"Train on the records of {lines} of the forget list again?")
        found = take_back(context, wanted, tickets or [], reason)
    answer = RestoreAnswer(removed=len(found.lines), dry_run=dry_run)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


COMMAND = Command(restore, example="unlearn restore --ticket T-17", answer=RestoreAnswer)


def _describe(answer: RestoreAnswer) -> str:
    verb = "would leave" if answer.dry_run else "left"
    lines = [f"{plural(answer.removed, 'line')} {verb} data/forget_list.txt"]
    if not answer.dry_run:
        lines.append("next: unlearn repro")
    return "\n".join(lines)
