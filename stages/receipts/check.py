"""Checking receipts: offline, with public keys alone, and without the project."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.receipts.envelope import LARGEST, Envelope, parse_envelope
from unlearn.stages.receipts.failures import Code, RefusedError
from unlearn.stages.receipts.keys import Keys
from unlearn.stages.receipts.statement import Statement, check_kind, parse_statement, receipt_name

_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Receipt:
    """A receipt whose signature was checked.

    Parameters
    ----------
    name
        The SHA-256 of its payload.
    statement
        What it states.
    envelope
        The signed bytes.
    """

    name: str
    statement: Statement
    envelope: Envelope

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the receipts that were the newest when it was written."""
        return self.statement.predicate.heads.receipts


@dataclass(frozen=True)
class Failure:
    """Why a file is not accepted.

    Parameters
    ----------
    file
        The file; None where the receipts together are not accepted.
    code, reason
        The reason, for programs and for people.
    """

    file: str | None
    code: Code
    reason: str


@dataclass(frozen=True)
class Checked:
    """What the check of some files found.

    Parameters
    ----------
    receipts
        The receipts that hold, by file.
    failures
        All reasons against the others, and against the receipts as a whole.
    notes
        What is no failure, and a reader should know.
    """

    receipts: Mapping[str, Receipt]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()


def read_receipt_file(path: Path) -> bytes:
    """Return the bytes of a file, or one byte more than any receipt has.

    Raises
    ------
    InputError
        If there is no such file.
    """
    try:
        with path.open("rb") as handle:
            return handle.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from None


def check_receipt(content: bytes, keys: Keys, project: str | None = None) -> Receipt:
    """Return the receipt that a file holds, if everything in it holds.

    Parameters
    ----------
    content
        The file.
    keys
        The keys that are trusted.
    project
        The public id of the project that it must be of; by default the one of its key.

    Raises
    ------
    RefusedError
        With the first reason against it.
    """
    envelope = parse_envelope(content)
    check_kind(envelope)
    (signed,) = envelope.signatures
    keys.check_trusted(signed.keyid)
    key = keys[signed.keyid]
    if not key.verifies(signed, envelope.to_sign):
        raise RefusedError("bad-signature", "its signature is not over this content")
    statement = parse_statement(envelope.payload)
    found = statement.predicate
    keys.check_epoch(signed.keyid, found.created)
    if found.project != key.statement.project or project not in {None, found.project}:
        raise RefusedError("other-project", f"it is of the project {found.project[:12]}")
    return Receipt(receipt_name(envelope.payload), statement, envelope)


def check_files(
    files: Mapping[str, bytes],
    keys: Keys,
    *,
    project: str | None = None,
    anchors: tuple[str, ...] = (),
    whole: bool = False,
    today: date | None = None,
) -> Checked:
    """Check receipts, each by itself and all of them together.

    Parameters
    ----------
    files
        Content by name. A name of 64 hexadecimal digits must be that of the receipt in it.
    keys, project
        See `check_receipt`.
    anchors
        The names of receipts that must be there, with all that came before them.
    whole
        Whether the files are all receipts of a project, so that none may be missing.
    today
        The date, for what is no longer valid; not checked if None.
    """
    receipts: dict[str, Receipt] = {}
    failures = [Failure(None, "key-fork", reason) for reason in keys.forks]
    for file, content in files.items():
        try:
            found = check_receipt(content, keys, project)
            check_name(file, found.name)
        except RefusedError as error:
            failures.append(Failure(file, error.code, error.message))
        else:
            receipts[file] = found
    by_name = {receipt.name: receipt for receipt in receipts.values()}
    failures += _clock_failures(receipts, by_name)
    failures += _missing(by_name, reached(by_name, list(by_name) if whole else anchors), anchors)
    notes = [] if today is None else _notes(receipts, today)
    return Checked(receipts, tuple(failures), tuple(notes))


def check_name(file: str, name: str) -> None:
    """Raise `RefusedError` if a file is named like another receipt than the one in it."""
    stem = Path(file).name.removesuffix(".json")
    if _NAME.fullmatch(stem) and stem != name:
        raise RefusedError("misnamed", f"it has the name of another receipt than {name[:12]}")


def _clock_failures(
    receipts: Mapping[str, Receipt], by_name: Mapping[str, Receipt]
) -> Iterable[Failure]:
    for file, receipt in receipts.items():
        created = receipt.statement.predicate.created
        older = [by_name[head] for head in receipt.heads if head in by_name]
        if any(one.statement.predicate.created > created for one in older):
            reason = "it says an earlier time than a receipt that came before it"
            yield Failure(file, "clock-order", reason)


def reached(by_name: Mapping[str, Receipt], start: Iterable[str]) -> Iterable[str]:
    """Return the names of receipts, and of all that came before them."""
    waiting = list(start)
    seen: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name] = None
            waiting += by_name[name].heads if name in by_name else ()
    return seen


def _missing(
    by_name: Mapping[str, Receipt], names: Iterable[str], anchors: Iterable[str]
) -> Iterable[Failure]:
    """Yield what is not among the receipts that hold: newest ones, and those that others name."""
    for name in anchors:
        if name not in by_name:
            reason = f"the newest receipt, {name[:12]}, is missing or does not hold"
            yield Failure(None, "truncated", reason)
    for name in names:
        if name not in by_name and name not in anchors:
            reason = f"the receipt {name[:12]}, which others name, is missing or does not hold"
            yield Failure(None, "chain-broken", reason)


def _notes(receipts: Mapping[str, Receipt], today: date) -> Iterable[str]:
    for file, receipt in receipts.items():
        until = receipt.statement.predicate.valid_until
        if until < today:
            yield f"{file}: expired on {until}: its annex and salt are destroyed by now"


def check_annex(receipt: Receipt, content: bytes) -> None:
    """Raise `RefusedError` if a file is not the annex of a receipt."""
    if hashlib.sha256(content).hexdigest() != receipt.statement.predicate.annex.sha256:
        raise RefusedError(
            "annex-differs", "the annex is not the one that the receipt was written with"
        )
