"""The project key, and the keyed tokens that represent people outside the dataset.

One digest decides everything about a record: its name in every file, its shard, its slice,
whether it is held out, and its order among the others. So no record's place depends on another
record, and removing one moves none.
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from unlearn.stages.errors import Facts, InputError
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.ids import AS_WRITTEN, IdKind, IdRules

PREFIX = "u1_"
_KEY_TEXT = re.compile(r"[0-9a-f]{64}")

#: Name of the environment variable that may hold the project key.
KEY_VARIABLE = "UNLEARN_KEY"

#: The published key of the digits example. Anyone can compute its tokens: never for real data.
DEMO_KEY = hashlib.sha256(b"unlearn demo key: public, for the digits example only").hexdigest()

#: Bytes that SHA-256 reads at a time.
_SHA256_BLOCK = 64

_CHECK_DIGITS = 16

#: Purpose of the subkeys that bring tokens from one epoch to the next.
ROTATION = "rotation"

#: What a token stands for.
Kind = IdKind


@dataclass(frozen=True)
class Key:
    """The project key and the subkeys derived from it.

    Parameters
    ----------
    text
        64 lower-case hexadecimal digits.
    older
        The keys before it, the oldest first: tokens go through all of them.
    """

    text: str
    older: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(map(_KEY_TEXT.fullmatch, self.texts)):
            raise InputError("the project key is not 64 lower-case hexadecimal digits")

    def __repr__(self) -> str:
        return "Key(...)"

    @property
    def texts(self) -> tuple[str, ...]:
        """All keys, the oldest first."""
        return (*self.older, self.text)

    @property
    def epoch(self) -> int:
        """How many keys there were, with this one."""
        return len(self.older) + 1

    @property
    def is_demo(self) -> bool:
        """True for the published key of the example."""
        return self.text == DEMO_KEY

    def digest(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 of `message` under the subkey for `purpose` (32 bytes)."""
        return hmac.digest(self.subkey(purpose), message, "sha256")

    def subkey(self, purpose: str) -> bytes:
        """Return the key for one purpose (32 bytes); no subkey reveals anything about another."""
        return hmac.digest(bytes.fromhex(self.text), b"unlearn/1/" + purpose.encode(), "sha256")

    @property
    def check(self) -> str:
        """The value of `key_check` in params.yaml: it distinguishes this key from others.

        From the second key on it begins with the epoch, and depends on all keys.
        """
        if not self.older:
            return self.digest("check", b"").hex()[:_CHECK_DIGITS]
        before = Key(self.older[-1], self.older[:-1]).check
        found = self.digest("check", f"epoch {self.epoch} after {before}".encode())
        return f"{self.epoch}-{found.hex()[:_CHECK_DIGITS]}"

    def forward(self, digest: bytes, epoch: int) -> bytes:
        """Return what the digest of a token of an earlier epoch is now.

        Parameters
        ----------
        digest
            32 bytes.
        epoch
            Its epoch.
        """
        for text in self.texts[epoch:]:
            digest = Key(text).digest(ROTATION, digest)
        return digest

    def seed(self, *parts: str | int) -> int:
        """Return a seed below 2**63 that follows from the key and `parts`."""
        digest = self.digest("seed", json.dumps(parts).encode())
        return int.from_bytes(digest[:8], "big") >> 1


class Tokenizer:
    """Turns ids into tokens; made once, then fast for many ids.

    Parameters
    ----------
    key
        The project key.
    rules
        How params.yaml says that ids are read; by default each as its text in NFC.
    """

    def __init__(self, key: Key, rules: IdRules = AS_WRITTEN) -> None:
        self.rules = rules
        self._key = key
        inner, self._outer = _hmac_states(Key(key.texts[0]).subkey("token"))
        self._inner = {}
        for kind in get_args(Kind):
            self._inner[kind] = inner.copy()
            self._inner[kind].update(kind.encode() + b"\0")
        self._rotations = [_hmac_states(Key(text).subkey(ROTATION)) for text in key.texts[1:]]

    @property
    def key(self) -> Key:
        """The project key."""
        return self._key

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Key, IdRules]]:
        # The state of a digest cannot be copied to another process.
        return Tokenizer, (self._key, self.rules)

    def token(self, kind: Kind, raw: str) -> str:
        """Return the token of a raw id: all ids that the rules call one have the same token."""
        return PREFIX + self.joined_digests(kind, [raw]).hex()

    def joined_digests(self, kind: Kind, raws: Sequence[str]) -> bytes:
        """Return the digests of the tokens of raw ids, 32 bytes each, one after the other."""
        new_inner, new_outer = self._inner[kind].copy, self._outer.copy
        found = []
        for text in self.rules.canonicals(kind, raws):
            inner = new_inner()
            inner.update(text.encode())
            outer = new_outer()
            outer.update(inner.digest())
            found.append(outer.digest())
        for states in self._rotations:
            new_inner, new_outer = states[0].copy, states[1].copy
            before, found = found, []
            for digest in before:
                inner = new_inner()
                inner.update(digest)
                outer = new_outer()
                outer.update(inner.digest())
                found.append(outer.digest())
        return b"".join(found)


def _hmac_states(key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """Return the two halves of HMAC (RFC 2104), which read the key once instead of once an id."""
    padded = key.ljust(_SHA256_BLOCK, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ mask for byte in padded)) for mask in (0x36, 0x5C))
    return inner, outer


