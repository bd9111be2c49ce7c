"""Requests as other systems export them: OpenDSR's JSON, or a column of a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from unlearn.stages.config.params import Regime
from unlearn.stages.contacts.index import Identity
from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.entry import first_day
from unlearn.stages.ledger.log import NO_FILING, Filing
from unlearn.stages.reading.csv_dialect import find_format
from unlearn.stages.reading.dataset_files import file_kind
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.requests.hashed_ids import FORMATS, HashedId, find_hashed
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.roles import RoleReader
from unlearn.stages.rows.tokens import Kind, check_raw_id

#: Kinds of identities that OpenDSR names (OpenDSR, section 5.1).
_TYPES = (
    "controller_customer_id",
    "android_advertising_id",
    "android_id",
    "email",
    "fire_advertising_id",
    "ios_advertising_id",
    "ios_vendor_id",
    "microsoft_advertising_id",
    "microsoft_publisher_id",
    "roku_publisher_id",
    "roku_advertising_id",
)

#: The laws that OpenDSR names in `regulation` (OpenDSR, section 7.1.1).
_REGULATIONS: Mapping[str, Regime] = {"gdpr": "gdpr", "ccpa": "ccpa"}


@dataclass(frozen=True)
class Incoming:
    """A request of another system.

    Parameters
    ----------
    wanted
        The ids that it names.
    ticket
        Its reference there; None if it has none.
    filing
        When it was submitted, and under which law.
    notes
        A sentence for each thing that was left out.
    unmatched
        Where the hashed identities were read that no row has.
    items
        Entries of a list that people were found for, as the request log names them, with the codes
        of their replies.
    contacts, withdrawn
        Keyed digests of contact data that matched nobody, and of entries that consumers took back,
        with their lists.
    """

    wanted: Wanted
    ticket: str | None = None
    filing: Filing = NO_FILING
    notes: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = field(default=())
    items: Mapping[str, int] = field(default_factory=dict)
    contacts: tuple[Identity, ...] = ()
    withdrawn: tuple[Identity, ...] = ()


def read_column(context: Context, path: Path, column: str) -> Incoming:
    """Return the request that a column of a file names.

    Parameters
    ----------
    context
        The project: the column is the one of the dataset's record ids or persons, or one that
        `requests.identities` names.
    path
        The file: CSV, or another format that a dataset may have.
    column
        The column.

    Raises
    ------
    InputError
        If the file has no such column, cannot be read, or no row has an id, or if nothing says
        what the ids name.
    """
    name = path.name
    kind = _kind_of(context, column)
    if kind is None:
        raise InputError(
            f"{name}: nothing says what the ids of the column {column!r} name",
            f"add it to requests.identities in params.yaml: `{column}: id` for records, or "
            f"`{column}: subject` for persons",
        )
    is_csv = file_kind(path) == "csv"
    csv = find_format(path, name, [column], {}) if is_csv else None
    reader = RoleReader(kind, column, IdRules.of(context.params.dataset))
    ids: list[tuple[str, str]] = []
    row = 1
    for batch in read_batches(path, name, [column], Reading(csv=csv)):
        for number, raw in enumerate(reader.texts(batch, name, row).to_pylist(), start=row):
            if raw:
                check_raw_id(raw, Facts(file=name, row=number))
                ids.append((raw, f"row {number}"))
        row += batch.num_rows
    if not ids:
        raise InputError(f"{name}: no row has an id in the column {column!r}")
    return Incoming(_wanted({kind: ids}))


def read_opendsr(context: Context, content: bytes, name: str) -> Incoming:
    """Return the erasure request that a file in the format of OpenDSR holds.

    Parameters
    ----------
    context
        The project. `requests.identities` says what each kind of identity names.
    content, name
        The file, and what errors call it.

    Raises
    ------
    InputError
        If it is no such request, asks for something else than erasure, or has no identity that
        the project knows.

    References
    ----------
    OpenDSR 2.0, sections 5 and 7.1.
    """
    request = read_request(context, content, name)
    received = received_on(request, name)
    regulation = _text(request, "regulation", name, optional=True)
    if regulation is not None and regulation not in _REGULATIONS:
        raise InputError(f"{name}: the regulation is neither gdpr nor ccpa", facts=Facts(file=name))
    identities = request.get("subject_identities")
    if not isinstance(identities, list) or not identities:
        raise InputError(f"{name}: subject_identities is no list of identities")
    plain: dict[Kind, list[tuple[str, str]]] = {}
    hashed: list[HashedId] = []
    notes = []
    for number, identity in enumerate(identities, start=1):
        where = f"identity {number}"
        form, value, type_name = _identity(identity, name, where)
        kind = _kind_of(context, type_name)
        if kind is None:
            known = type_name if type_name in _TYPES else "another kind"
            notes.append(f"{where} ({known}) is not in requests.identities, and was left out")
        elif form == "raw":
            check_raw_id(value, where)
            plain.setdefault(kind, []).append((value, where))
        else:
            hashed.append(HashedId(kind, form, value.lower(), where))
    if not plain and not hashed:
        raise InputError(
            f"{name}: no identity is of a kind that this project knows",
            "name the kinds in requests.identities in params.yaml, such as `email: subject`",
        )
    found = find_hashed(context, hashed)
    for item in hashed:
        if item.where in found:
            plain.setdefault(item.kind, []).extend((raw, item.where) for raw in found[item.where])
    return Incoming(
        _wanted(plain),
        ticket=_text(request, "subject_request_id", name),
        filing=Filing(received, None if regulation is None else _REGULATIONS[regulation]),
        notes=tuple(notes),
        unmatched=tuple(item.where for item in hashed if item.where not in found),
    )


def read_request(context: Context, content: bytes, name: str) -> dict[str, Any]:
    """Return an erasure request of OpenDSR that is for this system.

    Raises
    ------
    InputError
        If it is no such request, asks for something else than erasure, or is for another controller
        or other processors than those in params.yaml.
    """
    request = _json_object(content, name)
    _check_type(request, name)
    ours = context.params.requests.opendsr
    if ours is not None:
        controller = request.get("controller_id")
        if controller not in (None, ours.controller_id):
            raise InputError(
                f"{name} is of another controller than requests.opendsr.controller_id in "
                "params.yaml; nothing was changed",
                facts=Facts(file=name),
            )
        others = request.get("extensions")
        foreign = isinstance(others, dict) and others and ours.domain not in others
        if ours.domain is not None and foreign:
            raise InputError(
                f"{name} is for other processors than {ours.domain}; nothing was changed",
                "requests.opendsr.domain in params.yaml is this processor's domain",
                facts=Facts(file=name),
            )
    return request


def _kind_of(context: Context, column: str) -> Kind | None:
    """Return what ids of another system's column, or kind of identity, name."""
    dataset = context.params.dataset
    role = context.params.requests.identities.get(column)
    if role is None and column in (dataset.id, dataset.subject):
        role = "id" if column == dataset.id else "subject"
    if role == "subject" and dataset.subject is None:
        raise InputError(
            f"requests.identities: {column!r} names persons, and the dataset has none",
            "params.yaml names no column in dataset.subject",
        )
    return None if role is None else "record" if role == "id" else "subject"


