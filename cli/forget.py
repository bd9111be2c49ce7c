"""`unlearn forget`: puts a request on the forget list."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.forget_source import (
    AnswerFileOption,
    ExemptOption,
    SharedOption,
    SignatureOption,
    Source,
)
from unlearn.cli.ids import IdOption, IdsOption, read_wanted
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, say
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.pipeline import check_suppression_is_read
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.log import NO_FILING, Filing
from unlearn.stages.project.paths import find_project
from unlearn.stages.requests.contact_changes import suppress_contacts
from unlearn.stages.requests.extension import extend as extend_period
from unlearn.stages.requests.filed import due_of, refuse_later_day
from unlearn.stages.requests.id_file import understand
from unlearn.stages.requests.incoming import Incoming
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
    due
        The last day for the answer; None if no law was named.
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
    due: date | None = None


class RegimeName(StrEnum):
    """Laws that give a request a due date."""

    GDPR = "gdpr"
    CCPA = "ccpa"
    DROP = "drop"


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
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A request as another system exports it: JSON of OpenDSR, a download of "
            "California's DROP, or a table with --column.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of ids in the file of --from: that of the dataset, or one that "
            "requests.identities in params.yaml names.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    signature: SignatureOption = None,
    exempt: ExemptOption = None,
    shared: SharedOption = None,
    answer_file: AnswerFileOption = None,
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
    received: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="The day when the request was received, such as 2026-01-31. The default is today.",
            rich_help_panel=panels.DEADLINES,
        ),
    ] = None,
    regime: Annotated[
        RegimeName | None,
        typer.Option(
            help="The law that the request was made under. It gives the due date. The default is "
            "requests.regime in params.yaml.",
            rich_help_panel=panels.DEADLINES,
        ),
    ] = None,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Extend the period of the request that --ticket names, as its law allows.",
            rich_help_panel=panels.DEADLINES,
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the result and change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add records to the forget list.

    A request is added as a whole or not at all. `unlearn repro` then carries it out.
    """
    named = ids is not None or bool(one) or subjects is not None
    filing = Filing(
        None if received is None else received.date(), None if regime is None else regime.value
    )
    ways = {"ids": named, "--from": source is not None, "--lost": lost, "--extend": extend}
    options = {
        "--column": column is not None,
        "--signature": signature is not None,
        "--exempt": exempt is not None,
        "--shared": shared is not None,
        "--answer": answer_file is not None,
    }
    _check_options([way for way, chosen in ways.items() if chosen], options)
    _check_dates(ways, filing, ticket, dry_run=dry_run)
    if suppress and ignore_unknown:
        raise InputError("give either --ignore-unknown or --suppress")
    context = open_project(find_project())
    if extend and ticket is not None:
        answer = _without_ids(due=extend_period(context, ticket, dry_run=dry_run), dry_run=dry_run)
        emit(answer, as_json=as_json, text=lambda: f"the request {ticket} is due on {answer.due}")
        return
    if lost:
        answer = _without_ids(added=put_back_lost(context))
        emit(answer, as_json=as_json, text=lambda: _describe(answer, whole=True))
        return
    given = None
    if source is not None:
        given = Source(source, column, signature, exempt, shared, answer_file)
        incoming = given.read(context, ignore_unknown=ignore_unknown)
        ticket = ticket or incoming.ticket
    else:
        wanted, found = understand(context, read_wanted(ids, one, subjects))
        incoming = Incoming(wanted, notes=tuple(found))
    unknown: Unknown = "skip" if ignore_unknown else "suppress" if suppress else "refuse"
    handling = Handling(ticket, filing, unknown, strict=strict, dry_run=dry_run)
    answer = record_request(context, incoming, handling)
    if given is not None and not dry_run:
        given.write_answer(context, ticket)
    whole = context.params.kind == "posthoc"
    emit(answer, as_json=as_json, text=lambda: _describe(answer, whole=whole))


COMMAND = Command(
    forget,
    example="unlearn forget --id r0042 --id r1001 --ticket T-17",
    answer=ForgetAnswer,
)


