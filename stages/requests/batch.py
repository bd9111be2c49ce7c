"""Requests that wait for each other, and the day on which they are applied.

A person who sees the models before and after a request can infer something about its rows, because
exact retraining changes nothing else. Requests that are applied together are harder to tell apart.
The law's due dates go before the batch.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from unlearn.stages.audit.snapshot import list_carried_out
from unlearn.stages.config.params import Params
from unlearn.stages.config.requests import BatchParams
from unlearn.stages.context import Context
from unlearn.stages.dvc.lockfile import LockStages, load_lock
from unlearn.stages.dvc.pipeline import reads_suppressed
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.log import Entry, Log, new_entry, read_log
from unlearn.stages.ledger.suppressed import absent_lines
from unlearn.stages.ledger.transaction import Change, apply_change
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.requests.deadlines import due_date, received_today, today
from unlearn.stages.requests.filed import FiledRequest, filed_requests
from unlearn.stages.requests.request import hold_list
from unlearn.stages.rows.applied import read_applied
from unlearn.stages.rows.epochs import Epochs
from unlearn.stages.rows.forget_list import ForgetList, parse_without_key, place_of_line


class Waiting(NamedTuple):
    """A request that waits.

    Parameters
    ----------
    received
        The day when it was received.
    law
        The last day for its answer; None if no law was stated.
    counts
        Whether rows that models are trained on may go with it. Other requests hide nobody.
    """

    received: date
    law: date | None = None
    counts: bool = True


class Due(NamedTuple):
    """The day on which a run is due, and why."""

    day: date
    reason: str


@dataclass(frozen=True)
class Batch:
    """The requests that are not applied yet.

    Parameters
    ----------
    waiting
        How many they are.
    counted
        How many of them count towards `at_least`.
    at_least
        How many have to count.
    due
        When they are applied; None if there is none.
    is_due
        Whether the run is due.
    entries
        Names of their entries in the log.
    """

    waiting: int
    counted: int
    at_least: int
    due: Due | None
    is_due: bool
    entries: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether a run has to wait."""
        return self.due is not None and not self.is_due


def due_day(waiting: Sequence[Waiting], batch: BatchParams, day: date) -> Due:
    """Return when requests are applied, by the settings and by law.

    Parameters
    ----------
    waiting
        The requests; one at least.
    batch
        The settings.
    day
        Today.
    """
    found = []
    if sum(item.counts for item in waiting) >= batch.at_least:
        found.append(Due(day, f"at least {_requests(batch.at_least)} wait"))
    oldest = min(item.received for item in waiting) + timedelta(days=batch.at_most_days)
    found.append(Due(oldest, f"the oldest request waits {_days(batch.at_most_days)}"))
    if laws := [item.law for item in waiting if item.law is not None]:
        law = min(laws)
        margin = timedelta(days=batch.days_before_due)
        found.append(Due(law - margin, f"a request is due by law on {law}"))
    return min(found, key=lambda due: due.day)


def find_batch(
    project: Project, params: Params, forget_list: ForgetList, more: Iterable[str] = ()
) -> Batch | None:
    """Return the requests that wait; None if the settings let no request wait.

    Parameters
    ----------
    project, params, forget_list
        The project, and its list as it stands.
    more
        Lines of a request that might be made now.
    """
    batch = params.requests.batch
    if batch is None:
        return None
    log, lock = read_log(project, forget_list.epochs.key), _lock(project)
    applied = _applied_lines(project, lock or {}, log.epochs)
    if applied is None:
        applied = forget_list.known
    by_hand = {line.token for line in forget_list.hand_written}
    lines = frozenset(forget_list.tokens) - applied - by_hand
    claims = log.claims()
    entries = {entry.name: entry for line in lines for entry in claims.get(line, ())}
    found = _waiting(params, log, lines, reads_suppressed=reads_suppressed(project))
    day = today()
    # As `repro` and `forget` would log them.
    new = [_new(by_hand, params)] if by_hand else []
    if asked := frozenset(more) - applied:
        new.append(_new(asked, params))
    waiting = [*found, *new]
    due = due_day(waiting, batch, day) if waiting else None
    at_once = _why_at_once(lines, entries, log, lock)
    if at_once is not None and (waiting or lines):
        due = Due(day, at_once)
    return Batch(
        waiting=len(waiting),
        counted=sum(item.counts for item in waiting),
        at_least=batch.at_least,
        due=due,
        is_due=due is not None and due.day <= day,
        entries=tuple(sorted(entries)),
    )


