"""Which objects of DVC an erasure deletes, which stay, and what keeps them."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from unlearn.stages.context import Context
from unlearn.stages.dvc.storage import UnreachedError
from unlearn.stages.erasure.objects.choice import Choice
from unlearn.stages.erasure.objects.history import check_repository
from unlearn.stages.erasure.objects.runs import naming_runs
from unlearn.stages.erasure.objects.situation import Situation, situation, unnamed_files
from unlearn.stages.erasure.objects.stores import Listing, Store, Stores, open_stores
from unlearn.stages.erasure.objects.survey import survey
from unlearn.stages.training.importing import honoured_lines

__all__ = ["Choice", "Objects", "Pending", "StoreObjects", "find_objects"]

#: Why nothing is deleted where there are objects of others.
SHARED = (
    "no commit here names some objects in it, so another project may use it: --owned says that "
    "none does"
)
_NOTHING = "none of this project's objects is in it: is its URL right?"
#: The original of a post-hoc project that was trained elsewhere.
IMPORTED_MODEL = "the imported model"
_IMPORTED = "it was trained elsewhere, on rows that are to be erased, and nothing here replaces it"
_EARLIER = (
    "an older .dvc/config names it, and today's settings do not: `dvc remote add` it again, under "
    "any name, or say --gone if it does not exist any more"
)
_HELD = "it uses objects that can hold rows, or its history does"
_REFLOG = "commits that no branch has any more name objects that can hold rows"
_SAME = "it uses objects that the working tree uses now, and keeps those that are replaced"


class Pending(BaseModel):
    """A place whose objects stay, although they can hold rows.

    Parameters
    ----------
    place
        Its name, such as `the branch new-rows`.
    why
        Why they stay.
    objects
        How many there are.
    in_use
        How many of them the working tree uses now.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    place: str
    why: str
    objects: int = 0
    in_use: int = 0


class StoreObjects(BaseModel):
    """What is to be deleted in DVC's cache or in a remote.

    Parameters
    ----------
    place
        Its name, such as `the remote backup`.
    objects
        How many objects go.
    in_use
        How many objects the working tree uses now, and go if it does not use them any more.
    runs
        How many entries of the run cache go, since they name one of these.
    unnamed
        Files that go as well, although no commit names them: nobody else uses the place.
    unnamed_files
        How many files no commit names.
    why
        Why nothing is deleted here; None if these are.
    later
        Whether that may have changed when it is looked at again.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    place: str
    objects: int = 0
    in_use: int = 0
    runs: int = 0
    unnamed: tuple[str, ...] = Field(default=(), strict=False)
    unnamed_files: int = 0
    why: str | None = None
    later: bool = False


class Objects(BaseModel):
    """The objects of DVC that an erasure deletes, as they were found before it began.

    What the working tree uses when they are deleted stays, and so does what another branch uses
    then.

    Parameters
    ----------
    choice
        What the user named.
    branch
        The name of the default branch in the settings.
    candidates
        Names of the objects that can hold rows, or models that were trained on them.
    stores
        DVC's cache and its remotes.
    pending
        Refs whose objects stay, and an imported model.
    named
        The refs that `choice` names.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    choice: Choice
    branch: str | None
    candidates: tuple[str, ...] = Field(strict=False, repr=False)
    stores: tuple[StoreObjects, ...] = Field(strict=False)
    pending: tuple[Pending, ...] = Field(strict=False)
    named: tuple[str, ...] = Field(strict=False)

    @property
    def files(self) -> int:
        """About how many files are to be deleted: the unit of progress."""
        return sum(
            store.objects + store.runs + len(store.unnamed)
            for store in self.stores
            if store.why is None
        )

    def store(self, place: str) -> StoreObjects | None:
        """Return what was found in a cache or remote; None if it was not there."""
        return next((store for store in self.stores if store.place == place), None)

    @classmethod
    def of(cls, now: Situation, branch: str | None, pending: Iterable[Pending]) -> Self:
        """Return the objects that go in a situation."""
        unknown = now.unknown_use()
        stores = [_found(now, store, unknown) for store in now.stores.usable]
        stores += [
            StoreObjects(place=place, why=why, later=True)
            for place, why in now.stores.others.items()
        ]
        return cls(
            choice=now.choice,
            branch=branch,
            candidates=tuple(sorted(now.candidates)),
            stores=tuple(stores),
            pending=tuple(pending),
            named=tuple(sorted(tip.place for tip in now.named_tips)),
        )


