"""Seals of JSON files: who edits a file can edit its digests, but cannot compute its seal."""

import hmac
from collections.abc import Mapping
from typing import Any, Literal

from unlearn.stages.project.files import canonical_json
from unlearn.stages.rows.tokens import Key

#: Of a report: `unchecked` where there is no project key to check it with.
SealState = Literal["valid", "missing", "wrong", "unchecked"]

#: What `seal` is for, by file: a seal of one file does not hold for another.
VERDICT, REPORT = "verdict", "report"


def seal(key: Key, purpose: str, content: Mapping[str, Any]) -> str:
    """Return the seal of a file, in hex.

    Parameters
    ----------
    key
        The project key.
    purpose
        `VERDICT` or `REPORT`.
    content
        The file as JSON values; its own `seal` does not count.
    """
    rest = {name: value for name, value in content.items() if name != "seal"}
    return key.digest(purpose, canonical_json(rest)).hex()


def seal_state(key: Key | None, purpose: str, content: Mapping[str, Any]) -> SealState:
    """Return whether a file carries its seal.

    Parameters
    ----------
    key
        The project key; None where it is not at hand.
    purpose, content
        See `seal`.
    """
    found = content.get("seal")
    if found is None:
        return "missing"
    if key is None:
        return "unchecked"
    expected = seal(key, purpose, content)
    is_same = isinstance(found, str) and hmac.compare_digest(found.encode(), expected.encode())
    return "valid" if is_same else "wrong"
