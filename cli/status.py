"""`unlearn status`: the state of each request."""

from collections.abc import Iterator
from datetime import date

import typer
from pydantic import Field
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.batch_answer import BatchAnswer, batch_answer, describe_batch, holds
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, table
from unlearn.stages.audit.status import Standing, list_is_applied, standing
from unlearn.stages.config.params import Params, Regime
from unlearn.stages.context import Context, load_params, open_project
from unlearn.stages.dvc.command import pipeline_status
from unlearn.stages.errors import BusyError, ToolError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.hand_written import check_hand_written
from unlearn.stages.ledger.log import Entry, EntryKind, read_log
from unlearn.stages.ledger.suppressed import absent_lines, contact_lines, dropped_rows
from unlearn.stages.project.paths import UNLABELLED, Project, find_project
from unlearn.stages.receipts.store import receipted_entries
from unlearn.stages.requests.batch import find_batch
from unlearn.stages.requests.deadlines import today
from unlearn.stages.requests.filed import FiledRequest, State, filed_requests
from unlearn.stages.rows.forget_list import parse_without_key
from unlearn.stages.rows.shard_file import count_rows
from unlearn.stages.rows.tokens import has_key

#: How many requests the table shows.
_SHOWN = 20

_COLUMNS = ("request", "received", "law", "due", "days left", "lines", "state")
#: Columns of words.
_WORDS = {"request", "law", "state"}


class RequestEntry(AnswerPart):
    """An entry of the request log.

    Parameters
    ----------
    kind
        `forget`, `suppress` for ids that the dataset did not have, `hand-written` for raw ids that
        a person wrote into the list, `restore` for a request that was taken back, `extend` for
        one whose period was extended, `erase` for an erasure of all copies, `run-now` where a run
        did not wait for its batch, `rekey` for a rotation of the key, `contacts` for contact data
        that consumers took back, or `upgrade` for the lines of a list that an older version logged.
    time
        In UTC, as ISO 8601.
    ticket
        The reference that the request was given.
    count
        Lines that it names, or took back.
    digest
        SHA-256 over these lines.
    """

    kind: EntryKind
    time: str
    ticket: str | None
    count: int
    digest: str


class RequestState(AnswerPart):
    """How far a request is: all entries of the log with one ticket, or one without a ticket.

    Parameters
    ----------
    ticket
        The reference that it was given.
    received
        The day when it was received.
    regime
        The law that it was made under; None if no law was named.
    due
        The last day for the answer; None if no law was named.
    confirm_by
        The last day for confirming the receipt; None if nothing asks for it.
    extended
        Whether its period was extended.
    count
        Lines that it names.
    state
        `pending` until no model holds its rows, then `applied`; `verified` once a report passes
        that belongs to these models; `erased` once the copies of its rows are deleted everywhere;
        `receipted` once there is a receipt as well; `restored` if all of its lines were taken back.
    days_left
        Days from today to the due date, negative after it; None if there is no due date, or the
        request is answered: erased, receipted, restored, or about no row of the dataset.
    late
        Whether it is after the due date, and not answered.
    """

    ticket: str | None
    received: date
    regime: Regime | None
    due: date | None
    confirm_by: date | None
    extended: bool
    count: int
    state: State
    days_left: int | None
    late: bool


