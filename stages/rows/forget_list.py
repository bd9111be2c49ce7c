"""The forget list: the one file in git that names the records to forget.

A line is a record's token, a subject's token, or `<subject token>.<record token>` for one record of
a subject. A line that a person wrote by hand may be a raw record id or `subject:<id>`; it has to
match a row, and the next command replaces it by a token. A line that ends in `.left-out` belongs to
a canary that is in no shard, so that no shard has to change for it. A line of an earlier key counts
as what it is with the present one (`epochs.py`), and is replaced by it as well.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unlearn.stages.config.params import ShardingParams
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.rows.epochs import (
    FIRST,
    Epochs,
    begins_like_token,
    is_older,
    is_token_line,
    latest_epoch,
)
from unlearn.stages.rows.tokens import PREFIX, Kind, Place, Tokenizer, place

#: Begins a line by hand that names a subject.
SUBJECT_PREFIX = "subject:"

#: Lines that git writes around the two sides of a conflict.
_CONFLICT = re.compile(rb"^(?:<{7}|\|{7}|={7}|>{7})(?: [^\n]*)?\r?$", re.MULTILINE)

#: Ends a line whose record no shard holds. Only a mark: a row that answers to it goes all the same.
LEFT_OUT = ".left-out"


@dataclass(frozen=True)
class HandWritten:
    """A line that a person wrote as a raw id.

    Parameters
    ----------
    number
        Of the line, from 1.
    kind
        Whether it names a record or a subject.
    token
        Of the id.
    raw
        The id itself: never printed.
    """

    number: int
    kind: Kind
    token: str
    raw: str = field(repr=False)


@dataclass(frozen=True)
class ForgetList:
    """The list as one reading found it.

    Parameters
    ----------
    digest
        SHA-256 of the bytes that were read, in hex.
    tokens
        Every line but those left out, as tokens, sorted, unique.
    hand_written
        The lines that were raw ids.
    unplaced
        Tokens of raw record ids in a dataset that names subjects: they say whose row goes, but
        not where it is.
    left_out
        Lines of canaries that no shard was given, without their mark.
    token_lines
        The lines that are tokens in the file, without marks.
    older
        Lines of earlier epochs of the key, as they are in the file, with what they are now.
    epochs
        How lines are written.
    """

    digest: str
    tokens: tuple[str, ...]
    hand_written: tuple[HandWritten, ...] = ()
    unplaced: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    token_lines: frozenset[str] = frozenset()
    older: Mapping[str, str] = field(default_factory=dict)
    epochs: Epochs = FIRST

    @property
    def by_hand(self) -> int:
        """How many lines were raw ids."""
        return len(self.hand_written)

    @property
    def lines(self) -> set[str]:
        """All lines, as a command writes them."""
        return {*self.tokens, *(line + LEFT_OUT for line in self.left_out)}

    @property
    def known(self) -> frozenset[str]:
        """All lines, without marks: what rows are compared with."""
        return frozenset(self.tokens) | self.left_out

    def mask(self, records: Sequence[str], subjects: Sequence[str] | None) -> list[bool]:
        """Return for each row whether it is to be forgotten.

        Parameters
        ----------
        records
            Record tokens, one a row.
        subjects
            Subject tokens, one a row, where the dataset names subjects.
        """
        known = self.known
        if subjects is None:
            return [record in known for record in records]
        return [
            record in known or subject in known or f"{subject}.{record}" in known
            for record, subject in zip(records, subjects, strict=True)
        ]

    def with_tokens(self, added: Iterable[str]) -> bytes:
        """Return the list's bytes with `added` in it: sorted, unique, tokens only."""
        return render(map(self.epochs.written, self.lines | set(added)))


def render(tokens: Iterable[str]) -> bytes:
    """Return the bytes of a list that holds `tokens`."""
    return "".join(f"{token}\n" for token in sorted(tokens)).encode()


def governing_token(line: str) -> str:
    """Return the token of a line that decides the place of its rows: the subject's, if named."""
    return line.partition(".")[0]


def place_of_line(line: str, sharding: ShardingParams) -> Place:
    """Return where the rows of a line are, by the plan of shards."""
    shards = len(sharding.shards)
    return place(governing_token(line), shards, sharding.slices, sharding.holdout)


