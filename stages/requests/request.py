"""Forget requests: finding the rows that are meant, and adding them to the list, all or nothing."""

import re
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

from unlearn.stages.context import Context
from unlearn.stages.dvc.command import running_reader
from unlearn.stages.errors import BusyError, InputError
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.deleted import put_back_entries
from unlearn.stages.ledger.hand_written import check_hand_written, resolved_lines
from unlearn.stages.ledger.log import NO_FILING, EntryKind, Filing, Log, new_entry, read_log
from unlearn.stages.ledger.lookup import KnownTokens, find_tokens, look_in_canaries
from unlearn.stages.ledger.transaction import Change, apply_change, changed_list, complete_change
from unlearn.stages.project.locks import PATIENCE, exclusive
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.requests.deadlines import check_received
from unlearn.stages.requests.id_file import Wanted, hints
from unlearn.stages.rows.forget_list import LEFT_OUT, ForgetList, place_of_line
from unlearn.stages.rows.tokens import Kind

_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}")
_POLL = 0.1

#: What happens to ids that the dataset does not have.
Unknown = Literal["refuse", "skip", "suppress"]

#: How many unknown ids an error points to.
_SHOWN = 5


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
    listed
        Lines that were on the list, of the ids in `already`.
    unknown_ids
        The unknown ids with their kind and position; never printed.
    unlabelled
        How many ids in `added` have rows without a class only, which no model is trained on.
    """

    added: tuple[str, ...]
    already: int
    unknown: tuple[str, ...]
    shards: tuple[str, ...]
    listed: tuple[str, ...] = field(default=(), compare=False)
    unknown_ids: tuple[tuple[Kind, str, str], ...] = field(default=(), compare=False, repr=False)
    unlabelled: int = field(default=0, compare=False)


def resolve(
    context: Context, wanted: Wanted, forget_list: ForgetList, *, suppress: bool = False
) -> Resolved:
    """Turn raw ids into new lines for the list.

    Parameters
    ----------
    context, wanted, forget_list
        The project, the ids, and the list.
    suppress
        Whether ids that the dataset does not have become lines as well.

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
    listed_records: dict[str, set[str]] = {}
    for line in on_list:
        listed_records.setdefault(line.rpartition(".")[2], set()).add(line)
    listed: set[str] = set()
    added: set[str] = set()
    left_out: set[str] = set()
    already = 0
    unknown: list[tuple[Kind, str, str]] = []
    for token, (raw, where) in subjects.items():
        if token in on_list:
            already += 1
            listed.add(token)
        elif token in known.subjects:
            (left_out if token in known.left_out else added).add(token)
        else:
            unknown.append(("subject", raw, where))
            added |= {token} if suppress else set()
    for token, (raw, where) in records.items():
        subject = known.subject_of.get(token)
        line = token if subject is None else f"{subject}.{token}"
        # A record of a person on the list gets its line too: A then B is B then A, to the byte.
        if token in listed_records:
            already += 1
            listed |= listed_records[token]
        elif token in known.subject_of:
            (left_out if token in known.left_out else added).add(line)
        else:
            unknown.append(("record", raw, where))
            added |= {token} if suppress else set()
    in_no_shard = {line for line in added if line.rpartition(".")[2] in known.unlabelled}
    return Resolved(
        added=tuple(sorted({*added, *(line + LEFT_OUT for line in left_out)})),
        already=already,
        unknown=tuple(where for _, _, where in unknown),
        shards=tuple(touched_by(context, added - in_no_shard)),
        listed=tuple(
            sorted(line + (LEFT_OUT if line in forget_list.left_out else "") for line in listed)
        ),
        unknown_ids=tuple(unknown),
        unlabelled=len(in_no_shard),
    )


