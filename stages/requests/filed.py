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
from unlearn.stages.ledger.newest_erasures import is_erased
from unlearn.stages.requests.deadlines import TERMS, confirm_by, due_date, received_today
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
        Whether the newest erasure after all of these entries left nothing pending.
    names
        The names of these entries; not of those that an older version logged.
    named
        All lines that the entries name, without marks; None where they are not known.
    absent
        Those of them that were suppressed and that no row had.
    live
        The entries that were not wholly taken back since; none if all were.
    usual_regime
        The law of requests that name none.
    """

    entries: tuple[Entry, ...]
    current: frozenset[str] | None
    extended: bool = False
    erased: bool = False
    names: frozenset[str] = frozenset()
    named: frozenset[str] | None = None
    absent: frozenset[str] = frozenset()
    live: tuple[Entry, ...] = ()
    usual_regime: Regime | None = None

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
        """The earliest day of its entries: a later one must not move the due date."""
        return min(entry.received_on for entry in self.live or self.entries)

    @property
    def regime(self) -> Regime | None:
        """The law that was stated last; if none was, that of params.yaml."""
        stated = [entry.regime for entry in self.entries if entry.regime is not None]
        return stated[-1] if stated else self.usual_regime

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

    def is_answered(self, state: State, standing: Standing) -> bool:
        """Return whether a request with this state needs no answer any more.

        Where the dataset had no row of it, there is nothing to delete, until the dataset has rows
        of suppressed people: `shard` counts them, and does not tell whose they are.
        """
        return state in ANSWERED or not (self.has_rows or standing.dropped)

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
        # A clone without data knows of an erasure by the log alone. Where the dataset has rows of
        # erased people again, they are to be erased once more.
        if self.erased and not standing.dropped and (done or standing.without_rows is None):
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


def filed_requests(log: Log, regime: Regime | None = None) -> list[FiledRequest]:
    """Return the requests of a log, in the order of their first entries.

    Parameters
    ----------
    log
        The request log.
    regime
        The law of requests that name none: `requests.regime` in params.yaml.
    """
    groups: dict[str, list[Entry]] = {}
    for number, entry in enumerate(log.entries):
        if entry.is_request:
            key = f"entry {number}" if entry.ticket is None else f"ticket {entry.ticket}"
            groups.setdefault(key, []).append(entry)
    claims = log.claims()
    extended = {entry.ticket for entry in log.entries if entry.kind == "extend"}
    erasures = log.erasures()
    # Entries of an older log have no names.
    names = {
        key: frozenset(entry.name for entry in entries if entry.lines is not None)
        for key, entries in groups.items()
    }
    return [
        FiledRequest(
            tuple(entries),
            _current(entries, claims, log),
            extended=entries[0].ticket is not None and entries[0].ticket in extended,
            erased=is_erased(erasures, entries),
            names=names[key],
            named=_named(entries, log),
            absent=frozenset().union(*map(log.absent_in, entries)),
            live=tuple(entry for entry in entries if _is_live(entry, claims, log)),
            usual_regime=regime,
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


def _is_live(entry: Entry, claims: dict[str, list[Entry]], log: Log) -> bool:
    """Return whether a line of an entry was not taken back; also if it has no known lines."""
    lines = log.lines_of(entry)
    return not lines or any(claim is entry for line in lines for claim in claims.get(line, ()))


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
    older = filed_with(context, ticket)
    usual = context.params.requests.regime
    if older is None:
        regime = filing.regime or usual
        return None if regime is None else due_date(regime, filing.received or received_today())
    regime = filing.regime or older.regime
    received = min(filing.received or older.received, older.received)
    return None if regime is None else due_date(regime, received, extended=older.extended)


def filed_with(context: Context, ticket: str | None) -> FiledRequest | None:
    """Return the request of a ticket; None if the log has none."""
    found = filed_requests(read_log(context.project, context.key), context.params.requests.regime)
    return next((one for one in found if ticket is not None and one.ticket == ticket), None)


def refuse_later_day(context: Context, ticket: str | None, received: date | None) -> None:
    """Refuse to state a later day for a request than the log has: its due date would move.

    Parameters
    ----------
    context, ticket
        The project, and the request's reference.
    received
        The day that is stated; None if none is.

    Raises
    ------
    InputError
        If the request was received before this day.
    """
    older = filed_with(context, ticket)
    if older is None or received is None or older.current == frozenset():
        return
    if received > older.received:
        raise InputError(
            f"the request {ticket} was received on {older.received} by the log: --received "
            f"{received} would move its due date; nothing was changed",
            "what came later is a request with a ticket of its own",
            f"if the day in the log is wrong: `unlearn restore --ticket {ticket}`, and ask again",
        )
