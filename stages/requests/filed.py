"""The requests that the log holds: since when, until when, and how far each of them is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from unlearn.stages.audit.status import Standing
from unlearn.stages.config.params import Regime
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import Entry, EntryKind, Filing, Log, read_log
from unlearn.stages.requests.deadlines import TERMS, confirm_by, due_date, today
from unlearn.stages.rows.forget_list import LEFT_OUT

#: `pending` until no model holds its rows, then `applied`; `verified` once a report passes that
#: belongs to these models; `erased` once the copies of its rows are deleted everywhere; `receipted`
#: once there is a receipt as well; `restored` if all of its lines were taken back.
State = Literal["pending", "applied", "verified", "erased", "receipted", "restored"]

#: The states that answer a request. All laws here ask to delete the data, not only to train models
#: without them, so that `verified` is not enough.
ANSWERED: frozenset[State] = frozenset({"erased", "receipted", "restored"})


@dataclass(frozen=True)
class FiledRequest:
    """A request: all entries of the log with one ticket, or one entry without a ticket.

    Parameters
    ----------
    entries
        These entries, oldest first; each of them asks to forget records.
    current
        The lines that no later entry took back, without marks; None if an older version logged
        one of the entries, without its lines, or if they are of an earlier key and cannot be
        brought forward here.
    extended
        Whether the period was extended.
    erased
        Whether a complete erasure came after all of these entries.
    names
        The names of these entries; not of those that an older version logged.
    named
        All lines that the entries name, without marks; None where they are not known.
    absent
        Those of them that were suppressed and that no row had.
    """

    entries: tuple[Entry, ...]
    current: frozenset[str] | None
    extended: bool = False
    erased: bool = False
    names: frozenset[str] = frozenset()
    named: frozenset[str] | None = None
    absent: frozenset[str] = frozenset()

    @property
    def ticket(self) -> str | None:
        """The reference that it was given."""
        return self.entries[0].ticket

    @property
    def kind(self) -> EntryKind:
        """What its first entry is."""
        return self.entries[0].kind

    @property
    def count(self) -> int:
        """How many lines it names."""
        if self.named is None:
            return sum(entry.count for entry in self.entries)
        return len(self.named)

    @property
    def received(self) -> date:
        """The day that was stated last; if none was, that of the first entry."""
        stated = [entry.received for entry in self.entries if entry.received is not None]
        return stated[-1] if stated else self.entries[0].received_on

    @property
    def regime(self) -> Regime | None:
        """The law that was stated last."""
        stated = [entry.regime for entry in self.entries if entry.regime is not None]
        return stated[-1] if stated else None

    @property
    def due(self) -> date | None:
        """The last day for the answer; None if no law was stated."""
        if self.regime is None:
            return None
        return due_date(self.regime, self.received, extended=self.extended)

    @property
    def confirm_by(self) -> date | None:
        """The last day for confirming the receipt; None if nothing asks for it."""
        return None if self.regime is None else confirm_by(self.regime, self.received)

    @property
    def has_rows(self) -> bool:
        """Whether it is about rows that the dataset had, and not only about suppressed people."""
        return self.current is None or not self.current <= self.absent

    def is_answered(self, state: State) -> bool:
        """Return whether a request with this state needs no answer any more.

        Where the dataset had no row of it, there is nothing to delete.
        """
        return state in ANSWERED or not self.has_rows

    def state(self, standing: Standing, receipted: frozenset[str] = frozenset()) -> State:
        """Return how far the request is.

        Parameters
        ----------
        standing
            How far the lines of the forget list are.
        receipted
            Names of entries that there are receipts for.
        """
        if self.current is None:  # the log does not say which lines: the whole list decides
            done = not standing.pending
        elif not self.current and self.count:
            return "restored"
        else:
            done = self.current <= standing.applied_lines
        # A clone without data knows of an erasure by the log alone.
        if self.erased and (done or standing.without_rows is None):
            return "receipted" if self.names and self.names <= receipted else "erased"
        if not done:
            return "pending"
        return "verified" if standing.verified else "applied"

    def due_if_extended(self, today: date) -> date:
        """Return the due date with an extension that begins today.

        Raises
        ------
        InputError
            If there can be none: no law was stated, or it has no extension, the period was extended
            before, or it is over, so that the person can no longer be told in time.
        """
        name = f"the request {self.ticket}"
        if self.regime is None or self.due is None:
            raise InputError(
                f"{name} has no due date", "name its law: `unlearn forget` with --regime"
            )
        if TERMS[self.regime].extended is None:
            raise InputError(f"{name} cannot be extended: {TERMS[self.regime].source}")
        if self.extended:
            raise InputError(f"{name} was extended before, to {self.due}")
        if today > self.due:
            raise InputError(
                f"{name} was due on {self.due}: a period is extended before it ends",
                TERMS[self.regime].source,
            )
        return due_date(self.regime, self.received, extended=True)


def filed_requests(log: Log) -> list[FiledRequest]:
    """Return the requests of a log, in the order of their first entries."""
    groups: dict[str, list[Entry]] = {}
    for number, entry in enumerate(log.entries):
        if entry.is_request:
            key = f"entry {number}" if entry.ticket is None else f"ticket {entry.ticket}"
            groups.setdefault(key, []).append(entry)
    claims = log.claims()
    extended = {entry.ticket for entry in log.entries if entry.kind == "extend"}
    erasures = [
        seen
        for entry, seen in log.erasures()
        if entry.erasure is not None and entry.erasure.complete
    ]
    # Entries of an older log have no names: they are older than every erasure.
    names = {
        key: frozenset(entry.name for entry in entries if entry.lines is not None)
        for key, entries in groups.items()
    }
    return [
        FiledRequest(
            tuple(entries),
            _current(entries, claims, log),
            extended=entries[0].ticket is not None and entries[0].ticket in extended,
            erased=any(names[key] <= seen for seen in erasures),
            names=names[key],
            named=_named(entries, log),
            absent=frozenset().union(*map(log.absent_in, entries)),
        )
        for key, entries in groups.items()
    ]


def _current(
    entries: Iterable[Entry], claims: dict[str, list[Entry]], log: Log
) -> frozenset[str] | None:
    """Return the lines of entries that were not taken back; None if one has no known lines."""
    found = set()
    for entry in entries:
        lines = log.lines_of(entry)
        if lines is None:
            return None
        found |= {
            line.removesuffix(LEFT_OUT)
            for line in lines
            if any(claim is entry for claim in claims.get(line, ()))
        }
    return frozenset(found)


def _named(entries: Iterable[Entry], log: Log) -> frozenset[str] | None:
    """Return all lines of entries; None if one has no known lines."""
    found: set[str] = set()
    for entry in entries:
        if log.lines_of(entry) is None:
            return None
        found |= log.bare_lines_of(entry)
    return frozenset(found)


def due_of(context: Context, ticket: str | None, filing: Filing) -> date | None:
    """Return the due date of a request that is logged now, or would be; None without a law.

    Parameters
    ----------
    context, ticket
        The project, and the request's reference.
    filing
        What is stated about it. An older entry of the ticket tells the rest.
    """
    log = read_log(context.project, context.key)
    filing = filing._replace(regime=filing.regime or context.params.requests.regime)
    older = next(
        (item for item in filed_requests(log) if item.ticket is not None and item.ticket == ticket),
        None,
    )
    if filing.regime is None:
        return None if older is None else older.due
    received = filing.received or (today() if older is None else older.received)
    extended = older is not None and older.extended
    return due_date(filing.regime, received, extended=extended)
