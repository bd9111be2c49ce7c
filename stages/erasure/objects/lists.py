"""The lists of files that DVC keeps of folders, from the cache or from a remote."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from unlearn.stages.dvc.storage import UnreachedError
from unlearn.stages.erasure.objects.records import FOLDER_ENDING, OBJECT
from unlearn.stages.erasure.objects.stores import Listing, Store

#: How many lists are in memory as text at a time.
_AT_ONCE = 500


@dataclass
class Lists:
    """Lists of files, by the name of the folder's object.

    Parameters
    ----------
    found
        The names of the files' objects.
    """

    found: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def load(self, names: Iterable[str], stores: Mapping[Store, Listing]) -> None:
        """Read lists from the first cache or remote that has them.

        Parameters
        ----------
        names
            Names of objects; those of files are skipped.
        stores
            Where to look, and what is there.
        """
        wanted = {name for name in names if name.endswith(FOLDER_ENDING)} - self.found.keys()
        for store, listing in stores.items():
            files = {
                file: name
                for name in wanted & listing.objects.keys()
                for file in listing.objects[name]
                if file.endswith(FOLDER_ENDING)
            }
            order = sorted(files)
            for first in range(0, len(order), _AT_ONCE):
                try:
                    contents = store.read(order[first : first + _AT_ONCE])
                except UnreachedError:
                    break  # another one may have them
                for file, content in contents.items():
                    if (found := _read(files[file], content)) is not None:
                        self.found[files[file]] = found
            wanted -= self.found.keys()

    def files(self, name: str, stores: Mapping[Store, Listing]) -> dict[str, str] | None:
        """Return the files in a list by their paths; None if it is nowhere.

        Parameters
        ----------
        name, stores
            As in `load`.
        """
        for store, listing in stores.items():
            for file in listing.objects.get(name, ()):
                with suppress(UnreachedError):
                    content = store.read([file]).get(file, b"")
                    if _read(name, content) is not None:
                        return {
                            str(entry["relpath"]): str(entry["md5"])
                            for entry in json.loads(content)
                        }
        return None

    def expand(self, names: Collection[str]) -> set[str]:
        """Return names of objects, and those of all files in folders among them."""
        found = set(names)
        for name in names:
            found.update(self.found.get(name, ()))
        return found

    def missing(self, names: Iterable[str]) -> set[str]:
        """Return the names of folders whose list is nowhere."""
        return {name for name in names if name.endswith(FOLDER_ENDING)} - self.found.keys()


def _read(name: str, content: bytes) -> tuple[str, ...] | None:
    """Return the names in a list; None if it is damaged."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != name.removesuffix(FOLDER_ENDING):
        return None
    try:
        found = tuple(str(entry["md5"]) for entry in json.loads(content))
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return found if all(OBJECT.fullmatch(entry) for entry in found) else None
