"""Which requests a receipt can be written for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn.stages.config.params import Regime
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.ledger.log import Entry, Log
from unlearn.stages.ledger.newest_erasures import newest_erasures
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


def erased_requests(log: Log, regime: Regime | None = None) -> list[ErasedRequest]:
    """Return the requests that an erasure had seen, complete or not; not those taken back."""
    erasures = log.erasures()
    found = (
        _erased(erasures, request) for request in filed_requests(log, regime) if request.current
    )
    return [one for one in found if one is not None]


def _erased(
    erasures: Sequence[tuple[Entry, frozenset[str]]], request: FiledRequest
) -> ErasedRequest | None:
    """Return a request with the newest erasure that had seen it.

    Of several branches' newest ones, one that left something pending counts.
    """
    newest = newest_erasures(erasures, request.names)
    found = [
        ErasedRequest(request, entry, entry.erasure)
        for entry in reversed(newest)
        if entry.erasure is not None
    ]
    pending = (one for one in found if not one.erasure.complete)
    return next(pending, next(iter(found), None))


def select_requests(
    log: Log,
    receipts: Mapping[str, Predicate],
    ticket: str | None,
    regime: Regime | None = None,
) -> list[ErasedRequest]:
    """Return the requests that need a receipt.

    Parameters
    ----------
    log, receipts
        The request log, and the receipts that are there, by name.
    ticket
        The reference of one request; all requests if None.
    regime
        The law of requests that name none.

    Raises
    ------
    InputError
        If the request of the ticket is not there, was taken back, or is not erased.
    """
    erased = erased_requests(log, regime)
    if ticket is not None:
        erased = [one for one in erased if one.request.ticket == ticket]
        if not erased:
            raise _no_request(log, ticket)
    return [one for one in erased if not _has_receipt(one, receipts)]


def last_receipt(request: ErasedRequest, receipts: Mapping[str, Predicate]) -> Predicate | None:
    """Return the newest receipt of a request; None if it has none."""
    names = set(request.names)
    found = [one for one in receipts.values() if names <= set(one.request.entries)]
    return max(found, key=lambda one: one.created, default=None)


def _has_receipt(request: ErasedRequest, receipts: Mapping[str, Predicate]) -> bool:
    """Return whether the newest receipt of a request says all that the log can tell."""
    last = last_receipt(request, receipts)
    if last is None:
        return False
    if request.erasure.complete:  # then the evidence decides whether the outcome is complete
        return last.request.outcome == "complete"
    return last.purge.entry == request.entry.name


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
