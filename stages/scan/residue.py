"""The residue scan: every place that can hold what was erased, searched file by file."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from unlearn.stages.audit.copies import Search
from unlearn.stages.audit.stores import find_stores
from unlearn.stages.context import Context
from unlearn.stages.dvc.command import state_folder
from unlearn.stages.errors import UnlearnError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.files import scratch_folder
from unlearn.stages.project.git import git, is_shallow
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.epochs import split_token
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.scan.array_digests import forgotten_arrays
from unlearn.stages.scan.files import ITS_NAME, FileResult, FileSearch
from unlearn.stages.scan.git_objects import count_objects, git_objects
from unlearn.stages.scan.named_pictures import NAMED, NamedPictures
from unlearn.stages.scan.patterns import Patterns, Wanted
from unlearn.stages.scan.row_digests import forgotten_digests

#: What findings call a token, and a row that is found by its id.
TOKEN = "a token of the forget list"  # noqa: S105 - words
ROWS = "rows of forgotten records"
ROW_DIGEST = "the digest of a forgotten row"

_PROJECT = "the project"
_REPOSITORY = "the repository"
_GIT = "git's objects"
_STATE = "DVC's state"


@dataclass(frozen=True)
class Finding:
    """Something that should not be there.

    Parameters
    ----------
    place
        Where, such as DVC's cache.
    file
        The file or git object, and the member of an archive in it.
    what
        What was found: `ROWS`, `TOKEN`, `ROW_DIGEST`, or the name of a value.
    form
        How it is written; None for rows.
    count
        How often; 1 for rows.
    """

    place: str
    file: str
    what: str
    form: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Unread:
    """A file, or a whole place, that could not be searched completely.

    Parameters
    ----------
    place, file
        As in `Finding`; None for a whole place.
    why
        The reason.
    """

    place: str
    file: str | None
    why: str


@dataclass
class Residue:
    """What a scan came to.

    Parameters
    ----------
    searched
        How many files or objects were searched, by place.
    findings, unread
        See there.
    """

    searched: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def add(self, place: str, result: FileResult) -> None:
        """Add what the search of one file came to."""
        self.searched[place] = self.searched.get(place, 0) + 1
        self.findings += [Finding(place, file, ROWS) for file in result.rows]
        self.findings += [
            Finding(place, file, what, form, count)
            for file, found in result.found.items()
            for (what, form), count in sorted(found.items())
        ]
        self.unread += [Unread(place, file, why) for file, why in result.unread.items()]


@dataclass
class ResidueScan:
    """A search of the project, git, DVC's cache, state and remotes for what was forgotten.

    Parameters
    ----------
    context
        The project. The rows and tokens of its forget list are searched for.
    values
        Values to search for as well.
    folders
        More files and folders to search, such as backups.
    skipped
        Files not to search: the one that names the values.
    forget_list
        The list whose rows and tokens are searched for; None for the project's, as it is now.
    """

    context: Context
    values: Sequence[Wanted] = ()
    folders: Sequence[Path] = ()
    skipped: Collection[Path] = ()
    forget_list: ForgetList | None = None

    def run(self, advance: Callable[[int], None] = lambda _count: None) -> Residue:
        """Search everything.

        Parameters
        ----------
        advance
            Told of each file or object that was searched.
        """
        residue = Residue()
        with scratch_folder(self.context.project.scratch("scan")) as scratch:
            patterns = Patterns((*self.values, *self._tokens(), *self._row_digests()))
            files = FileSearch(
                patterns,
                scratch,
                partial(self._holds, scratch=scratch),
                forgotten_arrays(self.context, self._listed),
            )
            named = NamedPictures(self.context, self._listed)
            for place, path, name in self._files(residue, scratch):
                try:
                    with path.open("rb") as source:
                        result = files.search(source, name, path)
                    if named.has(name, in_project=place == _PROJECT):
                        result.add(name, Counter({(NAMED, ITS_NAME): 1}))
                    residue.add(place, result)
                except OSError as error:
                    why = error.strerror or "it cannot be read"
                    residue.unread.append(Unread(place, name, why))
                advance(1)
            try:
                if is_shallow(self.context.project.root):
                    residue.unread.append(Unread(_GIT, None, "this is a shallow clone"))
                for name, content in git_objects(self.context.project.root, scratch):
                    residue.add(_GIT, files.search(content, name))
                    advance(1)
            except UnlearnError as error:
                residue.unread.append(Unread(_GIT, None, error.message))
        return residue

    def count(self) -> int:
        """Return about how many files and objects there are to search, for people who wait."""
        scratch = self.context.project.scratch("scan")
        files = sum(1 for _ in self._files(Residue(), scratch))
        return files + count_objects(self.context.project.root)

    @cached_property
    def _listed(self) -> ForgetList:
        return self.forget_list or self.context.read_list()

    def _tokens(self) -> list[Wanted]:
        # Of a line for one record of a person, the record: other rows of the person stay.
        tokens = {line.rpartition(".")[2] for line in self._listed.known}
        epochs = read_log(self.context.project, self.context.key).epochs
        # Older files have the tokens of earlier keys.
        older = {before for token in tokens for before in epochs.earlier(token)}
        digests = sorted(split_token(token)[1] for token in (*tokens, *older))
        return [Wanted(TOKEN, bytes.fromhex(digest), is_token=True) for digest in digests]

    def _row_digests(self) -> list[Wanted]:
        # States of exact models have them as bytes. In hex, what an erasure remembers has them.
        digests = forgotten_digests(self.context, self._listed)
        return [Wanted(ROW_DIGEST, bytes.fromhex(digest), is_token=True) for digest in digests]

    @cached_property
    def _rows(self) -> Search:
        return Search(self.context, self._listed)

    def _holds(self, path: Path, scratch: Path) -> bool | None:
        """Return whether a file has rows of the forget list; None if it may have some."""
        return bool(self._rows.forget_list.known) and self._rows.object_holds(path, scratch)

    def _files(self, residue: Residue, scratch: Path) -> Iterator[tuple[str, Path, str]]:
        """Yield the place, path and name of each file to search; each file once."""
        project = self.context.project
        stores = find_stores(project)
        residue.unread += [Unread(place.name, None, place.why_not or "") for place in stores.others]
        places = {_PROJECT: project.root, **stores.folders}
        if ".." in Path(self.context.params.dataset.path).parts:
            # What the dataset is made of is out there, too.
            places |= _repository(project)
        places |= {str(path): path for path in self.folders}
        try:
            state = state_folder(self.context.project)
        except UnlearnError:
            residue.unread.append(Unread(_STATE, None, "DVC did not say where it is"))
        else:
            places |= {} if state is None else {_STATE: state}
        if (git_folder := _git_folder(self.context)) is not None:
            places["git's own files"] = git_folder
        seen = {path.resolve() for path in self.skipped}
        # The inner ones first: the cache is usually in the project.
        for place, folder in sorted(places.items(), key=lambda item: -len(item[1].resolve().parts)):
            residue.searched.setdefault(place, 0)
            for path in _walk(folder, place, residue):
                real = path.resolve()
                # Git's own command reads its objects: they are compressed in its way.
                is_object = git_folder is not None and real.is_relative_to(git_folder / "objects")
                if real in seen or is_object or real.is_relative_to(scratch.resolve()):
                    continue
                seen.add(real)
                yield place, path, path.name if path == folder else str(path.relative_to(folder))


def _walk(folder: Path, place: str, residue: Residue) -> Iterator[Path]:
    """Yield all files below a folder, in order; links to folders are not followed, but named."""

    def note(error: OSError) -> None:
        name = os.path.relpath(error.filename, folder)
        residue.unread.append(Unread(place, name, error.strerror or "it cannot be read"))

    if folder.is_file():
        yield folder
        return
    for top, below, names in os.walk(folder, onerror=note):
        below.sort()
        for name in below:
            link = Path(top) / name
            if link.is_symlink() and not link.resolve().is_relative_to(folder.resolve()):
                why = "a link to a folder, which is not followed: name the folder to search it"
                residue.unread.append(Unread(place, str(link.relative_to(folder)), why))
        for name in sorted(names):
            path = Path(top) / name
            if path.is_file():  # no pipe, no socket, no broken link
                yield path


def _repository(project: Project) -> dict[str, Path]:
    """Return the folder of the repository around a project as a place to search."""
    found = git(project.root, "rev-parse", "--show-toplevel")
    return {} if found is None else {_REPOSITORY: Path(os.fsdecode(found.removesuffix(b"\n")))}


def _git_folder(context: Context) -> Path | None:
    found = git(context.project.root, "rev-parse", "--absolute-git-dir")
    return None if found is None else Path(os.fsdecode(found.strip())).resolve()
