"""`unlearn answer`: writes the answer to a request of another system."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.ids import content_of
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, progress
from unlearn.cli.reply_files import check_target, write_reply
from unlearn.stages.context import open_project
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project
from unlearn.stages.requests.drop_lists import is_drop
from unlearn.stages.requests.replies import drop_reply, opendsr_status
from unlearn.stages.requests.signatures import check_signature


class AnswerAnswer(Answer):
    """What was answered.

    Parameters
    ----------
    format
        `opendsr` for the status of a request, `drop` for a reply with a code for each entry.
    status
        `pending`, `in_progress`, `completed` or `cancelled`; None for DROP.
    answered
        How many entries have an answer; 1 for OpenDSR.
    waiting
        How many entries have none yet, because their rows are not erased everywhere.
    not_found
        For how many of the answered entries nobody was found.
    files
        Names of the files that were written.
    """

    format: Literal["opendsr", "drop"]
    status: str | None
    answered: int
    waiting: int
    not_found: int
    files: list[str]


def answer(
    request: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The request, as `unlearn forget --from` took it: JSON of OpenDSR, or a download "
            "of DROP.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="FILE",
            help="Where to write the answer; for several lists of DROP, a folder.",
            rich_help_panel=panels.DATA,
        ),
    ],
    ticket: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="The reference of the request in the log, if it is not that of the file.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The signature of the request, in Base64, for the certificate that "
            "requests.opendsr.certificate in params.yaml pins.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the answer to a request of another system.

    It says that data was deleted only if `unlearn erase` deleted all copies.
    """
    context = open_project(find_project())
    check_target(context.project, target, request)
    content, name = content_of(request), request.name
    drop = is_drop(content, name)
    signed = None if signature is None else content_of(signature)
    if drop:
        if signed is not None:
            raise InputError("--signature is not for a download of DROP")
        with progress("contact data", None, "rows") as advance:
            reply = drop_reply(context, content, name, advance)
    else:
        check_signature(context, content, signed, name)
        reply = opendsr_status(context, content, name, ticket)
    written = write_reply(reply, target)
    result = AnswerAnswer(
        format="drop" if drop else "opendsr",
        status=reply.status,
        answered=reply.answered,
        waiting=reply.waiting,
        not_found=reply.not_found,
        files=list(reply.files),
    )
    emit(result, as_json=as_json, text=lambda: _describe(result, written))


COMMAND = Command(
    answer, example="unlearn answer request.json --to status.json", answer=AnswerAnswer
)


def _describe(result: AnswerAnswer, written: str) -> str:
    lines = [f"written: {written}"]
    if result.status is not None:
        lines.append(f"status: {result.status}")
    else:
        lines.append(
            f"{result.answered:,} answered, of {result.not_found:,} of them nobody was found"
        )
    if result.waiting:
        verb = "has" if result.waiting == 1 else "have"
        lines.append(
            f"{plural(result.waiting, 'entry', 'entries')} {verb} no status yet: the rows are not "
            "erased; run `unlearn erase`"
        )
    return "\n".join(lines)
