"""DSSE envelopes: bytes, their type, and signatures over both.

The format is that of https://github.com/secure-systems-lab/dsse, version 1.0.2. It lets a reader
ignore fields that it does not know. This reader does not: a file is accepted only if it has exactly
the bytes that `write` gives its content, so that no bit of it can change unnoticed.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from unlearn.stages.project.files import canonical_json
from unlearn.stages.receipts.failures import RefusedError

#: No receipt is larger (bytes). What is read is limited before anything is known about it.
LARGEST = 1 << 20


@dataclass(frozen=True)
class Signed:
    """A signature and the id of the key that made it."""

    keyid: str
    signature: bytes


@dataclass(frozen=True)
class Envelope:
    """Signed bytes.

    Parameters
    ----------
    kind
        The type of the payload; DSSE's `payloadType`.
    payload
        What is signed, together with `kind`.
    signatures
        At least one; each by another key.
    """

    kind: str
    payload: bytes
    signatures: tuple[Signed, ...]

    @property
    def to_sign(self) -> bytes:
        """The bytes that are signed: type and payload with their lengths (PAE)."""
        return to_sign(self.kind, self.payload)

    def write(self) -> bytes:
        """Return the one file of this envelope."""
        value = {
            "payload": _base64(self.payload),
            "payloadType": self.kind,
            "signatures": [
                {"keyid": one.keyid, "sig": _base64(one.signature)} for one in self.signatures
            ],
        }
        return canonical_json(value) + b"\n"


def to_sign(kind: str, payload: bytes) -> bytes:
    """Return the bytes to sign for a payload of a type."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def parse_envelope(content: bytes) -> Envelope:
    """Return the envelope that a file holds.

    Raises
    ------
    RefusedError
        If it is none, or is written in another way than `Envelope.write` does.
    """
    if len(content) > LARGEST:
        raise _bad("it is too large")
    try:
        found = _read(json.loads(content))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _bad("it is cut short or damaged") from None
    if found.write() != content:
        raise _bad("its bytes are not those that this tool writes")
    if len({one.keyid for one in found.signatures}) != len(found.signatures) or not found.payload:
        raise _bad("it has no payload, or two signatures of one key")
    return found


def _read(value: Any) -> Envelope:
    signatures = tuple(
        Signed(_text(one["keyid"]), _bytes(one["sig"])) for one in value["signatures"]
    )
    if not signatures:
        raise ValueError("no signature")
    return Envelope(_text(value["payloadType"]), _bytes(value["payload"]), signatures)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bad(why: str) -> RefusedError:
    return RefusedError("bad-envelope", f"it is not a whole envelope: {why}")
