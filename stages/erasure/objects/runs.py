"""DVC's run cache: its record of what stages made of what."""

import re
from collections.abc import Collection

from unlearn.stages.erasure.objects.stores import Listing, Store

_NAME = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?:\.dir)?(?![0-9a-f])")

#: How many entries are in memory at a time.
_AT_ONCE = 500


def naming_runs(store: Store, listing: Listing, names: Collection[str]) -> list[str]:
    """Return the entries of the run cache that name an object of these.

    Parameters
    ----------
    store, listing
        A cache or remote, and what is in it.
    names
        Names of objects.

    Raises
    ------
    UnreachedError
        If an entry cannot be read.
    """
    if not names:
        return []
    wanted = {name.encode("ascii") for name in names}
    found = []
    for first in range(0, len(listing.runs), _AT_ONCE):
        contents = store.read(listing.runs[first : first + _AT_ONCE])
        found += [
            file
            for file, content in contents.items()
            if not wanted.isdisjoint(_NAME.findall(content))
        ]
    return sorted(found)
