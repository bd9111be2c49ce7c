"""What the request log says of the newest erasures: an older one does not say how it is now."""

from collections.abc import Collection, Sequence
from datetime import datetime

from unlearn.stages.ledger.log import Entry

#: Erasures with the names of the entries that each had seen, as `Log.erasures` returns them.
Erasures = Sequence[tuple[Entry, frozenset[str]]]


def newest_erasures(erasures: Erasures, names: Collection[str]) -> list[Entry]:
    """Return the newest erasures that had seen entries; one, or one of each of several branches.

    Parameters
    ----------
    erasures
        Those of the log.
    names
        Names of entries.

    Returns
    -------
    list of Entry
        Those that no other one had seen. None if no erasure had seen all of the entries: it covers
        those that it had seen, and not a line that was asked for again later. An erasure of another
        branch that had seen some of them only is among the newest ones: it may have found copies.
    """
    wanted = frozenset(names)
    if not any(seen >= wanted for _, seen in erasures):
        return []
    found = [(entry, seen) for entry, seen in erasures if not wanted or seen & wanted]
    older = frozenset[str]().union(*(seen for _, seen in found))
    return [entry for entry, _ in found if entry.name not in older]


def is_erased(erasures: Erasures, entries: Collection[Entry]) -> bool:
    """Return whether the copies of the rows of entries were deleted in all places.

    Parameters
    ----------
    erasures
        Those of the log.
    entries
        Entries of the log.

    Returns
    -------
    bool
        Whether the newest erasures that had seen them left nothing pending. Entries of an older
        log have no names that an erasure could have seen: their times have to be before it.
    """
    names = {entry.name for entry in entries if entry.lines is not None}
    newest = newest_erasures(erasures, names)
    old = [entry for entry in entries if entry.lines is None]
    return bool(newest) and all(
        entry.erasure is not None
        and entry.erasure.complete
        and all(_is_before(one, entry) for one in old)
        for entry in newest
    )


def _is_before(one: Entry, other: Entry) -> bool:
    """Return whether an entry was made before another; not where a time cannot be compared."""
    try:
        return datetime.fromisoformat(one.time) < datetime.fromisoformat(other.time)
    except (ValueError, TypeError):
        return False
