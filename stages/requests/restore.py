"""Taking requests back: the only way for a line to leave the forget list."""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.deleted import log_with_deleted, put_back_entries
from unlearn.stages.ledger.hand_written import check_hand_written
from unlearn.stages.ledger.log import Log
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import (
    check_ticket,
    hold_list,
    replace_hand_written,
    write_change,
)
from unlearn.stages.rows.forget_list import LEFT_OUT, governing_token
from unlearn.stages.rows.tokens import Kind


@dataclass(frozen=True)
class Restored:
    """The lines that a restore takes back.

    Parameters
    ----------
    lines
        As they are in the list, or were before they left it.
    unknown
        Where each id stood that the list does not name.
    missing_entries
        Entries of the log that were deleted, as `Ledger` has them. The entry of the restore has to
        name them: else it would not count as newer.
    """

    lines: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    missing_entries: Mapping[str, list[str]] = field(default_factory=dict)


def find_restored(context: Context, wanted: Wanted, tickets: Collection[str]) -> Restored:
    """Return the lines of the list that ids or tickets name; nothing is changed.

    Parameters
    ----------
    context
        The project.
    wanted
        Raw ids of records and subjects. A subject's id names all lines of that person.
    tickets
        References of requests in the log.

    Raises
    ------
    InputError
        If an id or a ticket names no line, or a record is forgotten with its whole person.
    """
    forget_list = context.read_list()
    check_hand_written(context, forget_list)
    ledger = check_ledger(context.project, context.params.ledger.branch, context)
    # A line that left the list by mistake can be taken back as well: then it is no longer missed.
    present = forget_list.lines | set(ledger.lost)
    log = log_with_deleted(context.project, ledger.missing_entries, context.key)
    lines = _by_ticket(log, tickets, present)
    unknown: list[tuple[Kind, str]] = []
    token_of = context.tokenizer.token
    for raw, where in wanted.subjects:
        subject = token_of("subject", raw)
        found = {line for line in present if governing_token(_bare(line)) == subject}
        lines |= found
        unknown += [] if found else [("subject", where)]
    for raw, where in wanted.records:
        record = token_of("record", raw)
        found = {line for line in present if _bare(line).rpartition(".")[2] == record}
        lines |= found
        unknown += [] if found else [("record", where)]
        for line in found:
            _refuse_part_of_person(_bare(line), present - lines)
    if unknown:
        first = unknown[0][0]
        raise InputError(
            f"{len(unknown)} of {wanted.count} ids are not on the forget list "
            f"({', '.join(where for _, where in unknown[:5])}); nothing was changed",
            facts=wanted.facts(first, [where for kind, where in unknown if kind == first]),
        )
    return Restored(tuple(sorted(lines)), missing_entries=ledger.missing_entries)


def restore(
    context: Context, wanted: Wanted, tickets: Collection[str], ticket: str | None
) -> Restored:
    """Take lines back: remove them from the list, and log it.

    Parameters
    ----------
    context, wanted, tickets
        The project, and what to take back; see `find_restored`.
    ticket
        A reference for the log.

    Raises
    ------
    InputError
        If an id or a ticket names no line, or a record is forgotten with its whole person.
    """
    check_ticket(ticket)
    with ExitStack() as stack:
        hold_list(context.project, stack)
        replace_hand_written(context, context.read_list())
        found = find_restored(context, wanted, tickets)
        if found.lines:
            put_back_entries(context.project, found.missing_entries)
            write_change(context.project, "restore", removed=found.lines, ticket=ticket)
    return found


def _by_ticket(log: Log, tickets: Collection[str], present: set[str]) -> set[str]:
    lines: set[str] = set()
    for ticket in tickets:
        named = [
            entry for entry in log.entries if entry.ticket == ticket and entry.kind != "restore"
        ]
        if not named:
            raise InputError(f"the request log has no request with the ticket {ticket}")
        if any(log.lines_of(entry) is None for entry in named):
            raise InputError(
                f"the log does not say which lines the request {ticket} added: an older version "
                "logged it",
                "name the ids with --ids, --id or --subjects",
            )
        found = {line for entry in named for line in log.lines_of(entry) or ()} & present
        if not found:
            raise InputError(f"no line of the request {ticket} is on the forget list")
        lines |= found
    claims = log.claims()
    kept = {
        line for line in lines if {entry.ticket for entry in claims.get(line, ())} - set(tickets)
    }
    if kept == lines != set():
        raise InputError(
            "other requests name all of these lines as well; nothing was changed",
            "name their tickets too, or the ids: --ids, --id or --subjects",
        )
    return lines - kept


def _refuse_part_of_person(line: str, others: set[str]) -> None:
    subject, dot, _ = line.partition(".")
    if dot and subject in others:
        raise InputError(
            "a record belongs to a person who is forgotten as a whole; nothing was changed",
            "take the person's request back with --subjects or --ticket",
        )


def _bare(line: str) -> str:
    return line.removesuffix(LEFT_OUT)
