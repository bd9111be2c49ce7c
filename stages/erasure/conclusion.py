"""What an erasure comes to: the state of each place, after the residue scan."""

from collections.abc import Iterable

from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.scan.residue import Residue

#: How the names of remotes begin.
REMOTE = "the remote "
#: How a place was treated that holds only what stands now.
SEARCHED = "searched, and nothing was found"


def conclude(places: Iterable[ErasedPlace], residue: Residue) -> Erasure:
    """Return the state of every place.

    A place is purged only if its copies were deleted, the scan read all of it and found nothing.

    Parameters
    ----------
    places
        What the steps before the scan did. Of places with one name, one that is pending counts.
    residue
        What the scan found. A remote that it cannot search as a whole, since it is in a cloud, is
        left to `places`: it is purged only if DVC's cache has all of its objects, where they were
        searched.

    Returns
    -------
    Erasure
        The places by name.
    """
    found: dict[str, ErasedPlace] = {}
    for place in places:
        if place.name not in found or place.state == "pending":
            found[place.name] = place
    treated = frozenset(found)
    for name in residue.searched:
        found.setdefault(name, ErasedPlace(name=name, state="purged", method=SEARCHED))
    for name, count in _counts(residue).items():
        why = "copies are left: `unlearn scan` names the files"
        found[name] = _pending(found, name, why, residual=count)
    for unread in residue.unread:
        if unread.file is None:
            if unread.place not in treated or not unread.place.startswith(REMOTE):
                found[unread.place] = _pending(found, unread.place, unread.why)
        elif found[unread.place].state == "purged":
            why = "files cannot be searched: `unlearn scan` names them"
            found[unread.place] = _pending(found, unread.place, why)
    return Erasure(places=tuple(found[name] for name in sorted(found)))


def _counts(residue: Residue) -> dict[str, int]:
    """Return how many files of each place have findings."""
    files = {(finding.place, finding.file) for finding in residue.findings}
    counts: dict[str, int] = {}
    for place, _ in files:
        counts[place] = counts.get(place, 0) + 1
    return counts


def _pending(found: dict[str, ErasedPlace], name: str, why: str, residual: int = 0) -> ErasedPlace:
    before = found.get(name)
    method = before.method if before is not None and before.method != SEARCHED else None
    return ErasedPlace(name=name, state="pending", method=method, why=why, residual=residual)
