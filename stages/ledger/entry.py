"""An entry of the request log: what it says, and its file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from unlearn.stages.config.params import Regime
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.project.files import canonical_json, json_bytes
from unlearn.stages.rows.epochs import Rotation
from unlearn.stages.rows.forget_list import LEFT_OUT

_NAME_LENGTH = 32

#: `forget` adds lines for records that the dataset has, `suppress` also for others,
#: `hand-written` replaces raw ids that a person wrote into the list, `restore` takes lines back.
#: `extend` gives the request of a ticket more time. `erase` records where copies of the rows of all
#: requests before it were deleted. `run-now` ends the wait of requests for their batch. `rekey`
#: records what became of tokens when the key was rotated. `contacts` names contact data that is no
#: longer suppressed. `upgrade` names the lines of a list from before this log.
EntryKind = Literal[
    "forget",
    "suppress",
    "hand-written",
    "restore",
    "extend",
    "erase",
    "run-now",
    "rekey",
    "contacts",
    "upgrade",
]

#: Fields that entries of older versions do not have. Left out if None, so that names stay the same.
_LATER_FIELDS = (
    *("received", "regime", "erasure", "waiting", "absent", "items", "rotation"),
    *("withdrawn", "renewed"),
)

#: Entries that are about requests, and are none themselves.
_ABOUT_REQUESTS = ("restore", "extend", "erase", "run-now", "rekey", "contacts")


class Filing(NamedTuple):
    """When a request was received, and the law that it was made under; None if nobody stated it."""

    received: date | None = None
    regime: Regime | None = None

    def or_else(self, other: "Filing") -> "Filing":
        """Return what is stated here and, for what is not, what is stated there."""
        return Filing(self.received or other.received, self.regime or other.regime)


NO_FILING = Filing()


def first_day(moment: datetime) -> date:
    """Return the day of a moment: the earlier one of its own time zone and UTC.

    A period that begins on it never ends after that of the law.
    """
    return min(moment.date(), moment.astimezone(UTC).date())


@dataclass(frozen=True)
class Details:
    """What an entry says about its lines, besides them; see `Entry`."""

    absent: frozenset[str] = frozenset()
    items: Mapping[str, int] = field(default_factory=dict)


NO_DETAILS = Details()


class Entry(BaseModel):
    """One request.

    Parameters
    ----------
    kind
        What it did.
    time
        When it was made: UTC, ISO 8601.
    ticket
        The reference that it was given.
    count, digest
        How many lines of the forget list it names or took back, and the SHA-256 over them.
    lines
        These lines; None in the entries of older logs.
    heads
        Names of the entries that were the newest.
    list_digest
        SHA-256 of the forget list after it; `list` in the file.
    received
        The day when the request was received; None if nobody stated it.
    regime
        The law that it was made under, which gives it a due date; None if there is none.
    erasure
        What became of the copies; None in entries of other kinds.
    waiting
        Names of the entries that waited for their batch; None in entries of other kinds.
    absent
        Of its lines, those of ids that were suppressed and that no row had, without marks; None if
        there is none.
    items
        Keyed digests of the entries of another system's list that people were found for, each with
        the code of its reply; None if there is none. Others are in no log.
    rotation
        What became of the tokens; None in entries of other kinds.
    withdrawn, renewed
        Lines of contact data that are suppressed no longer, because their consumers took them back,
        and those of them that are suppressed again; None if there is none.
    """

    model_config = ConfigDict(frozen=True, strict=True, populate_by_name=True)

    kind: EntryKind = "forget"
    time: str
    ticket: str | None
    count: int
    digest: str
    lines: tuple[str, ...] | None = Field(default=None, strict=False)
    heads: tuple[str, ...] = Field(default=(), strict=False)
    list_digest: str | None = Field(
        default=None, validation_alias="list", serialization_alias="list"
    )
    received: date | None = Field(default=None, strict=False)
    regime: Regime | None = None
    erasure: Erasure | None = None
    waiting: tuple[str, ...] | None = Field(default=None, strict=False)
    absent: tuple[str, ...] | None = Field(default=None, strict=False)
    items: dict[str, int] | None = None
    rotation: Rotation | None = None
    withdrawn: tuple[str, ...] | None = Field(default=None, strict=False)
    renewed: tuple[str, ...] | None = Field(default=None, strict=False)

    @property
    def is_request(self) -> bool:
        """Whether it asks to forget records."""
        return self.kind not in _ABOUT_REQUESTS

    @property
    def received_on(self) -> date:
        """The day when the request was received: the stated one, or that of the entry."""
        return self.received or first_day(datetime.fromisoformat(self.time))

    @property
    def bare_lines(self) -> frozenset[str]:
        """The lines, without the mark of canaries that are in no shard."""
        return frozenset(line.removesuffix(LEFT_OUT) for line in self.lines or ())

    @property
    def content(self) -> bytes:
        """The bytes of the entry's file."""
        return json_bytes(self._value)

    @property
    def name(self) -> str:
        """The entry's name: a part of the digest of its content."""
        return hashlib.sha256(canonical_json(self._value)).hexdigest()[:_NAME_LENGTH]

    @property
    def _value(self) -> dict[str, Any]:
        later = {name for name in _LATER_FIELDS if getattr(self, name) is None}
        return self.model_dump(mode="json", by_alias=True, exclude=later)
