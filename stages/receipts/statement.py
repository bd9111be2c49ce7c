"""What a receipt states: an in-toto Statement v1, with a predicate about one request.

The statement layer is that of https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
Readers ignore fields that they do not know, as it asks for.
"""

import hashlib
from datetime import date
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from unlearn.stages.receipts.canonical import canonical, parse_canonical
from unlearn.stages.receipts.envelope import Envelope
from unlearn.stages.receipts.failures import RefusedError

#: The type of the payload, as in-toto names it.
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:dvc-unlearn:erasure-receipt:v1"

#: `complete` only if every copy was deleted everywhere and the evidence passes.
Outcome = Literal["complete", "partial"]

_HEX = r"^[0-9a-f]{64}$"


class Part(BaseModel):
    """An object of a receipt."""

    model_config = ConfigDict(
        frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True
    )


class DigestSet(Part):
    """A digest by its algorithm."""

    sha256: str = Field(pattern=_HEX)


class Subject(Part):
    """An artefact that the receipt is about.

    Parameters
    ----------
    name
        `data`, `models` or `dvc.lock`.
    digest
        Its root; see `Roots`.
    """

    name: str
    digest: DigestSet


class Request(Part):
    """The request.

    Parameters
    ----------
    ticket
        Its reference, where the operator chose to publish it.
    entries
        Names of its entries in the request log.
    regime
        The law that it was made under, if one was stated.
    received, due
        When it was received, and the last day for the answer by this law.
    extended
        Whether the law's extension was used.
    closed
        The day of the erasure.
    outcome, reasons
        What came of it; for `partial`, why.
    """

    ticket: str | None = None
    entries: tuple[str, ...] = Field(min_length=1)
    regime: str | None = None
    received: date
    due: date | None = None
    extended: bool = False
    closed: date
    outcome: Outcome
    reasons: tuple[str, ...] = ()


class Commitment(Part):
    """A salted digest of the tokens; the salt is in the annex.

    Parameters
    ----------
    method
        `salted-sha256`: see `commitment`.
    sha256
        The digest.
    """

    method: Literal["salted-sha256"]
    sha256: str = Field(pattern=_HEX)


class Roots(Part):
    """Digests of the pipeline's state. Each can be computed from dvc.lock alone.

    Parameters
    ----------
    commit
        The git commit; None for the working tree.
    data, models
        SHA-256 of the md5s of the pipeline's own files below data/ and models/. The dataset's own
        md5 is not among them: without a nonce, it could be tested against a guessed row.
    lock
        SHA-256 of dvc.lock.
    """

    commit: str | None = None
    data: str = Field(pattern=_HEX)
    models: str = Field(pattern=_HEX)
    lock: str = Field(pattern=_HEX)


class Tool(Part):
    """The program: its version, and that of what decides the bytes of models."""

    name: str
    version: str
    algorithm: int


class Process(Part):
    """What made the models.

    Parameters
    ----------
    tool
        The program.
    commit
        The git commit that was checked out when the receipt was written.
    code
        SHA-256 of the project's own module file, where the settings name one.
    environment
        The libraries and the machine that the evidence names.
    seed
        A digest under the project key, from which all seeds follow: another key gives another one.
    """

    tool: Tool
    commit: str | None = None
    code: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    seed: str | None = None


class Place(Part):
    """A place that could hold copies.

    Parameters
    ----------
    name, state, method, why
        As the request log has them.
    residual
        How many files with residue the scan found: 0, or, from `verify.min_rows` on, a multiple of
        it. None for fewer.
    """

    name: str
    state: Literal["purged", "pending"]
    method: str | None = None
    why: str | None = None
    residual: int | None = None


class Purge(Part):
    """The erasure.

    Parameters
    ----------
    entry
        The name of its entry in the request log.
    time
        When it was done.
    places
        Every place that could hold copies.
    """

    entry: str
    time: AwareDatetime
    places: tuple[Place, ...]

    @property
    def pending(self) -> tuple[str, ...]:
        """Names of the places that may still hold copies."""
        return tuple(place.name for place in self.places if place.state == "pending")