@dataclass(frozen=True)
class Handling:
    """How a request is taken in.

    Parameters
    ----------
    ticket
        Its reference for the log.
    filing
        When it was received, and under which law.
    unknown
        What happens to ids that the dataset does not have.
    strict
        Whether to refuse it if rows of look-alikes would stay.
    dry_run
        Whether to change nothing.
    """

    ticket: str | None = None
    filing: Filing = NO_FILING
    unknown: Unknown = "refuse"
    strict: bool = False
    dry_run: bool = False


def record_request(context: Context, incoming: Incoming, handling: Handling) -> ForgetAnswer:
    """Put a request on the forget list, and say what is worth knowing about it.

    Parameters
    ----------
    context
        The project.
    incoming
        The request.
    handling
        How it is taken in.

    Raises
    ------
    InputError
        If it cannot be taken in; nothing was changed.
    """
    ticket, dry_run = handling.ticket, handling.dry_run
    refuse_later_day(context, ticket, handling.filing.received)
    filing = handling.filing.or_else(incoming.filing)
    suppress = handling.unknown == "suppress"
    if suppress and incoming.contacts:
        check_suppression_is_read(context.project)
    missed = find_missed(context, incoming.wanted)
    if handling.strict:
        missed.refuse()
    with missed.hinted():
        resolved = add_request(
            context,
            incoming.wanted,
            ticket=ticket,
            filing=filing,
            unknown=handling.unknown,
            items=incoming.items,
            dry_run=dry_run,
        )
    if not dry_run:
        suppress_contacts(context, incoming.contacts if suppress else (), incoming.withdrawn)
    ledger = check_ledger(context.project, context.params.ledger.branch, context)
    if problem := ledger.problem():
        # The request counts all the same; the run that follows stops until this is mended.
        say("note: " + "; ".join((problem.message, *problem.hints)))
    for note in (*incoming.notes, *missed.notes()):
        say(note)
    return ForgetAnswer(
        added=len(resolved.added),
        already=resolved.already,
        unknown=len(resolved.unknown) + len(incoming.unmatched),
        suppressed=len(resolved.unknown) + len(incoming.contacts) if suppress else 0,
        shards=list(resolved.shards),
        unlabelled=resolved.unlabelled,
        look_alikes=missed.count,
        look_alike_rows=[LookAlikeRow(file=at.file, row=at.row) for at in missed.rows or ()],
        notes=list(incoming.notes),
        dry_run=dry_run,
        due=due_of(context, ticket, filing),
    )


def _check_options(ways: list[str], options: dict[str, bool]) -> None:
    """Raise an InputError unless the request is named in one way.

    Parameters
    ----------
    ways
        The ways in which it is named.
    options
        Whether each option was given that is for a file of `--from`.
    """
    if not ways:
        raise InputError(
            "no records to forget: pass --ids FILE, --id ID, --subjects FILE or --from FILE"
        )
    if len(ways) > 1:
        raise InputError(f"{ways[-1]} takes no {' and no '.join(ways[:-1])}")
    if ways != ["--from"] and (others := [name for name, given in options.items() if given]):
        raise InputError(f"{others[0]} is for the file of --from")


def _check_dates(
    ways: dict[str, bool], filing: Filing, ticket: str | None, *, dry_run: bool
) -> None:
    """Raise an InputError if there is a date or a ticket that cannot be, or is missing."""
    if ways["--extend"] and (filing != NO_FILING or ticket is None):
        raise InputError("--extend takes --ticket alone, which names the request")
    if ways["--lost"] and (dry_run or filing != NO_FILING):
        raise InputError(
            "--lost takes no dates, and has no --dry-run: `unlearn status` counts them"
        )


def _without_ids(*, added: int = 0, due: date | None = None, dry_run: bool = False) -> ForgetAnswer:
    return ForgetAnswer(
        added=added, already=0, unknown=0, suppressed=0, shards=[], dry_run=dry_run, due=due
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
    if answer.due is not None:
        lines.append(f"due on {answer.due}")
    if answer.added and not answer.dry_run:
        lines.append("next: unlearn repro")
    return "\n".join(lines)