def _tokenized(
    context: Context, kind: Kind, ids: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Return each id and its position by its token; a repeated id counts once."""
    found: dict[str, tuple[str, str]] = {}
    for raw, where in ids:
        found.setdefault(context.tokenizer.token(kind, raw), (raw, where))
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
    filing: Filing = NO_FILING,
    unknown: Unknown = "refuse",
    dry_run: bool = False,
) -> Resolved:
    """Put a request on the forget list and into the request log.

    Waits for another request, and while a running stage reads the list. Lines that a person wrote
    into the list become tokens.

    Parameters
    ----------
    context, wanted
        The project, and the ids.
    ticket
        One opaque word for the log.
    filing
        When the request was received, and under which law. Without a law, it is that of
        params.yaml.
    unknown
        What happens to ids that the dataset does not have: the request is refused, they are
        skipped, or they are put on the list all the same.
    dry_run
        Only compute the result.

    Raises
    ------
    InputError
        If an id is unknown or can be in no row, the ticket is not one plain word, the day is in
        the future, or a line that a person wrote into the list matches no row.
    BusyError
        If the list stayed in use.
    """
    project = context.project
    check_ticket(ticket)
    check_received(filing.received)
    filing = filing._replace(regime=filing.regime or context.params.requests.regime)
    with ExitStack() as stack:
        if not dry_run:
            hold_list(project, stack)
        forget_list = context.read_list()
        check_hand_written(context, forget_list)
        if unknown == "suppress":
            _refuse_impossible(context, wanted)
        resolved = resolve(context, wanted, forget_list, suppress=unknown == "suppress")
        if resolved.unknown and unknown == "refuse":
            first = resolved.unknown_ids[0][0]
            raise InputError(
                _unknown_message(resolved, wanted),
                *hints(context, resolved.unknown_ids),
                "--ignore-unknown skips them; --suppress lists them all the same, so that rows "
                "with these ids are forgotten whenever they appear",
                facts=wanted.facts(
                    first, [where for kind, _, where in resolved.unknown_ids if kind == first]
                ),
            )
        if not dry_run:
            replace_hand_written(context, forget_list)
        if not dry_run:
            kind: EntryKind = "suppress" if unknown == "suppress" else "forget"
            also = _not_logged(read_log(project), ticket, filing, resolved.listed)
            if resolved.added or also:
                write_change(
                    project, kind, added=resolved.added, also=also, ticket=ticket, filing=filing
                )
    return resolved


def _not_logged(log: Log, ticket: str | None, filing: Filing, listed: Iterable[str]) -> set[str]:
    """Return the lines on the list that no entry of this request names with these dates.

    They are logged with it: to take another request back must not train on them again, and a due
    date must not be lost.
    """
    if ticket is None and filing == NO_FILING:
        return set()
    claims = log.claims()
    return {
        line
        for line in listed
        if not any(
            entry.ticket == ticket
            and filing.received in (None, entry.received)
            and filing.regime in (None, entry.regime)
            for entry in claims.get(line, ())
        )
    }


def _refuse_impossible(context: Context, wanted: Wanted) -> None:
    """Refuse to suppress an id that no row can ever have: it would stop nobody.

    Raises
    ------
    InputError
        If the ids of a column are whole numbers, and one of the request's is written otherwise.
    """
    rules = context.tokenizer.rules
    kinds: tuple[tuple[Kind, Iterable[tuple[str, str]]], ...] = (
        ("record", wanted.records),
        ("subject", wanted.subjects),
    )
    for kind, ids in kinds:
        for raw, where in ids:
            if not rules.accepts(kind, raw):
                setting = "id_type" if kind == "record" else "subject_type"
                raise InputError(
                    f"{where}: not a whole number as the dataset writes it, so that no row can "
                    "ever have this id; nothing was changed",
                    f"dataset.{setting} in params.yaml is integer: without leading zeros, signs "
                    "and spaces",
                    facts=wanted.facts(kind, [where]),
                )


def check_ticket(ticket: str | None) -> None:
    """Raise an InputError if a ticket is not one plain word."""
    if ticket is not None and _TICKET.fullmatch(ticket) is None:
        raise InputError("--ticket takes one word of letters, digits and ._:/#-, 64 at most")


def write_change(
    project: Project,
    kind: EntryKind,
    *,
    added: Iterable[str] = (),
    removed: Iterable[str] = (),
    also: Iterable[str] = (),
    ticket: str | None = None,
    filing: Filing = NO_FILING,
) -> None:
    """Change the list and log the change; the caller holds the lock of the list.

    Parameters
    ----------
    project, kind, ticket, filing
        The project, and what the log says of the change.
    added, removed
        Lines of the list, as they are in the file.
    also
        Lines that stay on the list, and that the request names as well.
    """
    check_anchor()
    added, removed = tuple(sorted(added)), tuple(sorted(removed))
    log = read_log(project)
    after = changed_list(project.forget_list.read_bytes(), added, removed)
    named = removed if kind == "restore" else {*added, *also}
    entry = new_entry(log, kind, named, after, ticket, filing)
    apply_change(project, Change(added=added, removed=removed, entry=entry))
    write_anchor(read_log(project))


def _unknown_message(resolved: Resolved, wanted: Wanted) -> str:
    more = len(resolved.unknown) > _SHOWN
    shown = ", ".join(resolved.unknown[:_SHOWN]) + (", ..." if more else "")
    verb = "is" if len(resolved.unknown) == 1 else "are"
    ids = "id" if wanted.count == 1 else "ids"
    return (
        f"{len(resolved.unknown)} of {wanted.count} {ids} {verb} not in the dataset ({shown}); "
        "nothing was changed"
    )


def hold_list(project: Project, stack: ExitStack) -> None:
    """Take the list's lock at a moment when no running stage reads the list.

    DVC hashes the list when a stage that reads it has ended: a line added before that would be
    recorded as applied. A change that a kill interrupted is completed.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        patience = max(0.0, deadline - time.monotonic())
        lock = exclusive(project.lock_file("forget-list"), "another run", patience)
        stack.enter_context(lock)
        if running_reader(project, project.forget_list) is None:
            complete_change(project)
            return
        # The stage may be waiting for this very lock.
        stack.pop_all().close()
        if time.monotonic() > deadline:
            raise BusyError(
                f"a stage still reads the forget list after {PATIENCE:.0f} s; nothing was changed",
                "try again when the run has ended",
            )
        time.sleep(_POLL)


def settle_list(context: Context) -> int:
    """Complete an interrupted request, and replace raw ids in the list by tokens.

    Returns
    -------
    int
        How many lines a person had written.

    Raises
    ------
    InputError
        If one of these lines matches no row; none is replaced then.
    """
    project = context.project
    if not project.journal.exists() and context.read_list().by_hand == 0:
        return 0
    with ExitStack() as stack:
        hold_list(project, stack)
        forget_list = context.read_list()
        replace_hand_written(context, forget_list)
    return forget_list.by_hand


def replace_hand_written(context: Context, forget_list: ForgetList) -> None:
    """Replace raw ids in the list by tokens; the caller holds the lock of the list.

    Raises
    ------
    InputError
        If a line matches no row; none is replaced then.
    """
    added, removed = resolved_lines(context, forget_list)
    if added:
        write_change(context.project, "hand-written", added=added, removed=removed)


def put_back_lost(context: Context) -> int:
    """Put every line back that was on the list, and that no restore took back.

    Entries of the log that left data/requests come back as well, as they were.

    Returns
    -------
    int
        How many lines there were.
    """
    project = context.project
    with ExitStack() as stack:
        hold_list(project, stack)
        check_hand_written(context, context.read_list())
        ledger = check_ledger(project, context.params.ledger.branch, context)
        lost = [*ledger.lost, *ledger.ahead, *ledger.behind]
        canaries = KnownTokens()
        records = {line.rpartition(".")[2] for line in lost}
        look_in_canaries(context, records, records, canaries)
        marked = [
            line + (LEFT_OUT if line.rpartition(".")[2] in canaries.left_out else "")
            for line in lost
        ]
        put_back_entries(project, ledger.missing_entries)
        if marked:
            write_change(project, "forget", added=marked)
    return len(marked)