def _wanted(ids: Mapping[Kind, Iterable[tuple[str, str]]]) -> Wanted:
    return Wanted(tuple(ids.get("record", ())), tuple(ids.get("subject", ())))


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(
            f"{name} is not JSON",
            "if it is a table, name the column of ids: --column",
            facts=Facts(file=name),
        ) from None
    if isinstance(value, list):
        raise InputError(f"{name} has several requests", "give each one in a file of its own")
    if not isinstance(value, dict):
        raise InputError(f"{name} is no request: it is not a JSON object", facts=Facts(file=name))
    return value


def _check_type(request: Mapping[str, Any], name: str) -> None:
    kind = _text(request, "subject_request_type", name)
    if kind != "erasure":
        known = kind if kind in ("access", "portability") else "something else"
        raise InputError(
            f"{name} asks for {known}, not for erasure; nothing was changed",
            facts=Facts(file=name),
        )


def received_on(request: Mapping[str, Any], name: str) -> date:
    """Return the day when a request was submitted: the earliest of its time zone, UTC and here."""
    text = _text(request, "submitted_time", name)
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InputError(
            f"{name}: submitted_time is not a time with its offset, such as 2026-01-31T12:00:00Z",
            facts=Facts(file=name),
        )
    return min(first_day(found), first_day(found.astimezone()))


def _identity(identity: object, name: str, where: str) -> tuple[str, str, str]:
    """Return the format, the value and the kind of an identity."""
    if not isinstance(identity, dict):
        raise InputError(f"{name}, {where}: not a JSON object", facts=Facts(file=name))
    place = f"{name}, {where}"
    form = _text(identity, "identity_format", place) or ""
    if form not in ("raw", *FORMATS):
        raise InputError(
            f"{place}: identity_format is none of raw, {', '.join(FORMATS)}",
            facts=Facts(file=name),
        )
    value = _text(identity, "identity_value", place) or ""
    length = FORMATS.get(form)
    is_hexadecimal = not set(value) - set("0123456789abcdefABCDEF")
    if length is not None and (len(value) != length or not is_hexadecimal):
        raise InputError(f"{place}: identity_value is no {form} in hexadecimal")
    return form, value, _text(identity, "identity_type", place) or ""


def _text(values: Mapping[str, Any], key: str, place: str, *, optional: bool = False) -> str | None:
    value = values.get(key)
    if value is None and optional:
        return None
    if not isinstance(value, str) or not value:
        raise InputError(f"{place}: {key} is missing, or no text")
    return value
