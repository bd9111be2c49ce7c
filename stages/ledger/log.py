"""The request log: one file in git for each entry, below data/requests.

An entry names the entries that were the newest when it was written, so the log is a graph: two
branches that both log a request merge without a conflict. A file's name is the digest of its
content, so that a damaged entry is noticed.
"""

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.config.params import Regime
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.project.files import canonical_json, json_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import LEFT_OUT, render

FOLDER = "data/requests"
#: The log of older projects: one file with a line for each entry, without the lines of the list.
OLD_LOG = "data/requests.jsonl"

_NAME_LENGTH = 32

#: `forget` adds lines for records that the dataset has, `suppress` also for others,
#: `hand-written` replaces raw ids that a person wrote into the list, `restore` takes lines back.
#: `extend` gives the request of a ticket more time. `erase` records where copies of the rows of all
#: requests before it were deleted. `run-now` ends the wait of requests for their batch. `upgrade`
#: names the lines of a list from before this log.
EntryKind = Literal[
    "forget", "suppress", "hand-written", "restore", "extend", "erase", "run-now", "upgrade"
]

#: Fields that entries of older versions do not have. Left out if None, so that names stay the same.
_LATER_FIELDS = ("received", "regime", "erasure", "waiting")

#: Entries that are about requests, and are none themselves.
_ABOUT_REQUESTS = ("restore", "extend", "erase", "run-now")


class Filing(NamedTuple):
    """When a request was received, and the law that it was made under; None if nobody stated it."""

    received: date | None = None
    regime: Regime | None = None

    def or_else(self, other: "Filing") -> "Filing":
        """Return what is stated here and, for what is not, what is stated there."""
        return Filing(self.received or other.received, self.regime or other.regime)


NO_FILING = Filing()


class Entry(BaseModel):
    """One request.

    Parameters
    ----------
    kind
        What it did.
    time
        When it was made: UTC, ISO 8601.
    ticket
        The reference that it was given.
    count, digest
        How many lines of the forget list it names or took back, and the SHA-256 over them.
    lines
        These lines; None in the entries of older logs.
    heads
        Names of the entries that were the newest.
    list_digest
        SHA-256 of the forget list after it; `list` in the file.
    received
        The day when the request was received; None if nobody stated it.
    regime
        The law that it was made under, which gives it a due date; None if there is none.
    erasure
        What became of the copies; None in entries of other kinds.
    waiting
        Names of the entries that waited for their batch; None in entries of other kinds.
    """

    model_config = ConfigDict(frozen=True, strict=True, populate_by_name=True)

    kind: EntryKind = "forget"
    time: str
    ticket: str | None
    count: int
    digest: str
    lines: tuple[str, ...] | None = Field(default=None, strict=False)
    heads: tuple[str, ...] = Field(default=(), strict=False)
    list_digest: str | None = Field(
        default=None, validation_alias="list", serialization_alias="list"
    )
    received: date | None = Field(default=None, strict=False)
    regime: Regime | None = None
    erasure: Erasure | None = None
    waiting: tuple[str, ...] | None = Field(default=None, strict=False)

    @property
    def is_request(self) -> bool:
        """Whether it asks to forget records."""
        return self.kind not in _ABOUT_REQUESTS

    @property
    def received_on(self) -> date:
        """The day when the request was received: the stated one, or that of the entry, in UTC."""
        return self.received or datetime.fromisoformat(self.time).astimezone(UTC).date()

    @property
    def bare_lines(self) -> frozenset[str]:
        """The lines, without the mark of canaries that are in no shard."""
        return frozenset(line.removesuffix(LEFT_OUT) for line in self.lines or ())

    @property
    def content(self) -> bytes:
        """The bytes of the entry's file."""
        return json_bytes(self._value)

    @property
    def name(self) -> str:
        """The entry's name: a part of the digest of its content."""
        return hashlib.sha256(canonical_json(self._value)).hexdigest()[:_NAME_LENGTH]

    @property
    def _value(self) -> dict[str, Any]:
        later = {name for name in _LATER_FIELDS if getattr(self, name) is None}
        return self.model_dump(mode="json", by_alias=True, exclude=later)


@dataclass(frozen=True)
class Log:
    """All entries, oldest first.

    Parameters
    ----------
    entries
        By their times; those of an older log come first.
    """

    entries: tuple[Entry, ...] = ()

    @property
    def by_name(self) -> dict[str, Entry]:
        """The entries that have a file of their own."""
        return {entry.name: entry for entry in self.entries if entry.lines is not None}

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the entries that no other entry names."""
        found = self.by_name
        named = {head for entry in found.values() for head in entry.heads}
        return tuple(sorted(found.keys() - named))

    @property
    def missing(self) -> frozenset[str]:
        """Names of entries that others name, and that are not here."""
        found = self.by_name
        return frozenset(head for entry in found.values() for head in entry.heads) - found.keys()

    def claims(self) -> dict[str, list[Entry]]:
        """Return the requests that name each line, since it was last taken back."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            for line in entry.lines or ():
                if entry.kind == "restore":
                    found.pop(line, None)
                else:
                    found.setdefault(line, []).append(entry)
        return found

    def erased_by(self, names: Collection[str]) -> Entry | None:
        """Return the newest complete erasure after entries; None if there is none.

        Parameters
        ----------
        names
            Names of entries. An erasure covers those that it had seen, and not a line that was
            asked for again later.
        """
        found = self.by_name
        for name, entry in reversed(found.items()):
            if entry.erasure is not None and entry.erasure.complete:
                seen = _ancestors(name, found)
                if seen.issuperset(names):
                    return entry
        return None

    def restored(self) -> frozenset[str]:
        """Return the lines that were taken back, and not asked for again since.

        Where two branches differ about a line, it is not taken back. Lines come without the mark of
        canaries that are in no shard.
        """
        found = self.by_name
        wanted = {
            line for entry in found.values() if entry.kind == "restore" for line in entry.bare_lines
        }
        # Of each line, the entries that name it and that no later entry about it has seen.
        newest: dict[str, set[str]] = {line: set() for line in wanted}
        if wanted:
            for name, entry in found.items():
                for line in wanted & entry.bare_lines:
                    newest[line].add(name)
        named = {name for names in newest.values() for name in names}
        older = {name: _ancestors(name, found) for name in named}
        return frozenset(
            line
            for line, names in newest.items()
            if all(
                found[name].kind == "restore"
                for name in names - {old for name in names for old in older[name]}
            )
        )

    def restored_with(self, contents: Collection[bytes]) -> frozenset[str]:
        """Return the lines that were taken back, by this log and by entries from elsewhere.

        Parameters
        ----------
        contents
            Files of entries. A damaged one is left out.
        """
        restores = any(entry.kind == "restore" for entry in self.entries)
        if not restores and not any(b'"restore"' in content for content in contents):
            return frozenset()  # which is nearly always so, and entries can be many
        return with_entries(self, contents).restored()


