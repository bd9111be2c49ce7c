"""Answers to requests, in the format in which these came."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from unlearn.stages.audit.status import Standing, standing
from unlearn.stages.config.requests import OpenDsrParams
from unlearn.stages.contacts.index import find_contacts
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.files import json_bytes
from unlearn.stages.requests.deadlines import due_date
from unlearn.stages.requests.drop_lists import DropItem, read_drop
from unlearn.stages.requests.drop_request import DELETED, NOT_FOUND, item_name
from unlearn.stages.requests.filed import FiledRequest, State, filed_requests, filed_with
from unlearn.stages.requests.incoming import read_opendsr, read_request, received_on
from unlearn.stages.requests.named_people import have_rows, refuse_others

#: The status that OpenDSR has for each state (section 8). The data is deleted once it is erased.
_STATUS: Mapping[State, str] = {
    "pending": "pending",
    "applied": "in_progress",
    "verified": "in_progress",
    "erased": "completed",
    "receipted": "completed",
    "restored": "cancelled",
}

_API_VERSION = "2.0"


@dataclass(frozen=True)
class Reply:
    """An answer.

    Parameters
    ----------
    files
        Content by file name; of one file, the name is that of the request.
    answered
        How many entries have an answer; 1 for a request of OpenDSR.
    waiting
        How many have none yet, because the rows are not erased.
    not_found
        For how many of them nobody was found.
    status
        The status of a request of OpenDSR.
    """

    files: dict[str, bytes]
    answered: int = 1
    waiting: int = 0
    not_found: int = 0
    status: str | None = None


def opendsr_receipt(context: Context, content: bytes, name: str, ticket: str | None) -> Reply:
    """Return what OpenDSR answers to a new request (section 7.3).

    The service that sends it signs it: its headers are no part of this body.

    Parameters
    ----------
    context
        The project, with the request in its log.
    content, name
        The request, and what errors call it.
    ticket
        What the log calls it; by default its `subject_request_id`.

    Raises
    ------
    InputError
        If params.yaml does not say who the controller is, or no law gives a due date.
    """
    ours, request = _ours(context), read_request(context, content, name)
    filed = filed_with(context, ticket or str(request.get("subject_request_id")))
    received = datetime.now(UTC) if filed is None else _logged(filed)
    body = {
        "controller_id": ours.controller_id,
        "expected_completion_time": _expected(context, request, filed, name),
        "received_time": _time(received),
        "encoded_request": base64.b64encode(content).decode(),
        "subject_request_id": request.get("subject_request_id"),
    }
    return Reply({name: json_bytes(body)}, status="pending")


def opendsr_status(context: Context, content: bytes, name: str, ticket: str | None) -> Reply:
    """Return the status of a request as OpenDSR has it (section 8.3); see `opendsr_receipt`.

    A request that names nobody in the dataset is in no log, and is completed.

    Raises
    ------
    InputError
        As `opendsr_receipt`, and if it names people whom the log has not in this request, or rows
        of look-alikes would stay. If the rows are not here to look at, nothing is said.
    """
    ours, request = _ours(context), read_request(context, content, name)
    filed = filed_with(context, ticket or str(request.get("subject_request_id")))
    status = "completed" if filed is None else _status(context, filed)
    if status != "cancelled":
        wanted = read_opendsr(context, content, name).wanted
        refuse_others(context, wanted, filed, name)
        # A new version of the dataset may have them again, that `shard` has not read yet.
        if status == "completed" and filed is not None and have_rows(context, wanted):
            status = "in_progress"
    body = {
        "controller_id": ours.controller_id,
        "expected_completion_time": _expected(context, request, filed, name),
        "subject_request_id": request.get("subject_request_id"),
        "request_status": status,
        "api_version": request.get("api_version") or _API_VERSION,
    }
    return Reply({name: json_bytes(body)}, status=status)


def drop_reply(
    context: Context,
    content: bytes,
    name: str,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Reply:
    """Return the reply to a download of DROP: a file for each list, with the columns Id and Status.

    Entries whose rows are not erased yet, or are in the dataset again, are left out: they have no
    status.

    Parameters
    ----------
    context
        The project, with the request in its log.
    content, name
        The download, and its name.
    progress
        Called with the number of rows of each batch while the index is made.

    Raises
    ------
    InputError
        If the download is not as it must be, or an entry that is not in the log has rows.
    """
    lists = read_drop(content, name, context.params.requests.data_broker)
    codes = read_log(context.project).item_codes()
    names = {item: item_name(context, item, codes) for item in lists.items}
    found = _find_people(context, names, progress)
    if new := found - codes.keys():
        raise InputError(
            f"{name}: people were found for {len(new):,} entries that no request names",
            f"`unlearn forget --from {name}` first",
        )
    # Who has rows is not deleted, whatever the log says: somebody took a part of the request back.
    erased = _erased_items(context) - found
    files: dict[str, bytes] = {}
    waiting = not_found = 0
    for file, items in lists.files.items():
        rows = []
        for item in items:
            code = codes.get(names[item], NOT_FOUND)
            if code == DELETED and names[item] not in erased:
                waiting += 1
                continue
            not_found += code == NOT_FOUND
            rows.append(f"{item.item},{code}\n")
        if rows:
            files[file] = "".join(["Id,Status\n", *rows]).encode()
    return Reply(files, len(lists.items) - waiting, waiting, not_found)


def _find_people(
    context: Context,
    names: Mapping[DropItem, str],
    progress: Callable[[int], None],
) -> frozenset[str]:
    """Return the names, as the log has them, of the entries that somebody in the dataset has."""
    found = find_contacts(context, ((item.list_name, item.digest) for item in names), progress)
    return frozenset(name for item, name in names.items() if (item.list_name, item.digest) in found)


def _erased_items(context: Context) -> frozenset[str]:
    """Return the entries of lists whose rows were erased, as the log names them."""
    found = standing(context.project, context.params, context.read_list())
    return frozenset(
        item
        for filed in filed_requests(read_log(context.project, context.key))
        if any(entry.items for entry in filed.entries)
        and _is_deleted(filed, filed.state(found), found)
        for entry in filed.entries
        for item in entry.items or ()
    )


def _status(context: Context, filed: FiledRequest) -> str:
    """Return the status of a request in the log."""
    found = standing(context.project, context.params, context.read_list())
    state = filed.state(found)
    if state != "restored" and filed.is_answered(state, found):
        _is_deleted(filed, state, found)
        return "completed"
    return _STATUS[state]


def _is_deleted(filed: FiledRequest, state: State, found: Standing) -> bool:
    """Return whether an answer can say that the rows of a request were deleted.

    Raises
    ------
    InputError
        If an erasure deleted them, and whether they are in the dataset again cannot be seen.
    """
    if state not in ("erased", "receipted"):
        return False
    if found.dropped is None:
        raise InputError(
            f"data/shards is not here: whether rows of {filed.ticket or 'a request'} are in the "
            "dataset again cannot be seen",
            "`dvc pull` fetches it, and `unlearn repro` makes it",
        )
    return True


def _ours(context: Context) -> OpenDsrParams:
    ours = context.params.requests.opendsr
    if ours is None:
        raise InputError(
            "an answer of OpenDSR has to name the controller, and params.yaml does not",
            "set requests.opendsr.controller_id",
        )
    return ours


def _expected(
    context: Context, request: Mapping[str, Any], filed: FiledRequest | None, name: str
) -> str:
    due = None if filed is None else filed.due
    regime = request.get("regulation") or context.params.requests.regime
    if due is None and regime in ("gdpr", "ccpa", "drop"):
        due = due_date(regime, received_on(request, name))
    if due is None:
        raise InputError(
            f"{name} has no due date, which an answer of OpenDSR has to name",
            "state the law: `unlearn forget` with --regime, or requests.regime in params.yaml",
        )
    return f"{due}T23:59:59Z"


def _logged(filed: FiledRequest) -> datetime:
    return datetime.fromisoformat(filed.entries[0].time)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
