"""RFC 3161 time stamps: an authority confirms that a signature existed at a time.

A stamp is over the signature of a receipt. A receipt names those before it, so the stamp of the
newest covers all of them. Only `request_stamp` opens a connection.
"""

import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from cryptography import x509
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.check import Checked, Failure, Receipt
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys
from unlearn.stages.receipts.store import read_receipts, unstamped_heads, write_stamp

_SCHEMES = ("http://", "https://")
_SECONDS = 30
_LARGEST = 1 << 20

#: How far the clocks of a machine and of an authority may be apart.
_TOLERANCE = timedelta(minutes=5)


def check_url(url: str) -> None:
    """Raise an InputError if a URL is not one of HTTP, or time stamps are not installed."""
    if not url.startswith(_SCHEMES):
        raise InputError("--tsa is a URL that begins with http:// or https://")
    _library()


def request_stamp(url: str, signature: bytes) -> bytes:
    """Return an authority's answer for a signature, as it sent it.

    Parameters
    ----------
    url
        The authority, by HTTP.
    signature
        The signature of a receipt.

    Raises
    ------
    ToolError
        If the authority cannot be reached, or gives no stamp for this signature.
    """
    library = _library()
    asked = library.TimestampRequestBuilder().data(signature).build()
    request = urllib.request.Request(  # noqa: S310 - `check_url` allows HTTP alone
        url,
        data=asked.as_bytes(),
        headers={"Content-Type": "application/timestamp-query"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
            content: bytes = answer.read(_LARGEST)
    except OSError as error:
        raise ToolError(f"the time stamp authority cannot be reached: {error}") from None
    try:
        found = library.decode_timestamp_response(content)
        granted = found.status == 0 and found.tst_info.nonce == asked.nonce
        same = found.tst_info.message_imprint.message == asked.message_imprint.message
    except ValueError:
        granted = same = False
    if not granted or not same:
        raise ToolError("the time stamp authority gave no stamp for this receipt")
    return content


def stamp_heads(project: Project, url: str) -> list[str]:
    """Get a stamp for each of the newest receipts that has none, and return the files.

    Raises
    ------
    ToolError
        See `request_stamp`. The receipts themselves stay.
    """
    wanted = unstamped_heads(project, read_receipts(project))
    return [
        write_stamp(project, name, request_stamp(url, signature))
        for name, signature in wanted.items()
    ]


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of authorities that are trusted, from a PEM file.

    Raises
    ------
    InputError
        If it holds none.
    """
    _library()
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path.name} holds no certificate in PEM") from None


def check_stamp(
    receipt: Receipt, content: bytes, certificates: Iterable[x509.Certificate]
) -> datetime:
    """Return the time that a stamp confirms for a receipt.

    Parameters
    ----------
    receipt
        The receipt.
    content
        The authority's answer.
    certificates
        The root certificates that are trusted. The chain of the authority is checked at the time of
        the stamp.

    Raises
    ------
    RefusedError
        If the stamp is not over the receipt's signature, its authority is not trusted, or the
        receipt claims a later time than the stamp.
    """
    library = _library()
    builder = library.VerifierBuilder()
    signature = receipt.envelope.signatures[0].signature
    try:
        for certificate in certificates:
            builder = builder.add_root_certificate(certificate)
        found = library.decode_timestamp_response(content)
        builder.build().verify_message(found, signature)
        time: datetime = found.tst_info.gen_time
    except (library.VerificationError, ValueError) as error:
        raise RefusedError("bad-timestamp", f"its time stamp does not hold: {error}") from None
    created = receipt.statement.predicate.created
    if created > time.astimezone(UTC) + _TOLERANCE:
        raise RefusedError(
            "bad-timestamp", f"it says {created.isoformat()}, and its time stamp an earlier time"
        )
    return time


@dataclass(frozen=True)
class Stamped:
    """What the check of time stamps found.

    Parameters
    ----------
    times
        The earliest time that a stamp confirms for each receipt, by file.
    failures
        What is wrong.
    """

    times: Mapping[str, datetime]
    failures: tuple[Failure, ...]


def check_stamps(
    checked: Checked,
    stamps: Mapping[str, bytes],
    certificates: list[x509.Certificate],
    keys: Keys,
) -> Stamped:
    """Check the stamps of receipts, and that the key of each had not ended before its stamp.

    Who has a key that ended can write an earlier time into a receipt. No stamp of that time can be
    had for it.

    Parameters
    ----------
    checked
        The receipts that hold, by file.
    stamps
        The stamps by the file of the receipt; not every receipt needs one of its own.
    certificates
        See `check_stamp`.
    keys
        The keys that are trusted.
    """
    failures = []
    own: dict[str, datetime] = {}
    for file, content in stamps.items():
        if (receipt := checked.receipts.get(file)) is not None:
            try:
                own[receipt.name] = check_stamp(receipt, content, certificates).astimezone(UTC)
            except RefusedError as error:
                failures.append(Failure(file, error.code, error.message))
    covered = _earliest(checked, own)
    refused = {failure.file for failure in failures}
    for file, receipt in checked.receipts.items():
        if file in refused:
            continue
        time = covered.get(receipt.name)
        if time is None:
            failures.append(Failure(file, "no-timestamp", "no time stamp covers it"))
            continue
        end = keys.end(receipt.envelope.signatures[0].keyid)
        if end is not None and time > end + _TOLERANCE:
            reason = (
                f"its first time stamp is of {_text(time)}, after its key ended on {_text(end)}"
            )
            failures.append(Failure(file, "key-epoch", reason))
    times = {
        file: covered[receipt.name]
        for file, receipt in checked.receipts.items()
        if receipt.name in covered
    }
    return Stamped(times, tuple(failures))


def _earliest(checked: Checked, own: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return the earliest time that a stamp confirms for each receipt, by name.

    A stamp covers its receipt and all that came before it. With the earliest stamp first, a
    receipt that was reached needs no second look.
    """
    by_name = {receipt.name: receipt for receipt in checked.receipts.values()}
    found: dict[str, datetime] = {}
    for start, time in sorted(own.items(), key=lambda item: item[1]):
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = time
                waiting += by_name[name].heads if name in by_name else ()
    return found


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _library() -> Any:
    """Return rfc3161_client, which is an extra."""
    try:
        return import_module("rfc3161_client")
    except ImportError:
        raise InputError(
            "time stamps need the package rfc3161-client",
            "pip install 'dvc-unlearn[receipts]'",
        ) from None
