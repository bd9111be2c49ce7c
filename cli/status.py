"""`unlearn status`: the state of each request."""

from typing import Any

from pydantic import ValidationError
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural
from unlearn.stages.audit.status import list_is_applied, standing
from unlearn.stages.context import open_project
from unlearn.stages.dvc.command import dvc_status
from unlearn.stages.errors import BusyError, InputError, ToolError
from unlearn.stages.project.paths import find_project
from unlearn.stages.requests.request import read_requests


class RequestEntry(AnswerPart):
    """An entry of the request log.

    Parameters
    ----------
    time
        In UTC, as ISO 8601.
    ticket
        The reference that the request was given.
    count
        Lines that it added.
    digest
        SHA-256 over these lines.
    """

    time: str
    ticket: str | None
    count: int
    digest: str


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
    by_hand
        Lines of the list that are raw ids.
    requests
        The request log, oldest entry first.
    changed
        Stages that DVC would run.
    """

    pending: int
    applied: int
    verified: bool
    up_to_date: bool
    by_hand: int
    requests: list[RequestEntry]
    changed: list[str]


def status(as_json: JsonFlag = False) -> None:
    """Show the state of the requests, and the remaining work.

    A line of the forget list is pending until the models are trained without its rows.
    """
    context = open_project(find_project())
    project = context.project
    forget_list = context.read_list()
    requests = read_requests(project.requests)
    found = standing(project, context.params, forget_list)
    try:
        changed = sorted(dvc_status(project.root))
    except (BusyError, ToolError):
        changed = ["unknown: dvc gave no answer"]
    # DVC hashes the list after `forget` ran, so its word alone is not enough.
    up_to_date = not changed and found.pending == 0 and list_is_applied(project)
    answer = StatusAnswer(
        pending=found.pending,
        applied=found.applied,
        verified=found.verified,
        up_to_date=up_to_date,
        by_hand=forget_list.by_hand,
        requests=_entries(requests),
        changed=changed,
    )
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


COMMAND = Command(status, example="unlearn status", answer=StatusAnswer)


def _entries(requests: list[dict[str, Any]]) -> list[RequestEntry]:
    try:
        return [RequestEntry(**entry) for entry in requests]
    except ValidationError:
        raise InputError("data/requests.jsonl has an entry that is not of the log") from None


def _describe(answer: StatusAnswer) -> str:
    lines = [
        f"forget list: {plural(answer.pending, 'line')} pending, {answer.applied:,} applied"
        + (", verified" if answer.verified and answer.applied else "")
    ]
    if answer.by_hand:
        lines.append(
            f"{plural(answer.by_hand, 'line')} written by hand; `forget` replaces them by tokens"
        )
    for entry in answer.requests[-10:]:
        ticket = f"  {entry.ticket}" if entry.ticket else ""
        lines.append(f"  {entry.time}  {plural(entry.count, 'line')}{ticket}")
    if answer.up_to_date:
        lines.append("models: up to date")
    elif answer.changed:
        lines.append(f"to do: {', '.join(answer.changed)}; run `unlearn repro`")
    else:
        lines.append("to do: apply the forget list; run `unlearn repro`")
    return "\n".join(lines)