def find_objects(context: Context, choice: Choice) -> Objects:
    """Find the objects of DVC that an erasure deletes.

    These are the objects of the dataset, of what stages made of it, and of imported models, in
    every commit of this branch and of the default branch, and in the working tree. Reports are
    among them: two reports can be subtracted, and the difference tells of the rows between them.
    What a tracked file, unrelated to the dataset, has been stays.

    Nothing is changed.

    Parameters
    ----------
    context
        The project.
    choice
        What the user named. With `owned`, all files in DVC's cache and remotes that no commit
        names are deleted as well.

    Raises
    ------
    InputError
        If the project is not in a git repository, git does not have all of its files, or `choice`
        names a branch that is not there, or a remote that is no earlier one.
    ToolError
        If git or DVC fails.
    """
    check_repository(context.project.root)  # before DVC, which says less clearly what is wrong
    with open_stores(context.project) as stores:
        return find_in(stores, context, choice)


def find_in(stores: Stores, context: Context, choice: Choice) -> Objects:
    """Find the objects that an erasure deletes in a cache and remotes; see `find_objects`."""
    branch = context.params.ledger.branch
    found = survey(context.project, branch)
    choice.check(found.refs.names)
    now = situation(found, choice, stores)
    choice.check_gone(now.earlier_remotes)
    pending = [*pending_refs(now), *pending_stages(now), *pending_remotes(now)]
    if original_saw_rows(context):
        pending.append(Pending(place=IMPORTED_MODEL, why=_IMPORTED))
    return Objects.of(now, branch, pending)


def original_saw_rows(context: Context) -> bool:
    """Return whether the original was imported and saw rows of the forget list."""
    if context.params.kind != "posthoc" or context.params.posthoc.original != "imported":
        return False
    return not context.read_list().known <= honoured_lines(context)


def pending_refs(now: Situation) -> list[Pending]:
    """Return the refs that keep objects which can hold rows.

    Parameters
    ----------
    now
        The situation.
    """
    found = []
    for tip, held in now.held.items():
        if held:
            why = _REFLOG if tip.kind == "reflog" else _HELD
            used = len(held & now.used)
            if used == len(held):
                why = _SAME
            found.append(Pending(place=tip.place, why=why, objects=len(held), in_use=used))
    return found


def pending_stages(now: Situation) -> list[Pending]:
    """Return the stages of the working tree whose files stay, although they can hold rows.

    Parameters
    ----------
    now
        The situation.
    """
    return [
        Pending(place=place, why=why, objects=len(now.stale.get(place, set()) & now.existing))
        for place, why in now.standing.pending().items()
    ]


def pending_remotes(now: Situation) -> list[Pending]:
    """Return the remotes that only older settings of DVC name: what was pushed to them is there.

    Parameters
    ----------
    now
        The situation.
    """
    names = [name for name in now.earlier_remotes if name not in now.choice.gone]
    return [Pending(place=earlier_remote(name), why=_EARLIER) for name in names]


def earlier_remote(name: str) -> str:
    """Return what a remote is called that only older settings of DVC name."""
    return f"the earlier remote {name}"


def _found(now: Situation, store: Store, unknown: str | None) -> StoreObjects:
    listing = now.listings.get(store)
    if listing is None:
        return StoreObjects(place=store.place, why=now.unreached[store.place], later=True)
    here = listing.objects.keys() & now.candidates
    gone = here - now.used - now.protected
    unnamed = unnamed_files(listing, now.named)
    why = unknown or why_not(now, listing, unnamed)
    try:
        runs = len(naming_runs(store, listing, gone)) if why is None else 0
    except UnreachedError as error:
        return StoreObjects(place=store.place, why=str(error), later=True)
    return StoreObjects(
        place=store.place,
        objects=len(gone),
        in_use=len((here & now.used) - now.protected),
        runs=runs,
        unnamed=tuple(unnamed) if why is None else (),
        unnamed_files=len(unnamed),
        why=why,
        later=unknown is not None,
    )


def why_not(now: Situation, listing: Listing, unnamed: Iterable[str]) -> str | None:
    """Return why nothing may be deleted in a cache or remote; None if it may.

    Parameters
    ----------
    now
        The situation.
    listing
        What is in it.
    unnamed
        The files in it that no commit names.
    """
    if now.candidates and not listing.objects.keys() & now.named:
        return _NOTHING
    if any(unnamed) and not now.choice.owned:
        return SHARED
    return None
