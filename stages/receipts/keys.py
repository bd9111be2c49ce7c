"""Public keys of receipts: whose they are, and from when to when each may sign.

A key's file is an envelope that the key itself signed, so that its author has the private key.
When keys rotate, the previous key signs it too: who trusts the first key of a project can follow.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import digest_json
from unlearn.stages.receipts.canonical import canonical, parse_canonical
from unlearn.stages.receipts.envelope import LARGEST, Envelope, Signed, parse_envelope
from unlearn.stages.receipts.failures import RefusedError

#: The type of the payload of a key's file.
KEY_TYPE = "application/vnd.dvc-unlearn.receipt-key.v1+json"


class KeyStatement(BaseModel):
    """What a key's file states.

    Parameters
    ----------
    type
        Always `receipt-key-v1`.
    project
        The public id of the project that the key signs for.
    public
        The Ed25519 public key, 64 hexadecimal digits.
    since, until
        The key signs receipts of this time alone; no end if None.
    previous
        The id of the key that this one follows. It ends when this one begins.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    type: Literal["receipt-key-v1"] = "receipt-key-v1"
    project: str = Field(pattern=r"^[0-9a-f]{32}$")
    public: str = Field(pattern=r"^[0-9a-f]{64}$")
    since: AwareDatetime
    until: AwareDatetime | None = None
    previous: str | None = None

    @property
    def payload(self) -> bytes:
        """The bytes to sign."""
        return canonical(self.model_dump(mode="json"))


@dataclass(frozen=True)
class PublicKey:
    """A public key with what its file states.

    Parameters
    ----------
    key
        The key.
    statement
        What its file states.
    envelope
        The file.
    """

    key: Ed25519PublicKey
    statement: KeyStatement
    envelope: Envelope

    @cached_property
    def keyid(self) -> str:
        """The id of the key; see `key_id`."""
        return key_id(self.statement.public)

    def verifies(self, signed: Signed, content: bytes) -> bool:
        """Return whether it made a signature over bytes."""
        try:
            self.key.verify(signed.signature, content)
        except InvalidSignature:
            return False
        return signed.keyid == self.keyid


def new_statement(
    public: Ed25519PublicKey,
    project: str,
    since: datetime,
    until: datetime | None = None,
    previous: str | None = None,
) -> KeyStatement:
    """Return the statement of a new key; see `KeyStatement`."""
    return KeyStatement(
        project=project,
        public=public.public_bytes_raw().hex(),
        since=since,
        until=until,
        previous=previous,
    )


def parse_key(content: bytes) -> PublicKey:
    """Return the key that a file holds.

    Raises
    ------
    RefusedError
        If it is not a whole file of a key, or the key did not sign it.
    """
    envelope = parse_envelope(content)
    if envelope.kind != KEY_TYPE:
        raise RefusedError("unknown-type", "it is not the file of a public key")
    parse_canonical(envelope.payload)
    try:
        statement = KeyStatement.model_validate_json(envelope.payload)
    except ValidationError:
        raise RefusedError("bad-statement", "it does not state a whole key") from None
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(statement.public))
    found = PublicKey(key, statement, envelope)
    own = next((one for one in envelope.signatures if one.keyid == found.keyid), None)
    if own is None or not found.verifies(own, envelope.to_sign):
        raise RefusedError("bad-signature", "the key did not sign its own file")
    return found


def key_id(public: str) -> str:
    """Return the id of an Ed25519 public key in hexadecimal.

    It is the one that securesystemslib, and so other tools for DSSE, gives it: the SHA-256 of its
    canonical JSON. That package itself is not used: it imports every library of a cloud provider
    that is installed, which takes seconds and opens a socket.
    """
    value = {"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"}
    return digest_json(value)


def read_key(path: Path) -> PublicKey:
    """Return the key in a file.

    Raises
    ------
    InputError
        If there is no such file, or it is not one of a public key.
    """
    try:
        with path.open("rb") as handle:
            return parse_key(handle.read(LARGEST + 1))
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from None
    except RefusedError as error:
        raise InputError(
            f"{path.name} is not a public key of receipts: {error.message}",
            "`unlearn receipt keygen` writes them to data/receipts/keys",
        ) from None


