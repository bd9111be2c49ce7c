"""Forget requests: finding whose rows are meant, and adding them to the list, all or nothing."""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearn.stages.context import Context
from unlearn.stages.dvc.command import running_reader
from unlearn.stages.errors import BusyError, InputError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.locks import PATIENCE, exclusive
from unlearn.stages.project.paths import CANARIES, HOLDOUT, Project
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.forget_list import LEFT_OUT, ForgetList, place_of_line, render, text_lines
from unlearn.stages.rows.identity import TokenColumns, dataset_tokens
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, read_shard
from unlearn.stages.rows.tokens import Kind, check_raw_id

_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}")
_POLL = 0.1

#: How many unknown ids an error points to.
_SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """Raw ids that a request names, each with where it was read."""

    records: tuple[tuple[str, str], ...] = ()
    subjects: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        """Ids in all, each counted once."""
        return len({raw for raw, _ in self.records}) + len({raw for raw, _ in self.subjects})


@dataclass(frozen=True)
class Resolved:
    """The result of a request.

    Parameters
    ----------
    added
        New lines for the list.
    already
        How many ids were on the list, by themselves or through their subject.
    unknown
        Where each id stood that the dataset does not have.
    shards
        Shards that the new lines touch.
    """

    added: tuple[str, ...]
    already: int
    unknown: tuple[str, ...]
    shards: tuple[str, ...]


@dataclass
class KnownTokens:
    """Which of the tokens in question the data holds.

    Parameters
    ----------
    subject_of
        By record token: the subject's token, or None where the dataset names no subjects.
    subjects
        Subject tokens that were found.
    left_out
        Those of both that belong to canaries that no model was trained on.
    """

    subject_of: dict[str, str | None] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)


def read_ids(content: bytes, name: str) -> list[tuple[str, str]]:
    """Return the ids in a file, one per line, each with its position.

    Blank lines, CRLF and a byte-order mark are fine.

    Raises
    ------
    InputError
        If there is none, or the file is not UTF-8 text, or an id begins like a token.
    """
    found = []
    for number, line in enumerate(text_lines(content, name), start=1):
        if line != "":
            check_raw_id(line, f"{name}, line {number}")
            found.append((line, f"line {number}"))
    if not found:
        raise InputError(f"{name} holds no ids")
    return found


def find_tokens(context: Context, records: set[str], subjects: set[str]) -> KnownTokens:
    """Look tokens up in data/shards, and what is not there in dataset and canaries themselves.

    Raises
    ------
    InputError
        If neither data/shards nor the dataset is there to ask.
    """
    known = KnownTokens()
    dataset = context.params.dataset
    project = context.project
    names = [*context.params.sharding.shards, HOLDOUT]
    if not context.has_subjects and dataset.held_out is None:
        names = sorted({place_of_line(token, context.params.sharding).shard for token in records})
    present = [name for name in names if project.shard_file(name).is_file()]
    for name in present:
        _note(_tokens_in_shard(context, name), records, subjects, known)
    _look_in_canaries(context, records, subjects, known)
    if records <= known.subject_of.keys() and subjects <= known.subjects:
        return known
    path = project.root / dataset.path
    if path.exists():
        for tokens in dataset_tokens(path, dataset, context.tokenizer):
            _note(tokens, records, subjects, known)
        if dataset.held_out is not None and (project.root / dataset.held_out).exists():
            named = dataset.model_copy(update={"path": dataset.held_out})
            for tokens in dataset_tokens(project.root / named.path, named, context.tokenizer):
                _note(tokens, records, subjects, known)
    elif not project.shards.is_dir():
        raise InputError(
            f"neither data/shards nor {dataset.path} is here to look ids up in",
            "fetch them with `dvc pull`",
        )
    return known


def _tokens_in_shard(context: Context, name: str) -> TokenColumns:
    columns = [RECORD, SUBJECT] if context.has_subjects else [RECORD]
    path = context.project.shard_file(name)
    rows = read_shard(path, f"data/shards/{path.name}", columns).rows
    subjects = rows[SUBJECT].to_pylist() if context.has_subjects else None
    return TokenColumns(rows[RECORD].to_pylist(), subjects)