def _lock(project: Project) -> LockStages | None:
    try:
        return load_lock(project)
    except InputError:
        return None


def _applied_lines(project: Project, lock: LockStages, epochs: Epochs) -> frozenset[str] | None:
    """Return the lines that a run applied, here or elsewhere; None if nobody knows.

    A run that was interrupted after the stage `forget` goes on: its requests wait no more.
    """
    noted = read_applied(project)
    listed = project.forget_list.read_bytes() if project.forget_list.is_file() else b""
    locked = list_carried_out(project, None, lock, listed)
    if noted is None and locked is None:
        return None if "forget" in lock else frozenset()
    known = frozenset() if locked is None else parse_without_key(locked, epochs)[0].known
    return known | frozenset(() if noted is None else noted.tokens)


def _new(lines: Iterable[str], params: Params) -> Waiting:
    """Return a request that is received today, and names no law."""
    day, law = received_today(), params.requests.regime
    return Waiting(day, None if law is None else due_date(law, day), _counts(lines, params))


def _waiting(
    params: Params, log: Log, lines: frozenset[str], *, reads_suppressed: bool
) -> list[Waiting]:
    """Return the requests that name these lines.

    A request counts if it names a line of its own that rows in a shard may have. A line that was
    suppressed without a row has none: `shard` drops those that appear later. The log of a project
    whose stage does not do that yet has no such lines; there, no line of `--suppress` counts.
    """
    found = []
    counted: frozenset[str] = absent_lines(log)
    for filed in filed_requests(log, params.requests.regime):
        named = (filed.current or frozenset()) & lines
        if not named:
            continue
        own = named - counted
        counts = (reads_suppressed or _is_ordinary(filed)) and _counts(own, params)
        counted |= own if counts else frozenset()
        found.append(Waiting(filed.received, filed.due, counts))
    return found


def _is_ordinary(filed: FiledRequest) -> bool:
    return any(entry.kind != "suppress" for entry in filed.entries)


def _counts(lines: Iterable[str], params: Params) -> bool:
    return any(place_of_line(line, params.sharding).shard != HOLDOUT for line in lines)


def _why_at_once(
    lines: frozenset[str], entries: dict[str, Entry], log: Log, lock: LockStages | None
) -> str | None:
    """Return why these lines need not wait, or must not; None if they wait."""
    if lock is None:
        return "dvc.lock has to be written again, as after a merge"
    if "aggregate" not in lock:
        return "no model was trained before"
    released = {name for entry in log.entries for name in entry.waiting or ()}
    if released & entries.keys():
        return "`unlearn repro --now` was asked for"
    named = frozenset().union(*(log.bare_lines_of(entry) for entry in entries.values()))
    if lines - named:
        return "the request log does not say since when some lines are on the list"
    return None


def run_now(context: Context) -> bool:
    """End the wait of the requests that wait, and log it.

    Returns
    -------
    bool
        Whether requests waited; otherwise nothing is logged.
    """
    project = context.project
    with ExitStack() as stack:
        hold_list(project, stack)
        batch = find_batch(project, context.params, context.read_list())
        if batch is None or not batch.holds:
            return False
        check_anchor()
        listed = project.forget_list.read_bytes()
        entry = new_entry(read_log(project), "run-now", (), listed)
        entry = entry.model_copy(update={"waiting": batch.entries})
        apply_change(project, Change(added=(), entry=entry))
        write_anchor(read_log(project))
    return True


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"