class Keys:
    """The keys that are trusted, with the end that a successor gives each.

    A key is followed by one other key at most. The follower begins while the key may sign: who has
    a key that ended cannot make another one that is trusted.

    Parameters
    ----------
    pinned
        Keys that are trusted by themselves.
    others
        Keys that are trusted if a trusted key signed their files, and no second one.
    """

    def __init__(self, pinned: Iterable[PublicKey], others: Iterable[PublicKey] = ()) -> None:
        self._trusted: dict[str, PublicKey] = {key.keyid: key for key in pinned}
        self._refused: dict[str, RefusedError] = {}
        self._ends: dict[str, datetime | None] = {}
        self._forks: list[str] = []
        rest = [key for key in others if key.keyid not in self._trusted]
        signed = [(key, True) for key in self._trusted.values()] + [(key, False) for key in rest]
        pinned_ids = frozenset(self._trusted)
        waiting = list(self._trusted.values())
        while waiting:
            key = waiting.pop()
            # By their payload: two files of one key that state different things are two.
            followers = {
                one.envelope.payload: one
                for one, is_pinned in signed
                if one.statement.previous == key.keyid
                and one.statement.project == key.statement.project
                and (is_pinned or _signed_by(key, one))
                and self._begins_in_time(key, one)
            }
            by_pin = [one for one in followers.values() if one.keyid in pinned_ids]
            self._ends[key.keyid] = _end(key, by_pin or followers.values())
            if len(followers) > 1:
                self._refuse_fork(key, list(followers.values()))
                continue
            for one in followers.values():
                if one.keyid not in self._trusted:
                    self._trusted[one.keyid] = one
                    waiting.append(one)

    def __getitem__(self, keyid: str) -> PublicKey:
        return self._trusted[keyid]

    def __contains__(self, keyid: str) -> bool:
        return keyid in self._trusted

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._trusted.values())

    @property
    def projects(self) -> frozenset[str]:
        """Ids of the projects that the keys sign for."""
        return frozenset(key.statement.project for key in self._trusted.values())

    @property
    def forks(self) -> tuple[str, ...]:
        """Why keys that several others follow give trust to none of them, in sentences."""
        return tuple(self._forks)

    def end(self, keyid: str) -> datetime | None:
        """Return the last time that a key may sign: by its own file, or by that of its follower."""
        return self._ends[keyid]

    def check_trusted(self, keyid: str) -> None:
        """Raise `RefusedError` if a key is not trusted."""
        if keyid in self._trusted:
            return
        if keyid in self._refused:
            raise self._refused[keyid]
        raise RefusedError(
            "unknown-key", f"it is signed by the key {_short(keyid)}, not a given one"
        )

    def check_epoch(self, keyid: str, time: datetime) -> None:
        """Raise `RefusedError` if a key may not sign at a time."""
        since, until = self._trusted[keyid].statement.since, self._ends[keyid]
        if time < since or (until is not None and time > until):
            raise RefusedError(
                "key-epoch",
                f"it says {_text(time)}, and its key signs from {_text(since)}"
                + ("" if until is None else f" to {_text(until)}"),
            )

    def _begins_in_time(self, key: PublicKey, follower: PublicKey) -> bool:
        """Return whether a follower begins while a key may sign, and note it if it does not."""
        since, until = follower.statement.since, key.statement.until
        if key.statement.since <= since and (until is None or since <= until):
            return True
        reason = (
            f"its key {_short(follower.keyid)} begins on {_text(since)}, when the key that it "
            "follows may not sign"
        )
        self._refused[follower.keyid] = RefusedError("unknown-key", reason)
        return False

    def _refuse_fork(self, key: PublicKey, followers: list[PublicKey]) -> None:
        names = ", ".join(sorted(_short(one.keyid) for one in followers))
        reason = (
            f"several keys follow the key {_short(key.keyid)} ({names}): at most one is of its "
            "owner, so none of them is trusted because of it"
        )
        self._forks.append(reason)
        for one in followers:
            self._refused[one.keyid] = RefusedError("key-fork", reason)


def _signed_by(key: PublicKey, follower: PublicKey) -> bool:
    """Return whether a key signed the file of another one."""
    return any(
        one.keyid == key.keyid and key.verifies(one, follower.envelope.to_sign)
        for one in follower.envelope.signatures
    )


def _end(key: PublicKey, followers: Iterable[PublicKey]) -> datetime | None:
    """Return when a key ends.

    Of several followers the last one counts: the others may be there to end the key too early.
    """
    ends = [key.statement.until] if key.statement.until is not None else []
    begins = [one.statement.since for one in followers]
    return min([*ends, max(begins)] if begins else ends, default=None)


def _short(keyid: str) -> str:
    return keyid[:12]


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def sign_key(statement: KeyStatement, signatures: Iterable[Signed]) -> bytes:
    """Return the file of a key.

    Parameters
    ----------
    statement
        What it states.
    signatures
        That of the key itself first, then that of the key that it follows.
    """
    return Envelope(KEY_TYPE, statement.payload, tuple(signatures)).write()
