"""`unlearn receipt verify`: what a stranger can check."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural
from unlearn.stages.errors import InputError
from unlearn.stages.receipts.check import (
    Checked,
    Failure,
    Receipt,
    check_annex,
    check_files,
    read_receipt_file,
)
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys, PublicKey, parse_key, read_key

if TYPE_CHECKING:
    from unlearn.stages.receipts.timestamps import Stamped

#: How many accepted receipts are listed.
_SHOWN = 20


class AcceptedReceipt(AnswerPart):
    """A receipt that holds.

    Parameters
    ----------
    file, name
        Its file and its name.
    created
        When it was written, in UTC.
    project
        The public id of its project.
    outcome
        `complete` or `partial`.
    pending
        Places that may still hold copies.
    verdict
        The verdict on the models.
    key
        The id of the key that signed it.
    stamped
        With `--tsa-cert`: the earliest time, in UTC, that a time stamp confirms for it.
    """

    file: str
    name: str
    created: str
    project: str
    outcome: str
    pending: list[str]
    verdict: str
    key: str
    stamped: str | None


class ReceiptFailure(AnswerPart):
    """A reason against a file, or against the receipts as a whole.

    Parameters
    ----------
    file
        The file; null for the receipts as a whole.
    code
        The reason, for programs; it never changes.
    reason
        The reason, for people.
    """

    file: str | None
    code: str
    reason: str


class ReceiptVerifyAnswer(Answer):
    """What the check found.

    Parameters
    ----------
    verified
        Whether every receipt holds, and all of them together.
    receipts
        Those that hold.
    failures
        All reasons against the others.
    notes
        What is no failure, such as a receipt that expired.
    """

    verified: bool
    receipts: list[AcceptedReceipt]
    failures: list[ReceiptFailure]
    notes: list[str]


def verify(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Receipts, or a folder of all receipts of a project, such as data/receipts.",
        ),
    ],
    key: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="A public key that is trusted. It can be given several times. Keys in the folder "
            "that a trusted key signed are trusted too.",
            rich_help_panel=panels.DATA,
        ),
    ],
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The name of the newest receipt, from another place. It must be there, with all "
            "that came before it. It can be given several times.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The public id of the project that the receipts must be of. The default is the "
            "one that the key names.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    annex: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The confidential annex of the receipt, to check that it is the right one.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    tsa_cert: Annotated[
        Path | None,
        typer.Option(
            "--tsa-cert",
            metavar="FILE",
            help="The certificate of a time stamp authority that is trusted, in PEM. Each receipt "
            "then needs a time stamp, or has to come before one that has it.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check receipts with public keys alone, without the project.

    It opens no connection. Exits with 0 only if every receipt holds; else every reason is named.
    """
    for option, names, length in (
        ("--anchor", anchor or [], 64),
        ("--project", [project] if project else [], 32),
    ):
        for name in names:
            if re.fullmatch(f"[0-9a-f]{{{length}}}", name) is None:
                raise InputError(f"{option} is not {length} hexadecimal digits, all of them")
    paths, folders = _paths(files)
    if not paths and not anchor:
        raise InputError(
            "there is no receipt in the folder",
            "if there should be one, --anchor with its name shows that it is missing",
        )
    keys = Keys(map(read_key, key), _keys_beside(folders))
    checked = check_files(
        {str(path): read_receipt_file(path) for path in paths},
        keys,
        project=project,
        anchors=tuple(anchor or ()),
        whole=bool(folders),
        today=datetime.now(UTC).date(),
    )
    failures = list(checked.failures)
    times: Mapping[str, datetime] = {}
    if annex is not None:
        failures += _annex_failures(checked, paths, annex)
    if tsa_cert is not None:
        stamped = _check_stamps(checked, paths, tsa_cert, keys)
        failures += stamped.failures
        times = stamped.times
    answer = _answer(checked, failures, times)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))
    if failures:
        raise typer.Exit(1)


COMMAND = Command(
    verify,
    example="unlearn receipt verify receipt.json --key auditor/key.json",
    answer=ReceiptVerifyAnswer,
)


def _paths(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the receipts to check, and the folders among the arguments."""
    folders = [path for path in files if path.is_dir()]
    inside = [
        found
        for folder in folders
        for found in sorted(folder.glob("[!.]*.json"))
        if found.is_file()
    ]
    paths = [*(path for path in files if path not in folders), *inside]
    return list(dict.fromkeys(paths)), folders


def _keys_beside(folders: list[Path]) -> list[PublicKey]:
    """Return the keys in folders of receipts; damaged ones are trusted by nobody."""
    found = []
    for folder in folders:
        for path in sorted((folder / "keys").glob("[!.]*.json")):
            if not path.is_file():
                continue
            try:
                found.append(parse_key(read_receipt_file(path)))
            except RefusedError:
                continue
    return found


def _check_stamps(checked: Checked, paths: list[Path], certificate: Path, keys: Keys) -> "Stamped":
    # The library of time stamps is an extra, and not needed without them.
    from unlearn.stages.receipts.timestamps import (  # noqa: PLC0415
        check_stamps,
        read_certificates,
    )

    beside = {str(path): path.with_suffix(".tsr") for path in paths}
    stamps = {file: read_receipt_file(path) for file, path in beside.items() if path.is_file()}
    return check_stamps(checked, stamps, read_certificates(certificate), keys)


def _annex_failures(checked: Checked, paths: list[Path], annex: Path) -> list[Failure]:
    if len(paths) > 1:
        raise InputError("--annex is for one receipt")
    content = read_receipt_file(annex)
    try:
        for receipt in checked.receipts.values():
            check_annex(receipt, content)
    except RefusedError as error:
        return [Failure(str(paths[0]), error.code, error.message)]
    return []


def _answer(
    checked: Checked, failures: list[Failure], times: Mapping[str, datetime]
) -> ReceiptVerifyAnswer:
    refused = {one.file for one in failures}
    return ReceiptVerifyAnswer(
        verified=not failures,
        receipts=[
            _accepted(file, receipt, times.get(file))
            for file, receipt in checked.receipts.items()
            if file not in refused
        ],
        failures=[
            ReceiptFailure(file=one.file, code=one.code, reason=one.reason) for one in failures
        ],
        notes=list(checked.notes),
    )


def _accepted(file: str, receipt: Receipt, stamped: datetime | None) -> AcceptedReceipt:
    found = receipt.statement.predicate
    return AcceptedReceipt(
        file=file,
        name=receipt.name,
        created=found.created.isoformat(),
        project=found.project,
        outcome=found.request.outcome,
        pending=list(found.purge.pending),
        verdict=found.verification.verdict,
        key=receipt.envelope.signatures[0].keyid,
        stamped=None if stamped is None else stamped.isoformat(),
    )


def _describe(answer: ReceiptVerifyAnswer) -> str:
    lines = [f"{one.file or 'all receipts'}: {one.code}: {one.reason}" for one in answer.failures]
    for one in answer.receipts[:_SHOWN]:
        pending = f", pending: {', '.join(one.pending)}" if one.pending else ""
        stamped = f", stamped {one.stamped}" if one.stamped else ""
        lines.append(f"{one.file}: holds; {one.outcome}{pending}; written {one.created}{stamped}")
    if len(answer.receipts) > _SHOWN:
        lines.append(f"and {len(answer.receipts) - _SHOWN:,} more that hold")
    lines += [f"note: {note}" for note in answer.notes]
    total = plural(len(answer.receipts), "receipt holds", "receipts hold")
    failed = plural(len(answer.failures), "failure")
    lines.append(total if answer.verified else f"not verified: {failed}; {total}")
    return "\n".join(lines)