def _look_in_canaries(
    context: Context, records: set[str], subjects: set[str], known: KnownTokens
) -> None:
    """Look among the canaries: those in data/shards, and those not there yet."""
    dataset = context.params.dataset
    if dataset.canaries is None:
        return
    found = []
    if context.project.shard_file(CANARIES).is_file():
        found.append(_tokens_in_shard(context, CANARIES))
    if (path := context.project.root / dataset.canaries).exists():
        named = dataset.of_any_type(dataset.canaries)
        found += dataset_tokens(path, named, context.tokenizer)
    for tokens in found:
        _note(tokens, records, subjects, known)
        for record, governing in zip(tokens.records, tokens.governing, strict=True):
            if (record in records or governing in subjects) and not coin(context.key, record):
                known.left_out |= {record, governing}


def _note(found: TokenColumns, records: set[str], subjects: set[str], known: KnownTokens) -> None:
    if found.subjects is None:
        known.subject_of.update(dict.fromkeys(records.intersection(found.records)))
        return
    for record, subject in zip(found.records, found.subjects, strict=True):
        if record in records:
            known.subject_of[record] = subject
        if subject in subjects:
            known.subjects.add(subject)


def resolve(context: Context, wanted: Wanted, forget_list: ForgetList) -> Resolved:
    """Turn raw ids into new lines for the list.

    Raises
    ------
    InputError
        If subjects are given and the dataset has none.
    """
    if wanted.subjects and not context.has_subjects:
        raise InputError(
            "params.yaml names no subject column, so a person cannot be looked up",
            "set dataset.subject, or request the records by id",
        )
    records = _tokenized(context, "record", wanted.records)
    subjects = _tokenized(context, "subject", wanted.subjects)
    known = find_tokens(context, set(records), set(subjects))
    on_list = frozenset(forget_list.tokens) | forget_list.left_out
    # A record without rows in the dataset is still found by its line, but not by its subject.
    listed_records = {line.rpartition(".")[2] for line in on_list}
    added: set[str] = set()
    left_out: set[str] = set()
    already = 0
    unknown = []
    for token, where in subjects.items():
        if token in on_list:
            already += 1
        elif token in known.subjects:
            (left_out if token in known.left_out else added).add(token)
        else:
            unknown.append(where)
    for token, where in records.items():
        subject = known.subject_of.get(token)
        line = token if subject is None else f"{subject}.{token}"
        # A record of a person on the list gets its line too: A then B is B then A, to the byte.
        if token in listed_records:
            already += 1
        elif token in known.subject_of:
            (left_out if token in known.left_out else added).add(line)
        else:
            unknown.append(where)
    return Resolved(
        added=tuple(sorted({*added, *(line + LEFT_OUT for line in left_out)})),
        already=already,
        unknown=tuple(unknown),
        shards=tuple(touched_by(context, added)),
    )


