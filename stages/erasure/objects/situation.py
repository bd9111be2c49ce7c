"""What may go and what has to stay, by git, the working tree, and DVC's cache and remotes."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from unlearn.stages.dvc.storage import UnreachedError
from unlearn.stages.erasure.objects.choice import Choice
from unlearn.stages.erasure.objects.lists import Lists
from unlearn.stages.erasure.objects.remotes import earlier_remotes
from unlearn.stages.erasure.objects.standing import Standing, standing
from unlearn.stages.erasure.objects.stores import Listing, Store, Stores, object_at
from unlearn.stages.erasure.objects.survey import Survey
from unlearn.stages.erasure.objects.tips import Tip

#: Why nothing may be deleted, and what to do.
_NOT_KNOWN = "what the {place} uses is not known: a list of its files is nowhere"
_DAMAGED = "what the working tree uses is not known: a file of DVC in it cannot be read"


@dataclass(frozen=True)
class Situation:
    """What is in DVC's cache and remotes, and who uses it.

    Parameters
    ----------
    survey
        What git and the working tree say.
    choice
        What else goes.
    stores
        The cache and the remotes.
    listings
        What is in those that could be listed.
    unreached
        Why others could not.
    """

    survey: Survey
    choice: Choice
    stores: Stores
    listings: Mapping[Store, Listing]
    unreached: Mapping[str, str]

    @cached_property
    def named_tips(self) -> list[Tip]:
        """The refs outside our history whose objects go as well, since the user named them."""
        return [tip for tip in self.survey.refs.tips if self.choice.names(tip)]

    @cached_property
    def other_tips(self) -> list[Tip]:
        """The other refs outside our history."""
        return [tip for tip in self.survey.refs.tips if not self.choice.names(tip)]

    @cached_property
    def lists(self) -> Lists:
        """The lists of all folders that any commit or the working tree names."""
        found = Lists()
        found.load(self.survey.names(self.survey.files), self.listings)
        return found

    @cached_property
    def used(self) -> set[str]:
        """The objects that the working tree uses."""
        return self.present | self.linked

    @cached_property
    def standing(self) -> Standing:
        """What the working tree uses, by what the files of DVC in it say."""
        files = cache(lambda name: self.lists.files(name, self.listings))
        return standing(self.survey.stages(), self.survey.paths, self.survey.history.top, files)

    @cached_property
    def present(self) -> set[str]:
        """The objects of the working tree, but for those of stages that have to run again."""
        names = {entry.name for entry in self.standing.used}
        return self.lists.expand(names | self.survey.damaged())

    @cached_property
    def stale(self) -> dict[str, set[str]]:
        """The objects that stay because of a stage that has to run again, by the stage."""
        return {
            place: self.lists.expand({out.name for out in outs}) - self.used
            for place, outs in self.standing.stale.items()
        }

    @cached_property
    def linked(self) -> set[str]:
        """The objects that files of the working tree are links to."""
        return set(self._linked())

    @cached_property
    def earlier_remotes(self) -> list[str]:
        """The names of remotes that only older settings of DVC name."""
        return earlier_remotes(self.survey.configs, self.survey.history.top, self.stores.remotes)

    @cached_property
    def protected(self) -> set[str]:
        """The objects that stages which have to run again wrote, and that other refs use.

        But for refs that the user named.
        """
        found = {out.name for outs in self.standing.stale.values() for out in outs}
        for tip in self.other_tips:
            if tip.protects:
                found |= self.survey.names(tip.versions(self.survey.history))
        return self.lists.expand(found)

    @cached_property
    def candidates(self) -> set[str]:
        """The objects that can hold rows, or models trained on them, of our history."""
        counted = self.survey.counted(self.survey.own(self.named_tips))
        return self.lists.expand(counted)

    @cached_property
    def named(self) -> set[str]:
        """The objects that a commit names, or that the working tree uses."""
        return self.lists.expand(self.survey.names(self.survey.files)) | self.used

    @cached_property
    def existing(self) -> set[str]:
        """The objects that are in the cache or in a remote, as far as these could be listed."""
        return {name for listing in self.listings.values() for name in listing.objects}

    def unknown_use(self) -> str | None:
        """Return why it is not known what has to stay; None if it is known.

        A list that is missing could name any object.
        """
        # The files of the working tree itself are on this machine.
        for tip in self.other_tips:
            versions = tip.versions(self.survey.history) if tip.protects else ()
            if self.lists.missing(self.survey.lists(versions)):
                return _NOT_KNOWN.format(place=tip.place.removeprefix("the "))
        if self.lists.missing(self.survey.kept_lists(self.standing.entries())):
            return _NOT_KNOWN.format(place="working tree")
        if not self.survey.pipelines.are_known or self.survey.damaged():
            return _DAMAGED
        return None

    @cached_property
    def held(self) -> dict[Tip, set[str]]:
        """The objects that can hold rows, and that stay because of a ref, by ref.

        Those that the working tree uses are among them.
        """
        gone = self.candidates - self.protected - self.used
        found = {}
        for tip in self.other_tips:
            counted = self.lists.expand(self.survey.counted(self.survey.behind_tip(tip)))
            found[tip] = (counted & self.existing) - gone
        return found

    def _linked(self) -> Iterator[str]:
        top = self.survey.history.top
        for out in self.survey.outs():
            for path in _links(top / out):
                if (name := object_at(path.resolve(), self.stores.cache)) is not None:
                    yield name


def _links(path: Path) -> Iterator[Path]:
    """Yield the links at a path and below it."""
    if path.is_symlink():
        yield path
    elif path.is_dir():
        for folder, folders, names in os.walk(path):
            for name in (*folders, *names):
                inside = Path(folder) / name
                if inside.is_symlink():
                    yield inside


def situation(survey: Survey, choice: Choice, stores: Stores) -> Situation:
    """Return the situation, after a look into the cache and all remotes.

    Parameters
    ----------
    survey
        What git and the working tree say.
    choice
        What else goes.
    stores
        The cache and the remotes.
    """
    listings: dict[Store, Listing] = {}
    unreached = dict(stores.others)
    for store in stores.usable:
        try:
            listings[store] = store.list_files()
        except UnreachedError as error:
            unreached[store.place] = str(error)
    return Situation(survey, choice, stores, listings, unreached)


def unnamed_files(listing: Listing, named: Collection[str]) -> list[str]:
    """Return the files in a cache or remote that no commit and no working tree names."""
    objects = [
        file for name, files in listing.objects.items() if name not in named for file in files
    ]
    return sorted([*objects, *listing.loose])
