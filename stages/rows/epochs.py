"""Tokens of earlier project keys, and what they are called now.

Each rotation of the key begins an epoch. A token in git says its epoch: `u1_...` is of the first
key, `u2_...` of the second. Its digest is the HMAC of its digest in the epoch before, so
that lines of the forget list can be brought forward without the ids, which are nowhere. Who has no
key reads the same from the request log, where each rotation notes what became of the tokens.

In memory a token of the present epoch always begins with `u1_`, whatever the epoch: rows and models
know no other tokens.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field
from unlearn.stages.errors import InputError
from unlearn.stages.rows.tokens import PREFIX, Key

_TOKEN = re.compile(r"u([1-9][0-9]{0,2})_([0-9a-f]{64})")

#: Begins a line that is a token, or was one before it was cut short.
_BEGINNING = re.compile(r"u([1-9][0-9]{0,2})_")

_CHECK = re.compile(r"(?:([0-9]+)-)?[0-9a-f]{16}")

_DIGEST = r"^[0-9a-f]{64}$"


class Rotation(BaseModel):
    """What a rotation did to the tokens that were known, as the request log has it.

    Parameters
    ----------
    epoch
        The new epoch.
    key_check
        Of the new key, as in params.yaml.
    tokens
        By earlier epoch, the new digest of each digest. There is no `u1_` before them: only lines
        of the list look like that.
    left_out
        Digests of the new lines that belong to canaries which no shard has; parts of a line are
        joined by a dot.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    epoch: int = Field(ge=2, le=999)
    key_check: str
    tokens: dict[str, dict[str, str]] = Field(default_factory=dict)
    left_out: tuple[str, ...] = Field(default=(), strict=False)


@dataclass(frozen=True)
class Epochs:
    """The present epoch, and how tokens of earlier ones are brought forward.

    Parameters
    ----------
    number
        The present epoch, from 1.
    known
        By a token of an earlier epoch, as it is in git, what a later epoch calls it.
    left_out
        Lines of the present epoch, in memory, that belong to canaries which no shard has.
    key
        The project key with the earlier ones, for tokens that are not known; None without it.
    """

    number: int = 1
    known: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    key: Key | None = field(default=None, repr=False)

    def with_key(self, key: Key | None) -> "Epochs":
        """Return the same for the epoch of a key; unchanged without one."""
        return self if key is None else replace(self, number=key.epoch, key=key)

    def at(self, number: int) -> "Epochs":
        """Return the same for another epoch, without a key."""
        return self if number == self.number else replace(self, number=number, key=None)

    def present(self, line: str) -> str | None:
        """Return a line of tokens as memory has it.

        Parameters
        ----------
        line
            A line as it is in git, without a mark.

        Returns
        -------
        str or None
            A line of a later epoch is returned as it is: it is equal to none of this epoch. None if
            a token of an earlier epoch cannot be brought forward here.
        """
        if self.number == 1:
            return line
        parts = [self._present(part) for part in line.split(".")]
        return None if None in parts else ".".join(part for part in parts if part is not None)

    def _present(self, token: str) -> str | None:
        while _epoch_of(token) < self.number and token in self.known:
            token = self.known[token]
        epoch, digest = split_token(token)
        if epoch > self.number:
            return token
        if epoch < self.number:
            if self.key is None:
                return None
            digest = self.key.forward(bytes.fromhex(digest), epoch).hex()
        return PREFIX + digest

    def written(self, line: str) -> str:
        """Return a line of memory as git has it; a mark stays, and a raw id is left alone."""
        bare, dot, mark = _without_mark(line)
        if self.number == 1 or not is_token_line(bare):
            return line
        return bare.replace(PREFIX, f"u{self.number}_") + dot + mark

    def earlier(self, token: str) -> list[str]:
        """Return the tokens of earlier epochs, as they are in git, of a token in memory."""
        waiting, found = [self.written(token)], []
        while waiting:
            older = self._backwards.get(waiting.pop(), [])
            found += older
            waiting += older
        return found

    def earlier_lines(self, line: str) -> list[str]:
        """Return a line in memory as memory had it in earlier epochs, as far as they are known."""
        parts = [self.earlier(part) for part in line.split(".")]
        return [
            ".".join(PREFIX + split_token(token)[1] for token in tokens)
            for tokens in zip(*parts, strict=False)
        ]

    @cached_property
    def _backwards(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for old, new in self.known.items():
            found.setdefault(new, []).append(old)
        return found


#: Before any rotation: each line is what it is.
FIRST = Epochs()


def epochs_of(rotations: Iterable[Rotation], lines: Iterable[str] = ()) -> Epochs:
    """Return the epochs that a request log tells of.

    Parameters
    ----------
    rotations
        Those that the log has.
    lines
        Lines of its entries: a project may begin with a later epoch.

    Raises
    ------
    InputError
        If two rotations began one epoch with different keys.
    """
    checks: dict[int, str] = {}
    known: dict[str, str] = {}
    left_out: dict[int, set[str]] = {}
    for rotation in rotations:
        if checks.setdefault(rotation.epoch, rotation.key_check) != rotation.key_check:
            raise InputError(
                f"the request log has two rotations of the key to epoch {rotation.epoch}, with "
                "different keys: two branches rotated it",
                "leave one of the branches as it was before its rotation",
            )
        for epoch, tokens in rotation.tokens.items():
            known |= {f"u{epoch}_{old}": f"u{rotation.epoch}_{new}" for old, new in tokens.items()}
        left_out.setdefault(rotation.epoch, set()).update(
            ".".join(PREFIX + digest for digest in line.split(".")) for line in rotation.left_out
        )
    others = {_epoch_of(line) for line in lines if not line.startswith(PREFIX)}
    number = max([1, *checks, *others])
    if number == 1:
        return FIRST
    return Epochs(number, known, frozenset(left_out.get(number, set())))


def epoch_in(key_check: object) -> int:
    """Return the epoch that `key_check` in params.yaml names; 1 where it is no such text."""
    match = _CHECK.fullmatch(key_check) if isinstance(key_check, str) else None
    return int(match[1]) if match is not None and match[1] else 1


def is_token_line(line: str) -> bool:
    """Return whether a line, without a mark, is one token or two, of any epoch."""
    parts = line.split(".")
    return len(parts) <= 2 and all(_TOKEN.fullmatch(part) for part in parts)  # noqa: PLR2004 - a person's and a record's


def begins_like_token(line: str, epoch: int) -> bool:
    """Return whether a line begins as tokens up to an epoch do, or is one of a later epoch."""
    match = _BEGINNING.match(line)
    if match is None:
        return False
    return int(match[1]) <= epoch or _TOKEN.fullmatch(line.partition(".")[0]) is not None


def latest_epoch(line: str) -> int:
    """Return the latest epoch that a line of tokens is of."""
    return max(_epoch_of(part) for part in line.split("."))


def is_older(line: str, epoch: int) -> bool:
    """Return whether a line of tokens has a token of an epoch before this one."""
    return any(_epoch_of(part) < epoch for part in line.split("."))


def _epoch_of(token: str) -> int:
    match = _BEGINNING.match(token)
    return 1 if match is None else int(match[1])


def split_token(token: str) -> tuple[int, str]:
    """Return the epoch and the digest of a token, in hex."""
    return _epoch_of(token), token.partition("_")[2]


def _without_mark(line: str) -> tuple[str, str, str]:
    """Return a line in its parts: the tokens, and what follows them."""
    bare, dot, last = line.rpartition(".")
    return (line, "", "") if not dot or _TOKEN.fullmatch(last) else (bare, dot, last)
