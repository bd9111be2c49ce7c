"""Receipts made in memory, without a project, and the keys that sign them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from unlearn.stages.receipts.envelope import Envelope, Signed, to_sign
from unlearn.stages.receipts.keys import (
    KEY_TYPE,
    PublicKey,
    key_id,
    new_statement,
    parse_key,
    sign_key,
)
from unlearn.stages.receipts.signers import FileSigner
from unlearn.stages.receipts.statement import (
    PAYLOAD_TYPE,
    Commitment,
    DigestSet,
    Heads,
    Place,
    Predicate,
    Process,
    Purge,
    Request,
    Roots,
    Scope,
    Statement,
    Subject,
    Tool,
    Verification,
    receipt_name,
)

PROJECT = "0a" * 16
OTHER_PROJECT = "0b" * 16
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = hashlib.sha256(b"some content").hexdigest()


@dataclass(frozen=True)
class TestKey:
    """A key pair with the file of its public key."""

    __test__ = False

    signer: FileSigner
    public: PublicKey

    @property
    def file(self) -> bytes:
        """The file of the public key."""
        return self.public.envelope.write()

    def sign(self, payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
        """Return the file of an envelope."""
        signature = self.signer.sign(to_sign(kind, payload))
        return Envelope(kind, payload, (Signed(self.public.keyid, signature),)).write()


def make_key(
    project: str = PROJECT,
    since: datetime = START,
    until: datetime | None = None,
    previous: TestKey | None = None,
    *,
    seed: int | None = None,
) -> TestKey:
    """Return a new key; with a seed, always the same one."""
    private = (
        Ed25519PrivateKey.generate()
        if seed is None
        else Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
    )
    signer = FileSigner(private)
    followed = None if previous is None else previous.public.keyid
    statement = new_statement(signer.public, project, since, until, followed)
    content = to_sign(KEY_TYPE, statement.payload)
    signatures = [Signed(signer_id(signer), signer.sign(content))]
    if previous is not None:
        signatures.append(Signed(previous.public.keyid, previous.signer.sign(content)))
    return TestKey(signer, parse_key(sign_key(statement, signatures)))


def signer_id(signer: FileSigner) -> str:
    """Return the id of a signer's key."""
    return key_id(signer.public.public_bytes_raw().hex())


def make_statement(
    *,
    created: datetime = START,
    heads: Iterable[str] = (),
    project: str = PROJECT,
    number: int = 0,
    **more: Any,
) -> Statement:
    """Return a statement; `number` makes it another one, `more` replaces parts of the predicate."""
    roots = Roots(data=DIGEST, models=DIGEST, lock=DIGEST)
    fields: dict[str, Any] = {
        "created": created,
        "valid_until": date(2028, 3, 1),
        "project": project,
        "request": Request(
            entries=(f"{number:032x}",),
            regime="gdpr",
            received=date(2026, 2, 10),
            due=date(2026, 3, 10),
            closed=date(2026, 3, 1),
            outcome="complete",
        ),
        "commitment": Commitment(method="salted-sha256", sha256=DIGEST),
        "annex": DigestSet(sha256=hashlib.sha256(b"annex").hexdigest()),
        "after": roots,
        "process": Process(tool=Tool(name="dvc-unlearn", version="0.1.0", algorithm=3)),
        "purge": Purge(
            entry="e" * 32,
            time=START,
            places=(Place(name="DVC's cache", state="purged", method="deleted", residual=0),),
        ),
        "verification": Verification(verdict="pass", label="exact", rests_on=("a check",)),
        "scope": Scope(covers=("the models",), not_covered=("backups",)),
        "heads": Heads(receipts=tuple(heads)),
    }
    digest = DigestSet(sha256=DIGEST)
    return Statement(
        subject=(Subject(name="models", digest=digest),), predicate=Predicate(**fields | more)
    )


def make_chain(key: TestKey, count: int, project: str = PROJECT) -> dict[str, bytes]:
    """Return receipts of which each names the one before it, by file name, oldest first."""
    files: dict[str, bytes] = {}
    heads: tuple[str, ...] = ()
    for number in range(count):
        statement = make_statement(
            created=START + timedelta(minutes=number), heads=heads, number=number, project=project
        )
        heads = (receipt_name(statement.payload),)
        files[f"{heads[0]}.json"] = key.sign(statement.payload)
    return files


def names(files: Mapping[str, bytes]) -> list[str]:
    """Return the names of receipts, from the names of their files."""
    return [file.removesuffix(".json") for file in files]
