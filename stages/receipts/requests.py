"""Which requests a receipt can be written for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn.stages.errors import InputError
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.ledger.log import Entry, Log
from unlearn.stages.receipts.statement import Predicate
from unlearn.stages.requests.filed import FiledRequest, filed_requests


@dataclass(frozen=True)
class ErasedRequest:
    """A request with the newest erasure that had seen it.

    Parameters
    ----------
    request
        The request.
    entry, erasure
        The entry of the erasure, and what it says.
    """

    request: FiledRequest
    entry: Entry
    erasure: Erasure

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the request's entries."""
        return tuple(sorted(entry.name for entry in self.request.entries))


def erased_requests(log: Log) -> list[ErasedRequest]:
    """Return the requests that an erasure had seen, complete or not; not those taken back."""
    after = log.erasures()[::-1]
    found = (_erased(after, request) for request in filed_requests(log) if request.current)
    return [one for one in found if one is not None]


def _erased(
    erasures: Sequence[tuple[Entry, frozenset[str]]], request: FiledRequest
) -> ErasedRequest | None:
    """Return a request with the newest complete erasure that had seen it, else the newest one."""
    names = {entry.name for entry in request.entries}
    found = [
        ErasedRequest(request, entry, entry.erasure)
        for entry, seen in erasures
        if entry.erasure is not None and seen >= names
    ]
    return next((one for one in found if one.erasure.complete), next(iter(found), None))


def select_requests(
    log: Log, receipts: Mapping[str, Predicate], ticket: str | None
) -> list[ErasedRequest]:
    """Return the requests that need a receipt.

    Parameters
    ----------
    log, receipts
        The request log, and the receipts that are there, by name.
    ticket
        The reference of one request; all requests if None.

    Raises
    ------
    InputError
        If the request of the ticket is not there, was taken back, or is not erased.
    """
    erased = erased_requests(log)
    if ticket is not None:
        erased = [one for one in erased if one.request.ticket == ticket]
        if not erased:
            raise _no_request(log, ticket)
    return [one for one in erased if not _has_receipt(one, receipts)]


def _has_receipt(one: ErasedRequest, receipts: Mapping[str, Predicate]) -> bool:
    """Return whether a receipt says all that a new one could say."""
    return any(
        set(one.names) <= set(receipt.request.entries)
        and (receipt.request.outcome == "complete" or receipt.purge.entry == one.entry.name)
        for receipt in receipts.values()
    )


def _no_request(log: Log, ticket: str) -> InputError:
    found = next((one for one in filed_requests(log) if one.ticket == ticket), None)
    if found is None:
        return InputError(f"no request has the ticket {ticket}")
    if found.current is None:
        return InputError(
            f"the request {ticket} was logged by an older version, without its lines: a receipt "
            "cannot name it"
        )
    if not found.current:
        return InputError(f"the request {ticket} was taken back")
    return InputError(
        f"the request {ticket} is not erased: its rows may still be in many places",
        "`unlearn erase` deletes them, and then a receipt can be written",
    )
