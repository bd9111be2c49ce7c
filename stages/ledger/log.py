"""The request log: one file in git for each entry, below data/requests.

An entry names the entries that were the newest when it was written, so the log is a graph: two
branches that both log a request merge without a conflict. A file's name is the digest of its
content, so that a damaged entry is noticed.
"""

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.entry import (
    NO_DETAILS,
    NO_FILING,
    Details,
    Entry,
    EntryKind,
    Filing,
)
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.epochs import FIRST, Epochs, epochs_of, is_older
from unlearn.stages.rows.forget_list import LEFT_OUT, render
from unlearn.stages.rows.tokens import Key

__all__ = [
    "FOLDER",
    "NO_DETAILS",
    "NO_FILING",
    "OLD_LOG",
    "Details",
    "Entry",
    "EntryKind",
    "Filing",
    "Log",
    "is_entry",
    "new_entry",
    "parse_log",
    "read_log",
    "with_entries",
]

FOLDER = "data/requests"
#: The log of older projects: one file with a line for each entry, without the lines of the list.
OLD_LOG = "data/requests.jsonl"


@dataclass(frozen=True)
class Log:
    """All entries, oldest first.

    Parameters
    ----------
    entries
        By their times; those of an older log come first.
    epochs
        The present epoch of the project key, and what became of tokens of earlier ones.
    """

    entries: tuple[Entry, ...] = ()
    epochs: Epochs = FIRST

    def lines_of(self, entry: Entry) -> tuple[str, ...] | None:
        """Return the lines of an entry, as memory has them in the present epoch of the key.

        Returns
        -------
        tuple of str or None
            With the mark of canaries that are in no shard. None if the entry does not name its
            lines, or one of them is of an earlier key and cannot be brought forward here.
        """
        if entry.lines is None or self.epochs.number == 1:
            return entry.lines
        found = []
        for line in entry.lines:
            named = line.removesuffix(LEFT_OUT)
            present = self.epochs.present(named)
            if present is None:
                return None
            marked = line != named
            if is_older(named, self.epochs.number):
                marked = present in self.epochs.left_out
            found.append(present + LEFT_OUT if marked else present)
        return tuple(found)

    def bare_lines_of(self, entry: Entry) -> frozenset[str]:
        """Return the same without marks; none where they are not known."""
        return frozenset(line.removesuffix(LEFT_OUT) for line in self.lines_of(entry) or ())

    def absent_in(self, entry: Entry) -> frozenset[str]:
        """Return the lines of an entry that were suppressed and that no row had, without marks."""
        found = map(self.epochs.present, entry.absent or ())
        return frozenset(line for line in found if line is not None)

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

    def item_codes(self) -> dict[str, int]:
        """Return the reply codes of entries of other systems' lists; the newest counts."""
        return {item: code for entry in self.entries for item, code in (entry.items or {}).items()}

    def claims(self) -> dict[str, list[Entry]]:
        """Return the requests that name each line, since it was last taken back."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            for line in self.lines_of(entry) or ():
                if entry.kind == "restore":
                    found.pop(line, None)
                else:
                    found.setdefault(line, []).append(entry)
        return found

    def erasures(self) -> list[tuple[Entry, frozenset[str]]]:
        """Return the erasures, complete or not, with the names of the entries that each had seen.

        The oldest is the first.
        """
        found = self.by_name
        return [
            (entry, frozenset(_ancestors(name, found)))
            for name, entry in found.items()
            if entry.erasure is not None
        ]

    def up_to(self, heads: Collection[str]) -> "Log":
        """Return the log as it was when these entries were the newest."""
        found = self.by_name
        seen = set(heads).union(*(_ancestors(head, found) for head in heads if head in found))
        kept = tuple(entry for entry in self.entries if entry.lines is None or entry.name in seen)
        return replace(self, entries=kept)

    def restored(self) -> frozenset[str]:
        """Return the lines that were taken back, and not asked for again since.

        Where two branches differ about a line, it is not taken back. Lines come without the mark of
        canaries that are in no shard.
        """
        found = self.by_name
        wanted = {
            line
            for entry in found.values()
            if entry.kind == "restore"
            for line in self.bare_lines_of(entry)
        }
        # Of each line, the entries that name it and that no later entry about it has seen.
        newest: dict[str, set[str]] = {line: set() for line in wanted}
        if wanted:
            for name, entry in found.items():
                for line in wanted & self.bare_lines_of(entry):
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
    details: Details = NO_DETAILS,
) -> Entry:
    """Return an entry for what is done now.

    Parameters
    ----------
    log
        The log that it will be a part of.
    kind, ticket
        What it does, and its reference.
    lines
        The lines of the forget list that it adds or takes back, as they are in the file.
    list_after
        The bytes of the list with it.
    filing
        When the request was received, and under which law.
    erasure
        What became of the copies.
    details
        What else it says about the lines.
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
        absent=tuple(sorted(details.absent)) or None,
        items=dict(sorted(details.items.items())) or None,
    )


def read_log(project: Project, key: Key | None = None) -> Log:
    """Return the project's log.

    Parameters
    ----------
    project
        The project.
    key
        The project key, for lines of earlier keys of which no rotation says what they are now.

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
    log = parse_log(files)
    return replace(log, epochs=log.epochs.with_key(key))


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
    return Log((*entries, *own), _epochs(own))


def _epochs(entries: Iterable[Entry]) -> Epochs:
    """Return what entries say of the epochs of the key."""
    entries = list(entries)
    # All lines of an entry were written in one epoch.
    lines = (entry.lines[0] for entry in entries if entry.lines)
    return epochs_of((entry.rotation for entry in entries if entry.rotation is not None), lines)


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
    return replace(log, entries=(*log.entries, *more))


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
