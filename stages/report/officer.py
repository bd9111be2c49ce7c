"""What a privacy officer asks: which requests, until when, what is left to do, where copies are."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.report import formatting
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.request_states import Copies, PastErasure, RequestState
from unlearn.stages.requests.filed import State

#: How many requests a page can show and still be read.
_MOST_REQUESTS = 40
#: A table of so many rows is not cut between two pages.
_WHOLE = 12
#: How many of them a sentence names.
_MOST_NAMED = 5

#: What each state means to somebody who does not know the pipeline.
OUTCOMES: dict[State, str] = {
    "pending": "pending: a model may still be trained on its rows",
    "applied": "removed from the models; not verified",
    "verified": "removed from the models, verified; copies are not deleted yet",
    "erased": "erased: removed from the models, and copies deleted",
    "receipted": "erased, with a receipt",
    "restored": "taken back",
}
#: The same in a headline.
_COUNTED: dict[State, str] = {
    "pending": "pending",
    "applied": "not verified",
    "verified": "verified",
    "erased": "erased",
    "receipted": "erased with a receipt",
    "restored": "taken back",
}
_NO_ROWS = "nothing to delete: no row of these people was in the data"


@dataclass(frozen=True)
class RequestRow:
    """One request in the table."""

    ticket: str | None
    received: str
    law: str
    due: str
    extended: bool
    left: str
    outcome: str
    lines: str
    late: bool


@dataclass(frozen=True)
class RequestsView:
    """The requests: what is due first, then the newest."""

    headline: str
    rows: tuple[RequestRow, ...]
    left_out: int

    @property
    def is_long(self) -> bool:
        """Whether the table may be cut between two pages of paper."""
        return len(self.rows) > _WHOLE


def requests(contents: Contents) -> RequestsView:
    """Return the table of requests."""
    states = contents.request_states
    if not states:
        return RequestsView("No request is in the log.", (), 0)
    day = today(contents)
    counts: dict[str, int] = {}
    for state in states:
        name = _COUNTED[state.state] if state.has_rows else "with nothing to delete"
        counts[name] = counts.get(name, 0) + 1
    late = sum(_is_late(state, day) for state in states)
    parts = [f"{count:,} {name}" for name, count in counts.items()]
    headline = f"{formatting.plural(len(states), 'request')}: {', '.join(parts)}"
    headline += f"; {late:,} late." if late else "; none is late."
    newest = list(reversed(states))
    ordered = sorted(newest, key=lambda state: _urgency(state, day))
    return RequestsView(
        headline,
        tuple(_row(state, day) for state in ordered[:_MOST_REQUESTS]),
        max(0, len(states) - _MOST_REQUESTS),
    )


def today(contents: Contents) -> date:
    """Return the day that due dates are compared with."""
    return contents.day or contents.made.date()


def _urgency(state: RequestState, day: date) -> tuple[bool, bool, int]:
    """Sort what is due first, then what has no due date, then what is answered."""
    left = state.days_left(day)
    return state.answered, left is None, left or 0


def _is_late(state: RequestState, day: date) -> bool:
    left = state.days_left(day)
    return left is not None and left < 0


def _row(state: RequestState, day: date) -> RequestRow:
    left = state.days_left(day)
    due = "no due date" if state.due is None else _date(state.due)
    return RequestRow(
        ticket=None if state.ticket is None else formatting.plain(state.ticket),
        received=_date(state.received),
        law="none" if state.regime is None else state.regime.upper(),
        due=due,
        extended=state.due is not None and state.extended,
        left=_days(left),
        outcome=OUTCOMES[state.state] if state.has_rows else _NO_ROWS,
        lines=formatting.count(state.count),
        late=left is not None and left < 0,
    )


def _days(left: int | None) -> str:
    if left is None:
        return ""
    if left < 0:
        return f"late by {formatting.plural(-left, 'day')}"
    return "today" if left == 0 else formatting.plural(left, "day")


def _date(day: date) -> str:
    return formatting.day(datetime(day.year, day.month, day.day, tzinfo=UTC))


@dataclass(frozen=True)
class PlaceRow:
    """What is known of one place."""

    name: str
    state: str
    tone: str
    erased: str
    found: tuple[str, ...]


@dataclass(frozen=True)
class CopiesView:
    """Where copies were and are, by place."""

    headline: str
    rows: tuple[PlaceRow, ...]
    has_erasure: bool
    searched: bool
    erased_on: str
    older: tuple[str, ...]

    @property
    def is_long(self) -> bool:
        """Whether the table may be cut between two pages of paper."""
        return len(self.rows) > _WHOLE


def copies(contents: Contents) -> CopiesView:
    """Return every place with what became of the copies in it."""
    found = contents.copies
    last = found.erasures[-1] if found.erasures else None
    rows = tuple(_places(found, last))
    open_places = [row.name for row in rows if row.tone == "fail"]
    unknown = [row.name for row in rows if row.tone == "inconclusive"]
    return CopiesView(
        headline=_headline(found, open_places, unknown),
        rows=rows,
        has_erasure=last is not None,
        searched=found.found is not None,
        erased_on="" if last is None else _when(last),
        older=tuple(_older(erasure) for erasure in reversed(found.erasures[:-1])),
    )


def _headline(found: Copies, open_places: list[str], unknown: list[str]) -> str:
    if not found.erasures and found.found is None:
        return "No copies were deleted yet, and this page did not look for any."
    if open_places:
        return f"Copies may remain in {formatting.plural(len(open_places), 'place')}."
    if unknown:
        some = formatting.plural(len(unknown), "place")
        return f"No copy was found; {some} could not be searched."
    if not found.erasures:
        return "No copy was found where this page looked."
    return "No copies are left in the places that are known."


def _places(found: Copies, last: PastErasure | None) -> Iterator[PlaceRow]:
    erased = {} if last is None else {place.name: place for place in last.places}
    seen = {place.name: place for place in found.found or ()}
    for name in dict.fromkeys((*erased, *seen)):
        before, now = erased.get(name), seen.get(name)
        findings = () if now is None else now.findings
        unsearched = now is not None and not now.looked
        if findings:
            state, tone = "copies found", "fail"
        elif before is not None and before.state == "pending":
            state, tone = "pending", "fail"
        elif unsearched:
            state, tone = "not searched", "inconclusive"
        elif before is not None:
            state, tone = "no copies left", "pass"
        else:
            state, tone = "nothing found", "pass"
        why = () if now is None or now.why_not is None else (f"not searched: {now.why_not}",)
        yield PlaceRow(
            name=formatting.plain(name),
            state=state,
            tone=tone,
            erased=_erased(before),
            found=tuple(formatting.plain(text, 300) for text in (*findings, *why))
            or (() if now is None else ("nothing",)),
        )


def _erased(place: ErasedPlace | None) -> str:
    if place is None:
        return "not listed"
    if place.state == "purged":
        return "done" if place.method is None else formatting.plain(place.method, 200)
    why = "no reason is given" if place.why is None else formatting.plain(place.why, 300)
    return f"pending: {why}"


def _when(erasure: PastErasure) -> str:
    return "an unknown day" if erasure.time is None else formatting.day(erasure.time)


def _older(erasure: PastErasure) -> str:
    pending = [place.name for place in erasure.places if place.state == "pending"]
    if not pending:
        return f"{_when(erasure)}: no copies were left"
    names = ", ".join(formatting.plain(name) for name in pending)
    return f"{_when(erasure)}: pending in {names}"


@dataclass(frozen=True)
class OpenPoint:
    """Something that is left to do."""

    text: str
    urgent: bool = False


def open_points(contents: Contents) -> tuple[OpenPoint, ...]:
    """Return what is left to do, the most urgent first."""
    return tuple(_open_points(contents))


def _open_points(contents: Contents) -> Iterator[OpenPoint]:
    day = today(contents)
    states = contents.request_states
    late = [state for state in states if _is_late(state, day)]
    if late:
        yield OpenPoint(f"{_named(late)} {_is(late)} late", urgent=True)
    if contents.stale:
        yield OpenPoint(
            "the evidence does not belong to the present state: `unlearn repro` makes a new one",
            urgent=True,
        )
    elif contents.report.verdict != "pass":
        yield OpenPoint(f"the verdict is {contents.report.verdict}, not pass", urgent=True)
    todo: dict[State, str] = {
        "pending": "pending: `unlearn repro` removes the rows from the models",
        "applied": "not verified: `unlearn repro` verifies the models",
        "verified": "verified, and copies are left: `unlearn erase` deletes them",
        "erased": "erased and without a receipt: `unlearn receipt create` makes one",
    }
    for name, what in todo.items():
        some = [state for state in states if state.state == name and state.has_rows]
        if some:
            yield OpenPoint(f"{_named(some)} {_is(some)} {what}")
    for row in copies(contents).rows:
        if row.tone == "fail":
            detail = row.erased if row.state == "pending" else "; ".join(row.found)
            yield OpenPoint(f"{row.name}: {detail}")
        elif row.tone == "inconclusive":
            yield OpenPoint(f"{row.name}: {'; '.join(row.found)}")


def _is(states: list[RequestState]) -> str:
    return "is" if len(states) == 1 else "are"


def _named(states: list[RequestState]) -> str:
    """Return requests by their references, as far as they have any."""
    tickets = [formatting.plain(state.ticket, 40) for state in states if state.ticket is not None]
    count = formatting.plural(len(states), "request")
    if not tickets or len(tickets) > _MOST_NAMED:
        return count
    others = len(states) - len(tickets)
    return f"{count} ({', '.join(tickets)}{f' and {others} without a reference' if others else ''})"


@dataclass(frozen=True)
class HeldOutView:
    """The held-out rows: how many lines name some, and why no model holds them."""

    headline: str
    count: str | None


def held_out(contents: Contents) -> HeldOutView:
    """Return what there is to say of held-out rows.

    The count is left out where it is not known, and on a page for everybody where it is below
    `verify.min_rows`.
    """
    count, least = contents.held_out_lines, contents.min_rows
    hidden = contents.public and (least is None or (count or 0) < least)
    if count is None or hidden:
        return HeldOutView("Held-out rows are in no model.", None)
    if count == 0:
        return HeldOutView("No line of the forget list names held-out rows.", formatting.count(0))
    line = formatting.plural(count, "line")
    verb = "names" if count == 1 else "name"
    return HeldOutView(
        f"{line} of the forget list {verb} held-out rows, which are in no model.",
        formatting.count(count),
    )
