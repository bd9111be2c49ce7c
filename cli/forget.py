"""`unlearn forget`: puts a request on the forget list."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.ids import IdOption, IdsOption, read_wanted
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, say
from unlearn.stages.context import open_project
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.project.paths import find_project
from unlearn.stages.requests.id_file import understand
from unlearn.stages.requests.missed import find_missed
from unlearn.stages.requests.request import Unknown, add_request, put_back_lost


class LookAlikeRow(AnswerPart):
    """A row that stays, although its id looks like one of the request.

    Parameters
    ----------
    file
        The file, relative to the project.
    row
        The number of the row in it, from 1, without the header.
    """

    file: str
    row: int


class ForgetAnswer(Answer):
    """The result of a request.

    Parameters
    ----------
    added
        New lines on the forget list.
    already
        Ids that were on the list, by themselves or through their person.
    unknown
        Ids that the dataset does not have.
    suppressed
        How many of them are on the list all the same.
    shards
        Shards that the new lines touch.
    unlabelled
        New lines that name rows without a class only, which no model is trained on.
    look_alikes
        How many rows stay whose ids differ from those of the request only in case, outer spaces,
        Unicode form or a decimal .0. None if they could not be looked for.
    look_alike_rows
        These rows.
    notes
        How the file of ids was understood: a header that was skipped, quotes that were left out.
    dry_run
        Whether nothing was changed.
    """

    added: int
    already: int
    unknown: int
    suppressed: int
    shards: list[str]
    unlabelled: int = 0
    look_alikes: int | None = None
    look_alike_rows: list[LookAlikeRow] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    dry_run: bool


def forget(
    ids: IdsOption = None,
    one: IdOption = None,
    subjects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of person ids, one on each line. All records of these persons are "
            "forgotten.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    ignore_unknown: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown",
            help="Skip ids that the dataset does not have. By default they are an error.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse the request if rows of look-alikes of the given ids would stay.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    suppress: Annotated[
        bool,
        typer.Option(
            "--suppress",
            help="List ids that the dataset does not have as well, so that their rows are "
            "forgotten whenever they appear.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    lost: Annotated[
        bool,
        typer.Option(
            "--lost",
            help="Put lines back that git's history or the request log has and the list has not.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    ticket: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="A reference for the request log, such as T-17. It must not be a person's name.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the result and change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add records to the forget list.

    A request is added as a whole or not at all. `unlearn repro` then carries it out.
    """
    named = ids is not None or bool(one) or subjects is not None
    if not named and not lost:
        raise InputError("no records to forget: pass --ids FILE, --id ID or --subjects FILE")
    if lost and (named or dry_run):
        raise InputError("--lost takes no ids, and has no --dry-run: `unlearn status` counts them")
    if suppress and ignore_unknown:
        raise InputError("give either --ignore-unknown or --suppress")
    context = open_project(find_project())
    if lost:
        count = put_back_lost(context)
        answer = ForgetAnswer(
            added=count, already=0, unknown=0, suppressed=0, shards=[], dry_run=False
        )
        emit(answer, as_json=as_json, text=lambda: _describe(answer, whole=True))
        return
    wanted, notes = understand(context, read_wanted(ids, one, subjects))
    unknown: Unknown = "skip" if ignore_unknown else "suppress" if suppress else "refuse"
    missed = find_missed(context, wanted)
    if strict:
        missed.refuse()
    with missed.hinted():
        resolved = add_request(context, wanted, ticket=ticket, unknown=unknown, dry_run=dry_run)
    ledger = check_ledger(context.project, context.params.ledger.branch, context)
    if problem := ledger.problem():
        # The request counts all the same; the run that follows stops until this is mended.
        say("note: " + "; ".join((problem.message, *problem.hints)))
    answer = ForgetAnswer(
        added=len(resolved.added),
        already=resolved.already,
        unknown=len(resolved.unknown),
        suppressed=len(resolved.unknown) if suppress else 0,
        shards=list(resolved.shards),
        unlabelled=resolved.unlabelled,
        look_alikes=missed.count,
        look_alike_rows=[LookAlikeRow(file=at.file, row=at.row) for at in missed.rows or ()],
        notes=notes,
        dry_run=dry_run,
    )
    whole = context.params.kind == "posthoc"
    for note in (*notes, *missed.notes()):
        say(note)
    emit(answer, as_json=as_json, text=lambda: _describe(answer, whole=whole))


COMMAND = Command(
    forget,
    example="unlearn forget --id r0042 --id r1001 --ticket T-17",
    answer=ForgetAnswer,
)


def _describe(answer: ForgetAnswer, *, whole: bool) -> str:
    verb = "would be added" if answer.dry_run else "added"
    lines = [f"{plural(answer.added, 'line')} {verb} to data/forget_list.txt"]
    if answer.already:
        lines.append(f"{plural(answer.already, 'id')} on the list already")
    if answer.unknown:
        verb = "suppressed" if answer.suppressed else "skipped"
        lines.append(f"{plural(answer.unknown, 'id')} not in the dataset, {verb}")
    if answer.unlabelled:
        verb = "names" if answer.unlabelled == 1 else "name"
        lines.append(
            f"{plural(answer.unlabelled, 'line')} of them {verb} rows without a class only, which "
            "no model is trained on; the rows stay out if they get one"
        )
    if answer.added and not whole:
        reason = "held out" if not answer.unlabelled else "held out or without a class"
        shards = names(answer.shards) if answer.shards else f"none, all of the rows are {reason}"
        lines.append(f"shards to retrain: {shards}")
    if answer.added and not answer.dry_run:
        lines.append("next: unlearn repro")
    return "\n".join(lines)