def read_forget_list(path: Path, tokenizer: Tokenizer, *, subjects: bool) -> ForgetList:
    """Read the list; see `parse_forget_list`. A missing file is an error."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(
            f"data/{path.name} is missing",
            "restore it from git; an empty file means that there is no request",
        ) from None
    return parse_forget_list(content, tokenizer, subjects=subjects)


def parse_forget_list(content: bytes, tokenizer: Tokenizer, *, subjects: bool) -> ForgetList:
    """Read the bytes of a forget list.

    Parameters
    ----------
    content
        The file. Blank lines, CRLF and a byte-order mark are fine.
    tokenizer
        Turns lines written by hand into tokens.
    subjects
        Whether the dataset names subjects.

    Raises
    ------
    InputError
        If the file is not text, holds conflict markers of git, or a line is neither a token nor
        an id that could be one.
    """
    refuse_conflict(content)
    epochs = FIRST.with_key(tokenizer.key)
    older: dict[str, str] = {}
    tokens: set[str] = set()
    token_lines: set[str] = set()
    unplaced: set[str] = set()
    left_out: set[str] = set()
    kind: Kind
    hand_written: list[HandWritten] = []
    for number, line in enumerate(text_lines(content, "data/forget_list.txt"), start=1):
        where = Facts(file="data/forget_list.txt", line=number)
        if line == "":
            continue
        if begins_like_token(line, epochs.number):
            named, mark = (line.removesuffix(LEFT_OUT), line.endswith(LEFT_OUT))
            _check_token(named, where, epochs.number, subjects=subjects)
            present = epochs.present(named)
            if present is None:
                raise AssertionError(
                    "with the key every line of an earlier epoch has a present one"
                )
            if is_older(named, epochs.number):
                older[line] = present
            token_lines.add(present)
            (left_out if mark else tokens).add(present)
            continue
        if line.startswith(SUBJECT_PREFIX):
            if not subjects:
                raise InputError(
                    f"{where}: names a subject, but params.yaml names no subject column",
                    "for a record whose id starts like this: `unlearn forget --id`",
                    facts=where,
                )
            kind, raw = "subject", line.removeprefix(SUBJECT_PREFIX)
        else:
            kind, raw = "record", line
        token = tokenizer.token(kind, raw)
        hand_written.append(HandWritten(number, kind, token, raw))
        tokens.add(token)
        if subjects and kind == "record":
            unplaced.add(token)
    return ForgetList(
        digest=hashlib.sha256(content).hexdigest(),
        tokens=tuple(sorted(tokens)),
        hand_written=tuple(hand_written),
        unplaced=frozenset(unplaced),
        left_out=frozenset(left_out),
        token_lines=frozenset(token_lines),
        older=older,
        epochs=epochs,
    )


def _check_token(line: str, where: Facts, epoch: int, *, subjects: bool) -> None:
    """Refuse a line that begins like a token and is none of this key or of an earlier one."""
    if not is_token_line(line) or ("." in line and not subjects):
        raise InputError(
            f"{where}: begins like a token but is none",
            "if the line was cut short: `git checkout -- data/forget_list.txt` takes the "
            "last committed list",
            facts=where,
        )
    if latest_epoch(line) > epoch:
        raise InputError(
            f"{where}: a token of a later key: the key was rotated on another branch, or the "
            "rotation was undone",
            "merge the branch that rotated the key, or put its params.yaml back: a line cannot be "
            "brought to an earlier key",
            facts=where,
        )


def parse_without_key(content: bytes, epochs: Epochs = FIRST) -> tuple[ForgetList, int]:
    """Read the bytes of a list where there is no key: lines of tokens alone.

    Parameters
    ----------
    content
        The file.
    epochs
        What the request log says of the key's rotations.

    Returns
    -------
    ForgetList
        The lines that begin like tokens.
    int
        How many lines a person wrote, or are of an earlier key and cannot be brought forward; they
        are left out.

    Raises
    ------
    InputError
        If the list holds conflict markers of git.
    """
    refuse_conflict(content)
    lines = {line.strip() for line in content.decode("utf-8-sig", "replace").split("\n")} - {""}
    tokens: set[str] = set()
    left_out: set[str] = set()
    others = 0
    for line in lines:
        named = line.removesuffix(LEFT_OUT)
        is_token = line.startswith(PREFIX) if epochs.number == 1 else is_token_line(named)
        present = epochs.present(named) if is_token else None
        if present is None:
            others += 1
        else:
            (left_out if named != line else tokens).add(present)
    digest = hashlib.sha256(content).hexdigest()
    placed = tuple(sorted(tokens))
    return ForgetList(digest, placed, left_out=frozenset(left_out), epochs=epochs), others


def refuse_conflict(content: bytes, name: str = "data/forget_list.txt") -> None:
    """Refuse a list with conflict markers of git in it: every command would hash them as ids.

    Parameters
    ----------
    content, name
        The file, and what the error calls it.

    Raises
    ------
    InputError
        That names the first of them.
    """
    if found := _CONFLICT.search(content):
        number = content.count(b"\n", 0, found.start()) + 1
        where = Facts(file=name, line=number)
        raise InputError(
            f"{where}: a conflict marker of git",
            "keep the lines of both sides and delete only the marker lines: no request may be lost",
            facts=where,
        )


def text_lines(content: bytes, name: str) -> list[str]:
    """Return the lines of a text file unchanged, without line ends.

    Raises
    ------
    InputError
        If `content` is not UTF-8 or holds a NUL.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text", facts=Facts(file=name)) from None
    if "\0" in text:
        raise InputError(f"{name} holds a NUL byte", facts=Facts(file=name))
    # Not splitlines(): an id may hold a form feed or a line separator of Unicode.
    return [line.removesuffix("\r") for line in text.split("\n")]