@dataclass(frozen=True)
class Place:
    """Where the rows of a token go."""

    shard: str
    slice: int

    @property
    def is_holdout(self) -> bool:
        """True if the rows are never trained on."""
        return self.shard == HOLDOUT


def place(token: str, shards: int, slices: int, holdout: float) -> Place:
    """Return the place of the rows that `token` governs.

    Bytes 0-7 of the token give the shard (mod `shards`), 8-15 the slice (mod `slices`, counted
    from 1), 16-23 the holdout (against its share).

    Parameters
    ----------
    token
        The subject's token where the dataset names subjects, else the record's.
    shards, slices
        How many there are; at least 1.
    holdout
        Share of the rows to hold out, in [0, 1).
    """
    digest = bytes.fromhex(token[len(PREFIX) :])
    slice_number = int.from_bytes(digest[8:16], "big") % slices + 1
    # Exact in integers: a float product would round differently from the given share.
    if int.from_bytes(digest[16:24], "big") < int(holdout * 2**64):
        return Place(HOLDOUT, slice_number)
    return Place(home_shard(token, shards), slice_number)


def home_shard(token: str, shards: int) -> str:
    """Return the shard that `token` points to, held out or not."""
    digest = bytes.fromhex(token[len(PREFIX) : len(PREFIX) + 16])
    return f"s{int.from_bytes(digest, 'big') % shards:03d}"


def key_of_variable() -> Key | None:
    """Return the key in the environment variable `UNLEARN_KEY`; None if it is unset or empty.

    Raises
    ------
    InputError
        If the variable holds something else.
    """
    text = os.environ.get(KEY_VARIABLE, "").strip()
    return _as_key(text, f"the key in {KEY_VARIABLE}") if text else None


def _key_of_file(project: Project) -> Key | None:
    if not project.key.is_file():
        return None
    try:
        text = project.key.read_text(encoding="ascii").strip()
    except (UnicodeDecodeError, PermissionError):
        raise InputError(f"{project.key.name} is not readable as a project key") from None
    return _as_key(text, project.key.name)


def _as_key(text: str, source: str) -> Key:
    try:
        return key_of_text(text)
    except InputError:
        raise InputError(f"{source} is not 64 lower-case hexadecimal digits") from None


def key_of_text(text: str) -> Key:
    """Return the key of a file or variable: all keys, the oldest first.

    Parameters
    ----------
    text
        Keys with white space or colons between them.

    Raises
    ------
    InputError
        If one of them is no key.
    """
    *older, last = re.split(r"[\s:]+", text.strip())
    return Key(last, tuple(older))


def find_keys(project: Project, key_check: str) -> tuple[Key, str]:
    """Return all keys that are at hand, and where they are.

    A key after that of the project is one that `unlearn rekey` is to begin, or has begun: this is
    then an older commit.

    Raises
    ------
    InputError
        If there is no key.
    """
    key, source = key_of_variable(), KEY_VARIABLE
    if key is None:
        key, source = _key_of_file(project), project.key.name
    if key is None and key_check == Key(DEMO_KEY).check:
        key = Key(DEMO_KEY)
    if key is None:
        raise InputError(
            f"there is no project key: neither {KEY_VARIABLE} nor {project.key.name}",
            "get it from the person who ran `unlearn init`; in CI, set it from a secret",
        )
    return key, source


def load_key(project: Project, key_check: str) -> Key:
    """Return the project key, from `UNLEARN_KEY` or the key file, and only the right one.

    With any other key every row would move and everyone on the forget list would be trained
    back in, so a wrong key stops everything. After a rotation, that goes for the older keys too.

    Raises
    ------
    InputError
        If there is no key, it is not the one that `key_check` was made with, or an older key is
        missing or another one.
    """
    found, source = find_keys(project, key_check)
    if source == KEY_VARIABLE:
        source = f"the key in {KEY_VARIABLE}"
    epoch, _, _ = key_check.rpartition("-")
    wanted = int(epoch or 1)
    if found.epoch < wanted:
        raise InputError(
            f"{source} holds {found.epoch} of the {wanted} keys of this project: it was rotated",
            "it has to hold all of them, the oldest first: tokens go through all keys",
        )
    texts = found.texts[:wanted]
    key = Key(texts[-1], texts[:-1])
    if not hmac.compare_digest(key.check, key_check):
        others = "" if wanted == 1 else ", or one of the older keys is not"
        raise InputError(
            f"{source} is not the key of this project (key_check in params.yaml says so){others}",
            "with another key every row would move to another shard; nothing was changed",
        )
    return key


def has_key(project: Project, key_check: str) -> bool:
    """Return whether a project key is at hand, right or wrong."""
    if os.environ.get(KEY_VARIABLE, "").strip() or project.key.is_file():
        return True
    return key_check == Key(DEMO_KEY).check


def check_raw_id(raw: str, where: str | Facts) -> None:
    """Refuse an id that could be mistaken for a token, or has none.

    Raises
    ------
    InputError
        If `raw` is empty, begins with the token prefix, or holds half a character.
    """
    facts = where if isinstance(where, Facts) else None
    if raw == "":
        raise InputError(f"{where}: an id is missing", facts=facts)
    if raw.startswith(PREFIX):
        raise InputError(
            f"{where}: an id begins with {PREFIX!r}, which is kept for tokens", facts=facts
        )
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: an id is not UTF-8 text", facts=facts) from None
