"""Deleting objects of DVC from its cache, its run cache and its remotes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from unlearn.stages.audit.stores import CACHE
from unlearn.stages.dvc.storage import UnreachedError
from unlearn.stages.erasure.objects.find import (
    IMPORTED_MODEL,
    SHARED,
    Objects,
    earlier_remote,
    pending_refs,
    pending_remotes,
    pending_stages,
    why_not,
)
from unlearn.stages.erasure.objects.records import FOLDER_ENDING
from unlearn.stages.erasure.objects.runs import naming_runs
from unlearn.stages.erasure.objects.situation import Situation, situation, unnamed_files
from unlearn.stages.erasure.objects.stores import (
    Listing,
    RemoteStore,
    Store,
    Stores,
    object_of,
    open_stores,
)
from unlearn.stages.erasure.objects.survey import survey
from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.project.paths import Project

RUN_CACHE = "the run cache"

_METHOD = "deleted file by file, then listed again"
_RUNS_METHOD = "entries that name a deleted object were deleted, then listed again"
_NAMED_METHOD = "it was named: what only it used was deleted where DVC's objects are"
_GONE_METHOD = "it does not exist any more, as the person who erased said"
_LINKED = "files of the working tree are links to objects in it that dvc.lock does not name"
_LEFT = "files were there again after they had been deleted"
_UNSEARCHED = (
    "it has objects that DVC's cache does not have, so they were not searched: "
    "`dvc fetch --all-commits` brings them here"
)
_OLDER = "older versions of its files may be left: {why}"


def purge(project: Project, objects: Objects, advance: Callable[[int], None]) -> list[ErasedPlace]:
    """Delete objects from DVC's cache, its run cache and all remotes.

    What the working tree uses now stays, and what another branch, a stash or an experiment uses
    now, unless it was named. Entries of the run cache go first, lists of folders last: after a kill
    the same call does the rest. Files are unlinked, not overwritten.

    Parameters
    ----------
    project
        The project.
    objects
        What was found before the erasure began.
    advance
        Told how many files were deleted.

    Returns
    -------
    list of ErasedPlace
        What became of each place. One that cannot be reached or changed is pending, with the
        reason, and does not keep others from being purged.

    Raises
    ------
    InputError
        If git's history is not there any more.
    ToolError
        If git or DVC fails; what was deleted until then stays deleted.
    """
    with open_stores(project) as stores:
        return purge_in(stores, project, objects, advance)


def purge_in(
    stores: Stores, project: Project, objects: Objects, advance: Callable[[int], None]
) -> list[ErasedPlace]:
    """Delete objects from a cache and remotes; see `purge`."""
    found = survey(project, objects.branch)
    work = _Purge(objects, situation(found, objects.choice, stores), advance)
    reasons = {store: work.purge(store) for store in stores.usable}
    after = situation(found, objects.choice, stores)
    kept = [ref for ref in pending_refs(after) if ref.objects > ref.in_use]
    kept += [*pending_stages(after), *pending_remotes(after)]
    places = [
        place
        for store, why in reasons.items()
        for place in _places(store, why, work.kept(store, after))
    ]
    places += [_pending(place, why) for place, why in stores.others.items()]
    places += [_pending(keeper.place, keeper.why) for keeper in kept]
    places += [
        ErasedPlace(name=place, state="purged", method=_NAMED_METHOD) for place in objects.named
    ]
    places += [
        ErasedPlace(name=earlier_remote(name), state="purged", method=_GONE_METHOD)
        for name in objects.choice.gone
    ]
    places += [
        _pending(place.place, place.why)
        for place in objects.pending
        if place.place == IMPORTED_MODEL
    ]
    return places


def _places(store: Store, why: str | None, kept: str | None) -> list[ErasedPlace]:
    """Return what became of a cache or remote, and of the run cache.

    Parameters
    ----------
    store
        The cache or remote.
    why
        Why it was not purged; None if it was.
    kept
        Why it still has objects that can hold rows; None if it has none.
    """
    why_object = why or kept
    purged = ErasedPlace(name=store.place, state="purged", method=_METHOD)
    places = [purged if why_object is None else _pending(store.place, why_object)]
    if store.place == CACHE:
        runs = ErasedPlace(name=RUN_CACHE, state="purged", method=_RUNS_METHOD)
        places.append(runs if why is None else _pending(RUN_CACHE, why))
    return places


@dataclass(frozen=True)
class _Purge:
    objects: Objects
    now: Situation
    advance: Callable[[int], None]

    def purge(self, store: Store) -> str | None:
        """Delete what is in a cache or remote; return why it could not be, None if it was."""
        try:
            return self._why_not(store) or self._deleted(store)
        except UnreachedError as error:
            return str(error)

    def kept(self, store: Store, after: Situation) -> str | None:
        """Return why a cache or remote still has objects that can hold rows; None if it has none.

        Parameters
        ----------
        store
            The cache or remote.
        after
            The situation after everything was deleted.
        """
        listing = after.listings.get(store)
        if listing is None:
            return after.unreached[store.place]
        here = listing.objects.keys()
        if here & self._candidates & (after.linked - after.present):
            return _LINKED
        places = [tip.place for tip, held in after.held.items() if here & held - after.used]
        places += [stage for stage, held in after.stale.items() if here & held & self._candidates]
        if places:
            return f"it keeps objects of {', '.join(places)}"
        # A folder is searched itself. In a cloud, only what the cache has as well was searched.
        in_cache = {
            name
            for other, found in after.listings.items()
            if other.place == CACHE
            for name in found.objects
        }
        return _UNSEARCHED if isinstance(store, RemoteStore) and here - in_cache else None

    def _why_not(self, store: Store) -> str | None:
        """Return why nothing may be deleted; None if it may."""
        listing = self.now.listings.get(store)
        if listing is None:
            return self.now.unreached[store.place]
        if (unknown := self.now.unknown_use()) is not None:
            return unknown
        before = self.objects.store(store.place)
        if before is not None and not before.later:
            # Objects that came since, of a run that was killed, are no other project's.
            return before.why
        return why_not(self.now, listing, unnamed_files(listing, self._known))

    @cached_property
    def _known(self) -> set[str]:
        return self.now.named | self._candidates

    @cached_property
    def _candidates(self) -> set[str]:
        # Some lists may not have been in reach before.
        return self.now.lists.expand(self.objects.candidates)

    def _deleted(self, store: Store) -> str | None:
        """Delete everything; return why something is left, None if nothing is.

        Lists of folders go last: a list is all that knows its files. That of a folder with a file
        which is left stays, or nothing would name the file the next time.
        """
        files = self._files(store, self.now.listings[store])
        failed = store.delete([file for file in files if not _is_list(file)], self.advance)
        left = {object_of(file) for file in failed}
        lists = [file for file in files if _is_list(file)]
        lists = [file for file in lists if left.isdisjoint(self._files_of(file))]
        failed |= store.delete(lists, self.advance)
        listing = store.list_files()
        if found := self._files(store, listing):
            return next((failed[file] for file in found if file in failed), _LEFT)
        if self._unnamed_before(store) & set(unnamed_files(listing, self._known)):
            return SHARED
        return None if listing.older is None else _OLDER.format(why=listing.older)

    def _files_of(self, file: str) -> tuple[str, ...]:
        """Return the objects that a list of a folder names."""
        return self.now.lists.found.get(object_of(file) or "", ())

    def _unnamed_before(self, store: Store) -> set[str]:
        """Return the files that no commit named when the erasure began, of a place that is ours."""
        before = self.objects.store(store.place)
        return set() if before is None else set(before.unnamed)

    def _files(self, store: Store, listing: Listing) -> list[str]:
        """Return the files to delete, in their order."""
        gone = self._candidates - self.now.used - self.now.protected
        files = [file for name in listing.objects.keys() & gone for file in listing.objects[name]]
        files += self._unnamed(store, listing)
        return [*naming_runs(store, listing, gone), *sorted(set(files))]

    def _unnamed(self, store: Store, listing: Listing) -> Iterable[str]:
        """Return the files that no commit names, of a place that nobody else uses."""
        if not self.objects.choice.owned:
            return ()
        before = self.objects.store(store.place)
        unnamed = unnamed_files(listing, self._known)
        if before is None or before.later:
            return unnamed
        return self._unnamed_before(store) & set(unnamed)


def _is_list(file: str) -> bool:
    """Return whether a file is the list of a folder."""
    return (object_of(file) or "").endswith(FOLDER_ENDING)


def _pending(place: str, why: str) -> ErasedPlace:
    return ErasedPlace(name=place, state="pending", why=why)
