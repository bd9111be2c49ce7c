"""Forget requests: finding the rows that are meant, and adding them to the list, all or nothing."""

import re
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from unlearn.stages.context import Context, present_epoch
from unlearn.stages.dvc.command import running_reader
from unlearn.stages.dvc.pipeline import reads_suppressed
from unlearn.stages.errors import BusyError, InputError
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.deleted import put_back_entries
from unlearn.stages.ledger.hand_written import check_hand_written, resolved_lines
from unlearn.stages.ledger.log import (
    NO_DETAILS,
    NO_FILING,
    Details,
    EntryKind,
    Filing,
    Log,
    new_entry,
    read_log,
)
from unlearn.stages.ledger.lookup import KnownTokens, look_in_canaries
from unlearn.stages.ledger.suppressed import (
    read_suppressed,
    settle_suppressed,
    settled,
    write_suppressed,
)
from unlearn.stages.ledger.suppressed_contacts import change_contacts
from unlearn.stages.ledger.transaction import Change, apply_change, changed_list, complete_change
from unlearn.stages.project.locks import PATIENCE, exclusive
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.deadlines import check_received, received_today
from unlearn.stages.requests.id_file import Wanted, hints
from unlearn.stages.requests.older_lines import bring_forward
from unlearn.stages.requests.resolving import Resolved, resolve
from unlearn.stages.rows.forget_list import LEFT_OUT, ForgetList
from unlearn.stages.rows.tokens import Kind

_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}")
_POLL = 0.1

#: What happens to ids that the dataset does not have.
Unknown = Literal["refuse", "skip", "suppress"]

#: How many unknown ids an error points to.
_SHOWN = 5


def add_request(
    context: Context,
    wanted: Wanted,
    *,
    ticket: str | None = None,
    filing: Filing = NO_FILING,
    unknown: Unknown = "refuse",
    items: Mapping[str, int] = NO_DETAILS.items,
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
    items
        Entries of another system's list that people were found for, as the log names them.
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
            log = read_log(project, context.key)
            also = _not_logged(log, ticket, filing, resolved.listed)
            codes = log.item_codes()
            items = {item: code for item, code in items.items() if codes.get(item) != code}
            # Of lines on the list, those that no entry names as suppressed yet.
            absent = resolved.absent - read_suppressed(project)
            if not reads_suppressed(project):
                absent = frozenset()  # in an older project, their rows go to the forget set
            also |= {line for line in resolved.listed if line.removesuffix(LEFT_OUT) in absent}
            if resolved.added or also or items:
                write_change(
                    project,
                    kind,
                    added=resolved.added,
                    also=also,
                    details=Details(absent, items),
                    ticket=ticket,
                    filing=filing,
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
    details: Details = NO_DETAILS,
    ticket: str | None = None,
    filing: Filing = NO_FILING,
) -> None:
    """Change the list and log the change; the caller holds the lock of the list.

    Parameters
    ----------
    project, kind, ticket, filing
        The project, and what the log says of the change.
    added, removed
        Lines of the list, as memory has them; raw ids as they are in the file.
    also
        Lines that stay on the list, and that the request names as well.
    details
        What else the log says about these lines.
    """
    check_anchor()
    log = read_log(project)
    written = log.epochs.at(present_epoch(project)).written
    added, removed = (tuple(sorted(map(written, lines))) for lines in (added, removed))
    also = tuple(map(written, also))
    details = replace(details, absent=frozenset(map(written, details.absent)))
    if kind not in ("restore", "extend"):
        filing = _dated(filing)
    after = changed_list(project.forget_list.read_bytes(), added, removed)
    named = removed if kind == "restore" else {*added, *also}
    entry = new_entry(log, kind, named, after, ticket, filing, details=details)
    apply_change(project, Change(added=added, removed=removed, entry=entry))
    write_anchor(read_log(project))


def _dated(filing: Filing) -> Filing:
    """Return a filing with today, where that is before the day that the entry's time has in UTC."""
    day = received_today()
    is_before = filing.received is None and day < datetime.now(UTC).date()
    return filing._replace(received=day) if is_before else filing


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
    """Complete an interrupted request, and replace raw ids and lines of earlier keys in the list.

    data/suppressed.txt becomes what the log says.

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
    found = context.read_list()
    is_token_list = found.by_hand == 0 and not found.older
    if not project.journal.exists() and is_token_list and _settled(project):
        return 0
    with ExitStack() as stack:
        hold_list(project, stack)
        forget_list = context.read_list()
        replace_hand_written(context, forget_list)
        settle_suppressed(project, read_log(project))
        if not project.suppressed.is_file() and reads_suppressed(project):
            write_suppressed(project, ())  # DVC wants the file of a dependency
    return forget_list.by_hand


def _settled(project: Project) -> bool:
    """Return whether data/suppressed.txt is there, and what the log says."""
    if not project.suppressed.is_file():
        return False
    return read_suppressed(project) == settled(project, read_log(project))


def replace_hand_written(context: Context, forget_list: ForgetList) -> None:
    """Replace raw ids and lines of earlier keys; the caller holds the lock of the list.

    Raises
    ------
    InputError
        If a line matches no row; none is replaced then.
    """
    added, removed = resolved_lines(context, forget_list)
    if added:
        filing = Filing(regime=context.params.requests.regime)
        write_change(context.project, "hand-written", added=added, removed=removed, filing=filing)
    if forget_list.older:
        bring_forward(context, forget_list)


def put_back_lost(context: Context) -> int:
    """Put every line back that was on the list, and that no restore took back.

    Entries of the log that left data/requests come back as well, as they were.

    Returns
    -------
    int
        How many lines there were, those of contact data among them.
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
        change_contacts(context, ledger.lost_contacts, ())
    return len(marked) + len(ledger.lost_contacts)