class StatusAnswer(Answer):
    """How far the requests are.

    Parameters
    ----------
    pending, applied
        Lines of the forget list that some model may still hold the rows of, and all others.
    verified
        Whether the last report passes and belongs to the present state.
    up_to_date
        Whether there is nothing to run.
    without_rows
        Applied lines that no row of the dataset has: dropped since, or never there. None where
        this is not known.
    suppressed
        Lines that `--suppress` added and that no row had: rows of these people reach no shard.
    suppressed_contacts
        Entries of lists of contact data that `--suppress` kept, because they matched nobody.
    dropped
        Rows of erased or suppressed people that the dataset has, and that reached no shard. None
        where data/shards is not here.
    by_hand
        Lines of the list that are raw ids.
    lost
        Lines that were on the list and are not, and identities that were suppressed and are not.
    not_merged
        Lines that only the default branch, or only other branches and stashes have.
    unlabelled
        Rows of the dataset without a class, which no model is trained on. None where data/shards
        is not here.
    notes
        What else git's history says about the list, a sentence each.
    requests
        The request log, oldest entry first.
    changed
        Stages that DVC would run.
    request_states
        How far each request is, oldest first.
    late
        How many of them are late.
    to_erase
        How many of them are verified, and have copies of rows that are to be deleted.
    batch
        Those that wait for each other; None if the settings let no request wait.
    slices_off
        The first slice that is off, by shard: nothing is trained on its rows and those of later
        slices. Shards with all slices on are left out.
    """

    pending: int
    applied: int
    verified: bool
    up_to_date: bool
    without_rows: int | None
    suppressed: int
    suppressed_contacts: int
    dropped: int | None
    by_hand: int
    lost: int
    not_merged: int
    unlabelled: int | None
    notes: list[str]
    requests: list[RequestEntry]
    changed: list[str]
    request_states: list[RequestState]
    late: int
    to_erase: int
    batch: BatchAnswer | None = None
    slices_off: dict[str, int] = Field(default_factory=dict)


def status(as_json: JsonFlag = False) -> None:
    """Show the state of the requests, and the remaining work.

    A line of the forget list is pending until the models are trained without its rows. The exit
    code is 1 if a request is late.
    """
    project = find_project()
    params = load_params(project.params)
    context = _with_key(project, params)
    if context is None:
        epochs = read_log(project).epochs
        forget_list, by_hand = parse_without_key(project.forget_list.read_bytes(), epochs)
    else:
        forget_list = context.read_list()
        check_hand_written(context, forget_list)
        by_hand = forget_list.by_hand
    log = read_log(project, None if context is None else context.key)
    ledger = check_ledger(project, params.ledger.branch, context)
    problem = ledger.problem()
    found = standing(project, params, forget_list)
    try:
        changed = sorted(pipeline_status(project.root))
    except (BusyError, ToolError):
        changed = ["unknown: dvc gave no answer"]
    # DVC hashes the list after `forget` ran, so its word alone is not enough.
    up_to_date = not changed and found.pending == 0 and list_is_applied(project)
    up_to_date = up_to_date and problem is None
    receipted = receipted_entries(project)
    filed = filed_requests(log, params.requests.regime)
    states = [_state(request, found, receipted, today()) for request in filed]
    answer = StatusAnswer(
        # Without the key a line written by hand is applied to nothing that could be checked.
        pending=found.pending + (by_hand if context is None else 0),
        applied=found.applied,
        verified=found.verified,
        up_to_date=up_to_date,
        without_rows=found.without_rows,
        suppressed=len(absent_lines(log)),
        suppressed_contacts=len(contact_lines(project)),
        dropped=dropped_rows(project),
        by_hand=by_hand,
        lost=len(ledger.lost) + len(ledger.ahead) + len(ledger.lost_contacts),
        not_merged=len(ledger.behind) + len(frozenset().union(*ledger.elsewhere.values())),
        unlabelled=_unlabelled(project),
        notes=[*([] if problem is None else [problem.message]), *ledger.notes()],
        requests=[_entry(entry) for entry in log.entries],
        changed=changed,
        request_states=states,
        late=sum(state.late for state in states),
        to_erase=sum(
            state.state == "verified" and not request.is_answered(state.state, found)
            for request, state in zip(filed, states, strict=True)
        ),
        batch=batch_answer(find_batch(project, params, forget_list)),
        slices_off=params.sharding.switched_off,
    )
    emit(answer, as_json=as_json, text=lambda: _describe(answer))
    if answer.late:
        raise typer.Exit(1)


COMMAND = Command(status, example="unlearn status", answer=StatusAnswer)


def _unlabelled(project: Project) -> int | None:
    if not project.shards.is_dir():
        return None
    return count_rows(project.shard_file(UNLABELLED)) or 0


def _with_key(project: Project, params: Params) -> Context | None:
    """Return the project with its key; None where there is none. A wrong key is an error."""
    if not has_key(project, params.key_check):
        return None
    return open_project(project)


def _entry(entry: Entry) -> RequestEntry:
    return RequestEntry(
        kind=entry.kind,
        time=entry.time,
        ticket=entry.ticket,
        count=entry.count,
        digest=entry.digest,
    )


