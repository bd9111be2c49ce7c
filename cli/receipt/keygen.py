"""`unlearn receipt keygen`: the key that signs receipts."""

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.cli.receipt.options import open_signer, passphrase
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project
from unlearn.stages.receipts.keygen import NewKey, adopt_key, check_private_path, make_key
from unlearn.stages.receipts.signers import PASSPHRASE_VARIABLE, Signer, read_public_pem

_PREVIOUS_VARIABLE = "UNLEARN_RECEIPT_PREVIOUS_PASSPHRASE"


class KeygenAnswer(Answer):
    """The new key.

    Parameters
    ----------
    keyid
        Its id.
    file
        The file of its public key, for git and for auditors.
    project
        The public id of the project, which every receipt names.
    since, until
        When it may sign, in UTC; until is null without an end.
    previous
        The id of the key that it follows; null for the first one.
    """

    keyid: str
    file: str
    project: str
    since: str
    until: str | None
    previous: str | None


def keygen(
    private: Annotated[
        Path | None,
        typer.Option(
            "--private",
            metavar="FILE",
            help="The file for the encrypted private key, outside every git repository.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = None,
    signer: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNER",
            help="Instead of a new private key: `command:` and a program that prints the signature "
            "of what it reads. It needs --public.",
        ),
    ] = None,
    public: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The Ed25519 public key of --signer, in PEM."),
    ] = None,
    previous: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNER",
            help="The signer of the key that the new one follows: its file, or `command:` and a "
            "program. That key ends now.",
        ),
    ] = None,
    without_previous: Annotated[
        bool,
        typer.Option(
            "--without-previous",
            help="Follow no key, although the project has one: it has ended, or is lost. "
            "Auditors have to be given the new key.",
        ),
    ] = False,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="The last day, in UTC, on which the key may sign.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key that signs receipts, or follow one key by another.

    The passphrase is asked for, or read from UNLEARN_RECEIPT_PASSPHRASE; that of --previous from
    UNLEARN_RECEIPT_PREVIOUS_PASSPHRASE. The public key goes to data/receipts/keys, for git. Give
    it to auditors by another way than the repository.
    """
    project = find_project()
    if (private is None) == (signer is None) or (signer is None) != (public is None):
        raise InputError("pass --private FILE, or both --signer and --public")
    if without_previous and previous is not None:
        raise InputError("pass --previous or --without-previous, not both")
    end = None if until is None else datetime.combine(until, time(23, 59, 59), UTC)
    if private is not None:
        check_private_path(private)
    before = _previous(previous)
    if private is not None:
        words = passphrase(f"New passphrase of {private.name}", PASSPHRASE_VARIABLE, confirm=True)
        made = make_key(project, private, words, until=end, previous=before, alone=without_previous)
    elif signer is not None and public is not None:
        key = read_public_pem(public)
        made = adopt_key(
            project,
            open_signer(signer),
            key,
            until=end,
            previous=before,
            alone=without_previous,
        )
    answer = _answer(made)
    emit(answer, as_json=as_json, text=lambda: _describe(answer, private))


COMMAND = Command(
    keygen, example="unlearn receipt keygen --private ~/receipts.pem", answer=KeygenAnswer
)


def _previous(text: str | None) -> Signer | None:
    return None if text is None else open_signer(text, _PREVIOUS_VARIABLE)


def _answer(made: NewKey) -> KeygenAnswer:
    return KeygenAnswer(
        keyid=made.keyid,
        file=made.file,
        project=made.project,
        since=made.since.isoformat(),
        until=None if made.until is None else made.until.isoformat(),
        previous=made.previous,
    )


def _describe(answer: KeygenAnswer, private: Path | None) -> str:
    lines = [f"key {answer.keyid}", f"project {answer.project}"]
    if answer.previous is not None:
        lines.append(f"follows {answer.previous}, which may not sign any more")
    if private is not None:
        lines.append(
            f"the private key is in {private}: keep it and its passphrase in different places"
        )
    return "\n".join([*lines, f"next: git add {answer.file}"])
