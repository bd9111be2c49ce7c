"""Writing receipts."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

from unlearn.stages.context import load_params
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import Log, read_log
from unlearn.stages.ledger.suppressed import dropped_rows
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.commitment import commitment, new_salt
from unlearn.stages.receipts.envelope import Envelope, Signed, to_sign
from unlearn.stages.receipts.facts import (
    find_outcome,
    find_process,
    find_scope,
    find_verification,
    public_count,
    public_places,
    with_evidence,
)
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys, PublicKey
from unlearn.stages.receipts.requests import ErasedRequest, last_receipt, select_requests
from unlearn.stages.receipts.roots import roots_before, roots_now
from unlearn.stages.receipts.signers import Signer
from unlearn.stages.receipts.statement import (
    PAYLOAD_TYPE,
    Commitment,
    DigestSet,
    Heads,
    Outcome,
    Predicate,
    Process,
    Purge,
    Request,
    Roots,
    Statement,
    Subject,
    Verification,
    receipt_name,
)
from unlearn.stages.receipts.store import (
    annex_bytes,
    annex_path,
    expired_annexes,
    heads_of,
    read_keys,
    read_receipts,
    write_annex,
    write_receipt,
)
from unlearn.stages.requests.deadlines import Period

#: How long an annex is kept by default: the CCPA regulations, California Code of Regulations,
#: title 11, section 7101, ask for records of requests to be kept for at least 24 months.
RETENTION = Period(months=24)


@dataclass(frozen=True)
class Wish:
    """What the operator asks for.

    Parameters
    ----------
    ticket
        The reference of one request; all if None.
    publish_ticket
        Whether the receipt names it.
    valid_until
        The last day of the annex; None for the default.
    """

    ticket: str | None = None
    publish_ticket: bool = False
    valid_until: date | None = None


@dataclass(frozen=True)
class Written:
    """A receipt that was written.

    Parameters
    ----------
    name, file
        Its name, and its path in the project.
    ticket
        The reference of the request.
    outcome, reasons
        What came of the request, and why no more.
    signature
        The signature, which a time stamp is for.
    """

    name: str
    file: str
    ticket: str | None
    outcome: Outcome
    reasons: tuple[str, ...]
    signature: bytes


@dataclass(frozen=True)
class Created:
    """What a call wrote.

    Parameters
    ----------
    receipts
        The new receipts.
    heads
        The newest receipts now: the anchor.
    expired_annexes
        How many annexes were at the end of their time, and were deleted.
    """

    receipts: tuple[Written, ...]
    heads: tuple[str, ...]
    expired_annexes: int = 0


@dataclass(frozen=True)
class _State:
    """What all receipts of one call have in common."""

    project: Project
    log: Log
    keys: Sequence[PublicKey]
    now: datetime
    min_rows: int
    verification: Verification
    process: Process
    after: Roots
    suppressed: int | None
    wish: Wish


def create_receipts(project: Project, signer: Signer, wish: Wish) -> Created:
    """Write a receipt for each request that an erasure had seen and that has none.

    Parameters
    ----------
    project
        The project.
    signer
        Who signs.
    wish
        What the operator asks for.

    Raises
    ------
    InputError
        If a request is not erased, no key of the project is that of the signer, the clock is
        before the last receipt, or a receipt in the project is damaged. Nothing was changed.
    """
    with exclusive(project.lock_file("receipts"), "another `unlearn receipt`"):
        receipts = read_receipts(project)
        log = read_log(project)
        regime = load_params(project.params).requests.regime
        selected = select_requests(log, receipts, wish.ticket, regime)
        now = _now(receipts, selected)
        expired = expired_annexes(project, now.date())
        heads = heads_of(receipts)
        written = []
        if selected:
            state = _find_state(project, log, now, wish)
            for one in selected:
                if _says_no_more(state, one, receipts):
                    continue
                statement, annex = _statement(state, one, heads)
                envelope = _sign(statement.payload, signer, state.keys, now)
                written.append(_write(state, one, envelope, annex))
                heads = (written[-1].name,)  # it names all that were
        # Last: what stops the command has to stop it before anything is deleted.
        for path in expired:
            path.unlink()
        return Created(tuple(written), heads, len(expired))


def _now(receipts: Mapping[str, Predicate], selected: Sequence[ErasedRequest]) -> datetime:
    """Return the time, and insist that it is after all that a receipt rests on."""
    now = datetime.now(UTC).replace(microsecond=0)
    last = max((one.created for one in receipts.values()), default=now)
    erased = max((datetime.fromisoformat(one.entry.time) for one in selected), default=now)
    for time, what in ((last, "the last receipt"), (erased, "the erasure")):
        if now < time:
            raise InputError(
                f"the clock of this machine says {now.isoformat()}, which is before {what}",
                "set the clock right; nothing was changed",
            )
    return now


def _project_id(keys: Sequence[PublicKey]) -> str:
    """Return the public id of the project, which its keys name."""
    if not keys:
        raise InputError(
            "there is no public key in data/receipts/keys",
            "`unlearn receipt keygen` makes a key; `git pull` fetches one that was made elsewhere",
        )
    return keys[0].statement.project


def _sign(payload: bytes, signer: Signer, keys: Sequence[PublicKey], now: datetime) -> Envelope:
    """Return the signed receipt; the signer is one of the keys, and may sign now."""
    signature = signer.sign(to_sign(PAYLOAD_TYPE, payload))
    for key in keys:
        signed = Signed(key.keyid, signature)
        if key.verifies(signed, to_sign(PAYLOAD_TYPE, payload)):
            try:
                Keys(keys).check_epoch(key.keyid, now)
            except RefusedError:
                raise InputError(
                    "the key of the signer may not sign any more, or not yet",
                    "sign with the key that follows it",
                ) from None
            return Envelope(PAYLOAD_TYPE, payload, (signed,))
    raise InputError(
        "the signer's key is none of the public keys in data/receipts/keys",
        "`unlearn receipt keygen` makes a key, or `git pull` fetches one that was made elsewhere",
    )


def _find_state(project: Project, log: Log, now: datetime, wish: Wish) -> _State:
    params = load_params(project.params)
    verification, environment = find_verification(project)
    return _State(
        project=project,
        log=log,
        keys=read_keys(project),
        now=now,
        min_rows=params.verify.min_rows,
        verification=verification,
        process=find_process(project, params, environment),
        after=roots_now(project),
        suppressed=dropped_rows(project),
        wish=wish,
    )


def _statement(
    state: _State, one: ErasedRequest, heads: tuple[str, ...]
) -> tuple[Statement, bytes]:
    """Return what the receipt of a request states, and its annex."""
    salt = new_salt()
    # Not those that were taken back: their rows stay.
    tokens = sorted(one.request.current or ())
    annex = annex_bytes(_annex(state, one, salt, tokens))
    predicate = Predicate(
        created=state.now,
        valid_until=_until(state),
        project=_project_id(state.keys),
        request=_request(state, one),
        commitment=Commitment(method="salted-sha256", sha256=commitment(salt, tokens)),
        annex=DigestSet(sha256=hashlib.sha256(annex).hexdigest()),
        before=roots_before(state.project, one.names),
        after=state.after,
        process=state.process,
        purge=Purge(
            entry=one.entry.name,
            time=datetime.fromisoformat(one.entry.time),
            places=public_places(one.erasure, state.min_rows),
        ),
        verification=with_evidence(state.project, state.verification, one.entry.list_digest),
        suppressed_rows=None
        if state.suppressed is None
        else public_count(state.suppressed, state.min_rows),
        scope=find_scope(one.erasure, state.verification, state.suppressed),
        heads=Heads(log=state.log.heads, receipts=heads),
    )
    return Statement(subject=tuple(_subjects(state.after)), predicate=predicate), annex


def _says_no_more(state: _State, one: ErasedRequest, receipts: Mapping[str, Predicate]) -> bool:
    """Return whether a new receipt would say the same as the newest one."""
    last = last_receipt(one, receipts)
    outcome = find_outcome(one.erasure, state.verification, state.suppressed)
    return (
        last is not None
        and last.purge.entry == one.entry.name
        and (last.request.outcome, last.request.reasons) == outcome
    )


def _write(state: _State, one: ErasedRequest, envelope: Envelope, annex: bytes) -> Written:
    """Write a receipt and its annex; the annex first, since the receipt is the acknowledgement."""
    name = receipt_name(envelope.payload)
    write_annex(state.project, name, annex)
    try:
        file = write_receipt(state.project, name, envelope.write())
    except OSError:
        with suppress(OSError):
            annex_path(state.project, name).unlink()
        raise
    outcome, reasons = find_outcome(one.erasure, state.verification, state.suppressed)
    signature = envelope.signatures[0].signature
    return Written(name, file, one.request.ticket, outcome, reasons, signature)


def _until(state: _State) -> date:
    return state.wish.valid_until or RETENTION.after(state.now.date())


def _request(state: _State, one: ErasedRequest) -> Request:
    outcome, reasons = find_outcome(one.erasure, state.verification, state.suppressed)
    return Request(
        ticket=one.request.ticket if state.wish.publish_ticket else None,
        entries=one.names,
        regime=one.request.regime,
        received=one.request.received,
        due=one.request.due,
        extended=one.request.extended,
        closed=datetime.fromisoformat(one.entry.time).astimezone(UTC).date(),
        outcome=outcome,
        reasons=reasons,
    )


def _annex(state: _State, one: ErasedRequest, salt: str, tokens: list[str]) -> dict[str, object]:
    """Return the confidential part: what names the persons, and counts."""
    return {
        "validUntil": _until(state).isoformat(),
        "ticket": one.request.ticket,
        "entries": list(one.names),
        "salt": salt,
        "tokens": tokens,
        "counts": {
            "lines": len(tokens),
            "suppressedRows": state.suppressed,
            "residual": {place.name: place.residual for place in one.erasure.places},
        },
    }


def _subjects(after: Roots) -> Iterable[Subject]:
    for name, digest in (("data", after.data), ("models", after.models), ("dvc.lock", after.lock)):
        yield Subject(name=name, digest=DigestSet(sha256=digest))