class ReportFile(Part):
    """A report that the verdict is from.

    Parameters
    ----------
    name
        Its path in the project.
    sha256
        Of its bytes.
    seal
        The digest under the project key that it carries.
    """

    name: str
    sha256: str = Field(pattern=_HEX)
    seal: str | None = None


class Verification(Part):
    """The verdict on the models.

    Parameters
    ----------
    verdict
        `pass`, `fail`, `inconclusive`, or `stale` for a report on another state.
    label
        `exact`, `certified` or `approximate`.
    rests_on
        What was checked, in words.
    reports
        The files that say so.
    """

    verdict: Literal["pass", "fail", "inconclusive", "stale"]
    label: str | None = None
    rests_on: tuple[str, ...] = ()
    reports: tuple[ReportFile, ...] = ()


class Scope(Part):
    """What the receipt covers, and what it does not."""

    covers: tuple[str, ...]
    not_covered: tuple[str, ...]


class Heads(Part):
    """What was the newest when the receipt was written.

    Parameters
    ----------
    log
        Names of entries of the request log.
    receipts
        Names of receipts.
    """

    log: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()


class Predicate(Part):
    """What a receipt says about a request. Public: no id, no token, no small count.

    Parameters
    ----------
    created
        When it was written, in UTC.
    valid_until
        When annex and salt are destroyed. From then on, nobody can tell whose request it was.
    project
        The public id of the project.
    request, purge, verification, process, scope
        The request, what became of copies, the verdict, what made the models, and the limits.
    suppressed_rows
        How many rows of erased people came back in the dataset and were dropped, counted as
        `Place.residual` is. None for fewer, or where the shards were not at hand.
    commitment, annex
        Digests of the tokens and of the annex, which is confidential.
    before, after
        The state before the first entry of the request, where git has it, and at the receipt.
    heads
        What was the newest.
    """

    created: AwareDatetime
    valid_until: date
    project: str
    request: Request
    commitment: Commitment
    annex: DigestSet
    before: Roots | None = None
    after: Roots
    process: Process
    purge: Purge
    verification: Verification
    scope: Scope
    suppressed_rows: int | None = None
    heads: Heads = Heads()

    @model_validator(mode="after")
    def _check_outcome(self) -> "Predicate":
        if self.request.outcome == "complete" and self.purge.pending:
            raise ValueError("it says complete, and names a place that is pending")
        if self.request.outcome == "complete" and self.verification.verdict != "pass":
            raise ValueError("it says complete, and its verdict is not pass")
        return self


class Statement(Part):
    """The whole payload: in-toto's Statement with this predicate."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1)
    predicate_type: Literal["urn:dvc-unlearn:erasure-receipt:v1"] = PREDICATE_TYPE
    predicate: Predicate

    @property
    def payload(self) -> bytes:
        """The bytes to sign."""
        return canonical(self.model_dump(mode="json", by_alias=True))


def parse_statement(payload: bytes) -> Statement:
    """Return the statement that a payload holds.

    Raises
    ------
    RefusedError
        If it is not in the form of RFC 8785, has another type, or lacks a field.
    """
    value = parse_canonical(payload)
    _check_types(value)
    try:
        return Statement.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the predicate"
        raise RefusedError("bad-statement", f"its statement is not whole: {where}") from None


def _check_types(value: Any) -> None:
    found = value if isinstance(value, dict) else {}
    if found.get("_type") != STATEMENT_TYPE:
        raise RefusedError("unknown-type", "its payload is not an in-toto Statement v1")
    if found.get("predicateType") != PREDICATE_TYPE:
        raise RefusedError("unknown-type", "its predicate is not a receipt of this kind")


def check_kind(envelope: Envelope) -> None:
    """Raise `RefusedError` if an envelope is that of something else than a receipt."""
    if envelope.kind != PAYLOAD_TYPE or len(envelope.signatures) != 1:
        raise RefusedError("unknown-type", "it is not the envelope of a receipt")


def receipt_name(payload: bytes) -> str:
    """Return the name of a receipt: the SHA-256 of what it states."""
    return hashlib.sha256(payload).hexdigest()