def _state(
    filed: FiledRequest, found: Standing, receipted: frozenset[str], day: date
) -> RequestState:
    state = filed.state(found, receipted)
    is_open = filed.due is not None and not filed.is_answered(state, found)
    days_left = (filed.due - day).days if is_open and filed.due is not None else None
    return RequestState(
        ticket=filed.ticket,
        received=filed.received,
        regime=filed.regime,
        due=filed.due,
        confirm_by=filed.confirm_by,
        extended=filed.extended,
        count=filed.count,
        state=state,
        days_left=days_left,
        late=days_left is not None and days_left < 0,
    )


def _describe(answer: StatusAnswer) -> str:
    lines = [
        f"forget list: {plural(answer.pending, 'line')} pending, {answer.applied:,} applied"
        + (", verified" if answer.verified and answer.applied else "")
    ]
    if answer.without_rows:
        lines.append(
            f"  {plural(answer.without_rows, 'line')} of them without rows: dropped since, or "
            "never there"
        )
    if answer.suppressed:
        lines.append(
            f"  {plural(answer.suppressed, 'line')} of them suppressed: rows of these people reach "
            "no shard"
        )
    if answer.suppressed_contacts:
        lines.append(
            f"{plural(answer.suppressed_contacts, 'identity', 'identities')} of contact data "
            "suppressed: rows of these people reach no shard"
        )
    if answer.dropped:
        lines.append(
            f"{plural(answer.dropped, 'row')} of erased or suppressed people in the dataset, "
            "dropped; `unlearn erase` takes them out of it"
        )
    if answer.unlabelled:
        lines.append(
            f"{plural(answer.unlabelled, 'row')} without a class: no model is trained on them"
        )
    if answer.by_hand:
        lines.append(
            f"{plural(answer.by_hand, 'line')} written by hand; `forget` replaces them by tokens"
        )
    if answer.slices_off:
        shards = ", ".join(f"{shard} from {first}" for shard, first in answer.slices_off.items())
        lines.append(f"slices off: {shards}; `unlearn repro --switch-on` trains them again")
    lines += _table_of_requests(answer.request_states)
    lines += describe_batch(answer.batch)
    lines += [f"note: {note}" for note in answer.notes]
    return "\n".join([*lines, *_to_do(answer)])


def _to_do(answer: StatusAnswer) -> Iterator[str]:
    if answer.lost:
        yield "to do: put lost lines back; run `unlearn forget --lost`, or merge"
    elif answer.up_to_date:
        yield "models: up to date"
        if answer.to_erase:
            yield (
                "to do: delete the copies of the rows of "
                f"{plural(answer.to_erase, 'request')}; run `unlearn erase`"
            )
    elif holds(answer.batch):
        yield "to do: nothing, until the batch is due"
    elif answer.changed:
        yield f"to do: {', '.join(answer.changed)}; run `unlearn repro`"
    else:
        yield "to do: apply the forget list; run `unlearn repro`"


def _table_of_requests(states: list[RequestState]) -> list[str]:
    """Return the table: what is due first, then what has no due date, newest first."""
    newest = list(reversed(states))
    ordered = sorted(newest, key=_urgency)[:_SHOWN]
    rows = [
        [
            state.ticket or "-",
            state.received.isoformat(),
            "-" if state.regime is None else state.regime.upper(),
            "-" if state.due is None else f"{state.due}{' (extended)' if state.extended else ''}",
            "-" if state.days_left is None else f"{state.days_left:,}",
            f"{state.count:,}",
            f"{state.state}, late" if state.late else state.state,
        ]
        for state in ordered
    ]
    late = [number for number, state in enumerate(ordered) if state.late]
    lines = table(_COLUMNS, rows, _WORDS, red=late)
    if len(states) > len(ordered):
        lines.append(f"  and {len(states) - len(ordered):,} more: --json lists all")
    lines += [
        f"confirm the receipt of {state.ticket or 'a request'} by {state.confirm_by}"
        for state in ordered
        if state.days_left is not None
        and state.confirm_by is not None
        and state.confirm_by >= today()
    ]
    return lines if states else []


def _urgency(state: RequestState) -> tuple[bool, int]:
    """Sort by days left; what needs no answer any more, or has no due date, comes last."""
    return state.days_left is None, state.days_left or 0