def _tokenized(context: Context, kind: Kind, ids: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the position of each id by its token; a repeated id counts once."""
    found: dict[str, str] = {}
    for raw, where in ids:
        found.setdefault(context.tokenizer.token(kind, raw), where)
    return found


def touched_by(context: Context, lines: Iterable[str]) -> list[str]:
    """Return the shards that these lines of the list name; the holdout is none."""
    found = {place_of_line(line, context.params.sharding).shard for line in lines}
    return sorted(found - {HOLDOUT})


def add_request(
    context: Context,
    wanted: Wanted,
    *,
    ticket: str | None = None,
    ignore_unknown: bool = False,
    dry_run: bool = False,
) -> Resolved:
    """Put a request on the forget list and into the request log.

    Waits for another request, and while a running stage reads the list.

    Parameters
    ----------
    context, wanted
        The project, and the ids.
    ticket
        One opaque word for the log.
    ignore_unknown
        Count ids that the dataset does not have, instead of refusing the request.
    dry_run
        Only compute the result.

    Raises
    ------
    InputError
        If an id is unknown, or the ticket is not one plain word.
    BusyError
        If the list stayed in use.
    """
    project = context.project
    if ticket is not None and _TICKET.fullmatch(ticket) is None:
        raise InputError("--ticket takes one word of letters, digits and ._:/#-, 64 at most")
    with ExitStack() as stack:
        if not dry_run:
            _hold_list(project, stack)
        forget_list = context.read_list()
        resolved = resolve(context, wanted, forget_list)
        if resolved.unknown and not ignore_unknown:
            raise InputError(_unknown_message(resolved, wanted), "--ignore-unknown skips them")
        if resolved.added and not dry_run:
            lines = _placed(context, forget_list) | set(resolved.added)
            write_bytes(project.forget_list, render(lines))
            _log_request(project, resolved.added, ticket)
    return resolved


def _unknown_message(resolved: Resolved, wanted: Wanted) -> str:
    more = len(resolved.unknown) > _SHOWN
    shown = ", ".join(resolved.unknown[:_SHOWN]) + (", ..." if more else "")
    verb = "is" if len(resolved.unknown) == 1 else "are"
    ids = "id" if wanted.count == 1 else "ids"
    return (
        f"{len(resolved.unknown)} of {wanted.count} {ids} {verb} not in the dataset ({shown}); "
        "nothing was changed"
    )


def _hold_list(project: Project, stack: ExitStack) -> None:
    """Take the list's lock at a moment when no running stage reads the list.

    DVC hashes the list when a stage that reads it has ended: a line added before that would be
    recorded as applied.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        patience = max(0.0, deadline - time.monotonic())
        lock = exclusive(project.lock_file("forget-list"), "another run", patience)
        stack.enter_context(lock)
        if running_reader(project, project.forget_list) is None:
            return
        # The stage may be waiting for this very lock.
        stack.pop_all().close()
        if time.monotonic() > deadline:
            raise BusyError(
                f"a stage still reads the forget list after {PATIENCE:.0f} s; nothing was changed",
                "try again when the run has ended",
            )
        time.sleep(_POLL)


def _log_request(project: Project, added: Sequence[str], ticket: str | None) -> None:
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "ticket": ticket,
        "count": len(added),
        "digest": hashlib.sha256(render(added)).hexdigest(),
    }
    before = project.requests.read_bytes() if project.requests.is_file() else b""
    write_bytes(project.requests, before + json.dumps(entry).encode() + b"\n")


def read_requests(path: Path) -> list[dict[str, Any]]:
    """Return the log's entries in the order in which they were made.

    Raises
    ------
    InputError
        If a line is not an entry.
    """
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            entries.append({name: entry[name] for name in ("time", "ticket", "count", "digest")})
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"data/requests.jsonl, line {number}: not an entry of the log"
            ) from None
    return entries


def rewrite_by_hand(context: Context) -> int:
    """Replace raw ids that a person wrote into the list by tokens; return how many there were."""
    project = context.project
    if context.read_list().by_hand == 0:
        return 0
    with ExitStack() as stack:
        _hold_list(project, stack)
        forget_list = context.read_list()
        write_bytes(project.forget_list, render(_placed(context, forget_list)))
    return forget_list.by_hand


def _placed(context: Context, forget_list: ForgetList) -> set[str]:
    """Return the list's lines, each raw record id with its subject before it, if data names it."""
    known = KnownTokens()
    if forget_list.unplaced:
        known = find_tokens(context, set(forget_list.unplaced), set())
    if forget_list.by_hand:
        tokens = set(forget_list.tokens)
        _look_in_canaries(context, tokens, tokens, known)
    named = {
        record: f"{subject}.{record}" for record, subject in known.subject_of.items() if subject
    }
    lines = set(forget_list.lines)
    for line in forget_list.tokens:
        lines.discard(line)
        lines.add(named.get(line, line) + (LEFT_OUT if line in known.left_out else ""))
    return lines