def _ancestors(name: str, found: Mapping[str, Entry]) -> set[str]:
    """Return the names of all entries that one had seen, directly or through others."""
    seen: set[str] = set()
    waiting = list(found[name].heads)
    while waiting:
        head = waiting.pop()
        if head not in seen and head in found:
            seen.add(head)
            waiting += found[head].heads
    return seen


def new_entry(
    log: Log,
    kind: EntryKind,
    lines: Iterable[str],
    list_after: bytes,
    ticket: str | None = None,
    filing: Filing = NO_FILING,
    erasure: Erasure | None = None,
) -> Entry:
    """Return an entry for what is done now.

    Parameters
    ----------
    log
        The log that it will be a part of.
    kind, ticket
        What it does, and its reference.
    lines
        The lines of the forget list that it adds or takes back.
    list_after
        The bytes of the list with it.
    filing
        When the request was received, and under which law.
    erasure
        What became of the copies.
    """
    ordered = tuple(sorted(lines))
    return Entry(
        kind=kind,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        ticket=ticket,
        count=len(ordered),
        digest=hashlib.sha256(render(ordered)).hexdigest(),
        lines=ordered,
        heads=log.heads,
        list_digest=hashlib.sha256(list_after).hexdigest(),
        received=filing.received,
        regime=filing.regime,
        erasure=erasure,
    )


def read_log(project: Project) -> Log:
    """Return the project's log.

    Raises
    ------
    InputError
        If an entry is damaged.
    """
    files: dict[str, bytes] = {}
    if project.old_requests.is_file():
        files[OLD_LOG] = project.old_requests.read_bytes()
    if project.requests.is_dir():
        for path in project.requests.glob("[!.]*.json"):
            if not path.is_file():
                continue  # a folder, or a pipe that would never end
            files[f"{FOLDER}/{path.name}"] = path.read_bytes()
    return parse_log(files)


def parse_log(files: Mapping[str, bytes]) -> Log:
    """Return the log that files hold.

    Parameters
    ----------
    files
        Content by path in the project: `data/requests.jsonl`, and files below data/requests.

    Raises
    ------
    InputError
        If an entry is damaged; the message names the file and the line.
    """
    entries = _old_entries(files.get(OLD_LOG, b""))
    own = []
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.parent.as_posix() != FOLDER or path.suffix != ".json":
            continue
        entry = _entry(content, name)
        if entry.name != path.stem or entry.lines is None:
            raise _damaged(name)
        own.append(entry)
    depth = _depths({entry.name: entry for entry in own})
    own.sort(key=lambda entry: (entry.time, depth[entry.name], entry.name))
    return Log((*entries, *own))


def _depths(found: Mapping[str, Entry]) -> dict[str, int]:
    """Return the length of the longest chain of entries that each one had seen."""
    depth: dict[str, int] = {}
    waiting = list(found)
    while waiting:
        name = waiting[-1]
        heads = [head for head in found[name].heads if head in found]
        if unknown := [head for head in heads if head not in depth]:
            waiting += unknown
            continue
        depth[name] = 1 + max((depth[head] for head in heads), default=0)
        waiting.pop()
    return depth


def _entry(content: bytes, name: str) -> Entry:
    try:
        return Entry.model_validate(json.loads(content))
    except (ValueError, ValidationError):
        raise _damaged(name) from None


def with_entries(log: Log, contents: Iterable[bytes]) -> Log:
    """Return a log with more entries, from files; damaged ones are left out."""
    more = []
    for content in contents:
        with contextlib.suppress(InputError):
            more.append(_entry(content, "an entry"))
    return Log((*log.entries, *more))


def is_entry(content: bytes, name: str) -> bool:
    """Return whether a file's content is the whole entry of a name."""
    try:
        return _entry(content, name).name == name
    except InputError:
        return False


def _damaged(name: str) -> InputError:
    return InputError(
        f"{name} is not a whole entry of the request log",
        f"`git checkout -- {name}` takes the committed one; if git has none, restore the file "
        "from a copy: an entry is never to be deleted",
        facts=Facts(file=name),
    )


def _old_entries(content: bytes) -> list[Entry]:
    entries = []
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{OLD_LOG} is not UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)
            known = {name: value[name] for name in ("time", "ticket", "count", "digest")}
            entries.append(Entry.model_validate(known))
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{OLD_LOG}, line {number}: not an entry of the log",
                f"if it was cut short: `git checkout -- {OLD_LOG}` takes the committed log",
                facts=Facts(file=OLD_LOG, line=number),
            ) from None
    return entries
