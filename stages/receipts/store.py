"""Receipts, keys and annexes as files of a project."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from unlearn.stages.errors import Facts, InputError
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.envelope import parse_envelope
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys, PublicKey, parse_key
from unlearn.stages.receipts.statement import (
    Predicate,
    check_kind,
    parse_statement,
    receipt_name,
)

FOLDER = "data/receipts"

#: The ending of the file of a time stamp, which has the name of its receipt.
SUFFIX = ".tsr"
KEYS_FOLDER = f"{FOLDER}/keys"


def read_receipts(project: Project) -> dict[str, Predicate]:
    """Return what all receipts of a project state, by name. Signatures are not checked.

    Raises
    ------
    InputError
        If a file is not a whole receipt with the name of the file.
    """
    found = {}
    for path in _files(project.receipts):
        try:
            envelope = parse_envelope(path.read_bytes())
            check_kind(envelope)
            name = receipt_name(envelope.payload)
            found[name] = parse_statement(envelope.payload).predicate
        except RefusedError:
            name = ""
        if name != path.stem:
            raise _damaged(f"{FOLDER}/{path.name}", "a whole receipt")
    return found


def receipted_entries(project: Project) -> frozenset[str]:
    """Return the names of the entries of the request log that complete receipts name.

    Signatures are not checked: `unlearn receipt verify` does. A request is receipted if all of its
    entries are among them. A receipt of a partial erasure does not count.

    Raises
    ------
    InputError
        See `read_receipts`.
    """
    return frozenset(
        name
        for predicate in read_receipts(project).values()
        if predicate.request.outcome == "complete"
        for name in predicate.request.entries
    )


def heads_of(receipts: Mapping[str, Predicate]) -> tuple[str, ...]:
    """Return the names of the receipts that no other receipt names."""
    named = {head for one in receipts.values() for head in one.heads.receipts}
    return tuple(sorted(receipts.keys() - named))


def read_keys(project: Project) -> list[PublicKey]:
    """Return the public keys in data/receipts/keys.

    Raises
    ------
    InputError
        If a file is not that of a key, the keys are of several projects, or several follow one.
    """
    keys = []
    for path in _files(project.receipt_keys):
        try:
            keys.append(parse_key(path.read_bytes()))
        except RefusedError:
            raise _damaged(f"{KEYS_FOLDER}/{path.name}", "a whole public key") from None
    if len({key.statement.project for key in keys}) > 1:
        raise InputError(
            f"the keys in {KEYS_FOLDER} name several projects",
            "one of them was made where the others were not known: delete it, and make another "
            "with `unlearn receipt keygen --previous`",
        )
    for reason in Keys(keys).forks:
        raise InputError(
            f"{KEYS_FOLDER}: {reason}",
            "delete the file of each key but the right one: receipts that the others signed do "
            "not hold, so write them again",
        )
    return keys


def write_key(project: Project, keyid: str, content: bytes) -> str:
    """Write the file of a public key, and return its path in the project."""
    write_bytes(project.receipt_keys / f"{keyid}.json", content)
    return f"{KEYS_FOLDER}/{keyid}.json"


def write_receipt(project: Project, name: str, content: bytes) -> str:
    """Write a receipt, synced with its folder, and return its path in the project."""
    write_bytes(project.receipts / f"{name}.json", content)
    return f"{FOLDER}/{name}.json"


def write_stamp(project: Project, name: str, content: bytes) -> str:
    """Write the time stamp of a receipt, and return its path in the project."""
    write_bytes(project.receipts / f"{name}{SUFFIX}", content)
    return f"{FOLDER}/{name}{SUFFIX}"


def unstamped_heads(project: Project, receipts: Mapping[str, Predicate]) -> dict[str, bytes]:
    """Return the signatures of the newest receipts that have no time stamp, by name."""
    found = {}
    for name in heads_of(receipts):
        if not (project.receipts / f"{name}{SUFFIX}").is_file():
            content = (project.receipts / f"{name}.json").read_bytes()
            found[name] = parse_envelope(content).signatures[0].signature
    return found


def annex_path(project: Project, name: str) -> Path:
    """Return the file of a receipt's annex."""
    return project.annexes / f"{name}.json"


def annex_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the file of an annex."""
    return json_bytes(dict(content))


def write_annex(project: Project, name: str, content: bytes) -> None:
    """Write the annex of a receipt, readable by its owner alone."""
    project.annexes.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_bytes(annex_path(project, name), content, 0o600)


def expired_annexes(project: Project, today: date) -> list[Path]:
    """Return the files of annexes whose time has ended.

    An annex itself names its last day: its receipt may be on another branch.
    """
    found = []
    for path in _files(project.annexes):
        try:
            last = date.fromisoformat(json.loads(path.read_bytes())["validUntil"])
        except (ValueError, LookupError, TypeError):
            continue  # no annex of ours
        if last < today:
            found.append(path)
    return found


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.glob("[!.]*.json") if path.is_file())


def _damaged(name: str, what: str) -> InputError:
    return InputError(
        f"{name} is not {what}",
        f"`git checkout -- {name}` takes the committed one",
        facts=Facts(file=name),
    )
