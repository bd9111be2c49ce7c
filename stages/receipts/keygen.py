"""Making keys, and following one by another."""

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.envelope import Signed, to_sign
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import (
    KEY_TYPE,
    KeyStatement,
    PublicKey,
    key_id,
    new_statement,
    parse_key,
    sign_key,
)
from unlearn.stages.receipts.signers import FileSigner, Signer, private_bytes
from unlearn.stages.receipts.store import read_keys, write_key

_PROJECT_BYTES = 16


@dataclass(frozen=True)
class NewKey:
    """A key that was made.

    Parameters
    ----------
    keyid
        Its id.
    file
        The file of its public key, in the project.
    project
        The public id of the project.
    since, until
        When it may sign.
    previous
        The id of the key that it follows.
    """

    keyid: str
    file: str
    project: str
    since: datetime
    until: datetime | None
    previous: str | None


def check_private_path(path: Path) -> None:
    """Raise an InputError if a private key cannot be written to a file.

    It is never written into a git repository, nor over a file.
    """
    if os.path.lexists(path):
        raise InputError(f"{path.name} is there already: a key is never overwritten")
    folder = path.parent.resolve()
    if not folder.is_dir():
        raise InputError(f"there is no folder for {path.name}")
    if any((above / ".git").exists() for above in (folder, *folder.parents)):
        raise InputError(
            f"{path.name} would be in a git repository: a private key must not be there",
            "name a file outside, such as ~/receipts.pem",
        )


def make_key(
    project: Project,
    path: Path,
    passphrase: str,
    *,
    until: datetime | None = None,
    previous: Signer | None = None,
    alone: bool = False,
) -> NewKey:
    """Make a private key in an encrypted file, and its public key in the project.

    Parameters
    ----------
    project
        The project.
    path, passphrase
        Where the private key goes, outside every repository, and what it is encrypted with.
    until
        The last time that the key may sign.
    previous
        Signs with the key that this one follows. Needed if the project has keys.
    alone
        Follow no key, although the project has keys: none of them can sign any more.

    Raises
    ------
    InputError
        If the file cannot be there, the passphrase is too short, the project has keys and none of
        them is that of `previous`, or that key has ended or is followed already. Nothing was
        changed.
    """
    check_private_path(path)
    key = Ed25519PrivateKey.generate()
    content = private_bytes(key, passphrase)
    signer = FileSigner(key)
    with exclusive(project.lock_file("receipts"), "another `unlearn receipt`"):
        new = (signer, signer.public)
        statement, file = _prepare(project, new, until, previous, alone=alone)
        write_bytes(path, content, 0o600)
        try:
            return _store(project, statement, file)
        except OSError:
            path.unlink()
            raise


def adopt_key(
    project: Project,
    signer: Signer,
    public: Ed25519PublicKey,
    *,
    until: datetime | None = None,
    previous: Signer | None = None,
    alone: bool = False,
) -> NewKey:
    """Add the public key of a signer that keeps its private key elsewhere; see `make_key`."""
    with exclusive(project.lock_file("receipts"), "another `unlearn receipt`"):
        statement, file = _prepare(project, (signer, public), until, previous, alone=alone)
        return _store(project, statement, file)


def _prepare(
    project: Project,
    new: tuple[Signer, Ed25519PublicKey],
    until: datetime | None,
    previous: Signer | None,
    *,
    alone: bool,
) -> tuple[KeyStatement, bytes]:
    """Return what the key's file states, and the file."""
    signer, public = new
    now = datetime.now(UTC).replace(microsecond=0)
    if until is not None and until <= now:
        raise InputError("the key would end before it begins")
    keys = read_keys(project)
    statement = new_statement(public, _project_id(keys), now, until)
    if previous is None and keys and not alone:
        raise InputError(
            "the project has a key: who trusts it has to be told of a new one",
            "--previous names the signer of the key that the new one follows",
            "if that key has ended or is lost, --without-previous makes one that auditors have "
            "to be given",
        )
    followed = None
    if previous is not None:
        followed = _key_of(keys, previous)
        _check_can_be_followed(followed, keys, now)
        statement = statement.model_copy(update={"previous": followed.keyid})
    keyid = key_id(statement.public)
    if keyid in {key.keyid for key in keys}:
        raise InputError("the project has this key already")
    content = to_sign(KEY_TYPE, statement.payload)
    signatures = [Signed(keyid, signer.sign(content))]
    if followed is not None and previous is not None:
        signatures.append(Signed(followed.keyid, previous.sign(content)))
    file = sign_key(statement, signatures)
    try:
        parse_key(file)
    except RefusedError:
        raise InputError("the signer does not sign with this public key") from None
    return statement, file


def _check_can_be_followed(key: PublicKey, keys: list[PublicKey], now: datetime) -> None:
    """Raise an InputError if nobody would trust a key that follows this one."""
    for one in keys:
        if one.statement.previous == key.keyid:
            raise InputError(
                f"the previous key {key.keyid[:12]} is followed by {one.keyid[:12]} already: it "
                "may not sign any more",
                "--previous names the signer of the newest key",
            )
    if key.statement.until is not None and now > key.statement.until:
        raise InputError(
            f"the previous key {key.keyid[:12]} ended on {key.statement.until.date()}: it may not "
            "sign any more",
            "--without-previous makes a key that follows no other: auditors have to be given it",
        )


def _project_id(keys: list[PublicKey]) -> str:
    return keys[0].statement.project if keys else secrets.token_hex(_PROJECT_BYTES)


def _key_of(keys: list[PublicKey], signer: Signer) -> PublicKey:
    content = b"unlearn: which key is this?"
    signature = signer.sign(content)
    for key in keys:
        if key.verifies(Signed(key.keyid, signature), content):
            return key
    raise InputError("the previous signer's key is none of those in data/receipts/keys")


def _store(project: Project, statement: KeyStatement, file: bytes) -> NewKey:
    keyid = key_id(statement.public)
    return NewKey(
        keyid=keyid,
        file=write_key(project, keyid, file),
        project=statement.project,
        since=statement.since,
        until=statement.until,
        previous=statement.previous,
    )
