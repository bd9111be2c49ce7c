"""`unlearn receipt create`: receipts of erased requests."""

from datetime import date, datetime
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural
from unlearn.cli.receipt.options import open_signer
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.paths import find_project
from unlearn.stages.receipts.create import Created, Wish, create_receipts
from unlearn.stages.receipts.tags import signs_tags, tag_heads
from unlearn.stages.receipts.timestamps import check_url, stamp_heads


class NewReceipt(AnswerPart):
    """A receipt that was written.

    Parameters
    ----------
    name, file
        Its name, and its path in the project.
    ticket
        The reference of the request; null if it has none.
    outcome
        `complete`, or `partial` while a place is pending or the evidence does not pass.
    reasons
        Why it is partial.
    """

    name: str
    file: str
    ticket: str | None
    outcome: str
    reasons: list[str]


class CreateAnswer(Answer):
    """The receipts that were written.

    Parameters
    ----------
    receipts
        The new ones; none if every erased request has one.
    heads
        The newest receipts: the anchor that shows later that none is missing.
    expired_annexes
        How many annexes were at the end of their time, and were deleted.
    timestamps
        Files of new time stamps.
    tag
        The signed git tag that names the heads; null if none was made.
    """

    receipts: list[NewReceipt]
    heads: list[str]
    expired_annexes: int
    timestamps: list[str]
    tag: str | None


def create(
    signer: Annotated[
        str,
        typer.Option(
            envvar="UNLEARN_RECEIPT_SIGNER",
            show_envvar=False,
            metavar="SIGNER",
            help="Who signs: the file of a private key, or `command:` and a program that prints "
            "the Ed25519 signature of what it reads. The default is in UNLEARN_RECEIPT_SIGNER.",
        ),
    ],
    ticket: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="The reference of one request. Without it, every erased request gets a receipt.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    publish_ticket: Annotated[
        bool,
        typer.Option(
            "--publish-ticket",
            help="Name the reference in the receipt. Else it is in the confidential annex alone.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    valid_until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="The last day of the annex, which is then deleted. The default is in 24 months.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    tsa: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Get an RFC 3161 time stamp for the newest receipts from this authority. Nothing "
            "else of the command uses a network.",
        ),
    ] = None,
    tag: Annotated[
        bool | None,
        typer.Option(
            "--tag/--no-tag",
            help="Make a signed git tag that names the newest receipts, as an anchor. The default "
            "is what git's setting tag.gpgSign says.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a signed receipt for each erased request.

    The public part goes to data/receipts, for git. The annex with the tokens goes to
    .unlearn/receipts: give it to those alone who may know whose request it was.
    """
    project = find_project()
    last = None if valid_until is None else valid_until.date()
    if last is not None and last < date.today():  # noqa: DTZ011 - the date at this place
        raise InputError(f"--valid-until {last} is in the past")
    if tsa is not None:
        check_url(tsa)
    wish = Wish(ticket, publish_ticket=publish_ticket, valid_until=last)
    created = create_receipts(project, open_signer(signer), wish)
    written = plural(len(created.receipts), "receipt")
    try:
        stamps = [] if tsa is None else stamp_heads(project, tsa)
        wanted = signs_tags(project) if tag is None else tag
        name = tag_heads(project, created.heads) if wanted and created.heads else None
    except ToolError as error:
        raise ToolError(
            f"{error.message}; {written} written all the same",
            "the same command does the rest later",
            *error.hints,
        ) from None
    answer = _answer(created, stamps, name)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


COMMAND = Command(
    create,
    example="unlearn receipt create --signer ~/receipts.pem --ticket T-17",
    answer=CreateAnswer,
)


def _answer(created: Created, stamps: list[str], tag: str | None) -> CreateAnswer:
    return CreateAnswer(
        receipts=[
            NewReceipt(
                name=one.name,
                file=one.file,
                ticket=one.ticket,
                outcome=one.outcome,
                reasons=list(one.reasons),
            )
            for one in created.receipts
        ],
        heads=list(created.heads),
        expired_annexes=created.expired_annexes,
        timestamps=stamps,
        tag=tag,
    )


def _describe(answer: CreateAnswer) -> str:
    lines = []
    for one in answer.receipts:
        lines.append(f"{one.file}: {one.outcome}")
        lines += [f"  {reason}" for reason in one.reasons]
    if not answer.receipts:
        lines.append("no erased request is without a receipt")
    if answer.expired_annexes:
        lines.append(
            f"{plural(answer.expired_annexes, 'expired annex', 'expired annexes')} deleted"
        )
    if answer.receipts or answer.timestamps:
        lines.append("next: git add data/receipts")
    return "\n".join(lines)
