"""`unlearn receipt show`: what receipts say, for people."""

from pathlib import Path
from typing import Annotated, Any

import typer
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project
from unlearn.stages.receipts.check import read_receipt_file
from unlearn.stages.receipts.envelope import parse_envelope
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.statement import (
    Predicate,
    Statement,
    check_kind,
    parse_statement,
    receipt_name,
)


class ShownReceipt(AnswerPart):
    """A receipt as it is written; its signature was not checked.

    Parameters
    ----------
    file, name
        Its file and its name.
    statement
        What it states: an in-toto Statement v1.
    """

    file: str
    name: str
    statement: dict[str, Any]


class ReceiptShowAnswer(Answer):
    """What receipts say.

    Parameters
    ----------
    receipts
        The receipts, in the order of the files.
    """

    receipts: list[ShownReceipt]


def show(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Receipts. The default is all receipts of the project.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what receipts say.

    Signatures are not checked: `unlearn receipt verify` does.
    """
    if not files:
        files = sorted(find_project().receipts.glob("[!.]*.json"))
    found = [(path, *read_statement(path)) for path in files]
    answer = ReceiptShowAnswer(
        receipts=[
            ShownReceipt(
                file=str(path), name=name, statement=one.model_dump(mode="json", by_alias=True)
            )
            for path, name, one in found
        ]
    )
    text = "\n\n".join(_describe(path, name, one.predicate) for path, name, one in found)
    emit(answer, as_json=as_json, text=lambda: text or "there are no receipts")


COMMAND = Command(show, example="unlearn receipt show receipt.json", answer=ReceiptShowAnswer)


def read_statement(path: Path) -> tuple[str, Statement]:
    """Return the name of a receipt and what it states, without a check of its signature.

    Raises
    ------
    InputError
        If the file is no receipt.
    """
    try:
        envelope = parse_envelope(read_receipt_file(path))
        check_kind(envelope)
        return receipt_name(envelope.payload), parse_statement(envelope.payload)
    except RefusedError as error:
        raise InputError(f"{path.name} is not a receipt: {error.message}") from None


def _describe(path: Path, name: str, found: Predicate) -> str:
    request = found.request
    verification = found.verification
    ticket = "" if request.ticket is None else f" {request.ticket}"
    due = "" if request.due is None else f", due {request.due} ({request.regime})"
    label = "" if verification.label is None else f" ({verification.label})"
    lines = [
        str(path),
        f"  receipt {name}",
        f"  request{ticket}: received {request.received}{due}, erased {request.closed}",
        f"  outcome: {request.outcome}",
        *(f"    {reason}" for reason in request.reasons),
        f"  models: {verification.verdict}{label}",
        *(f"    {reason}" for reason in verification.rests_on),
        "  places:",
    ]
    for place in found.purge.places:
        more = place.why if place.state == "pending" else place.method
        lines.append(f"    {place.name}: {place.state}{f' ({more})' if more else ''}")
    lines.append("  not covered:")
    lines += [f"    {text}" for text in found.scope.not_covered]
    lines += [
        f"  written {found.created.isoformat()}; the annex is kept until {found.valid_until}",
        f"  project {found.project}",
    ]
    return "\n".join(lines)
