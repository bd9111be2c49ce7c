"""DVC's cache and remotes: what is in them, by object."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from unlearn.stages.audit.stores import CACHE
from unlearn.stages.dvc.storage import Remote, Storage, UnreachedError
from unlearn.stages.project.paths import Project

#: Where an object is: as DVC 3 has it, and as DVC 2 had it. The files of an unpacked folder belong
#: to its list.
_OBJECT = re.compile(
    r"(?:files/md5/)?([0-9a-f]{2})/([0-9a-f]{30}(?:\.dir)?)(?:\.unpacked(?:/.*)?)?", re.DOTALL
)
_RUNS = "runs"
#: What DVC leaves when a copy is cut short: an object's name with an ending, or a random name.
_CUT_SHORT = re.compile(
    r"(?:files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}(?:\.dir)?\.[^/]+"
    r"|files/md5/(?:[0-9a-f]{2}/)?\.[\w-]{22}\.tmp"
    r"|[0-9a-f]{2}/\.[\w-]{22}\.tmp"
)
#: Where DVC has copies of files that it reads from elsewhere, in its cache alone.
_COPIES = "fs"

#: How many files are deleted between two reports of progress.
_AT_ONCE = 500


def object_at(path: Path, cache: Path) -> str | None:
    """Return the name of the object at a path in a cache; None if it is no object's."""
    if not path.is_relative_to(cache):
        return None
    return object_of(path.relative_to(cache).as_posix())


def object_of(name: str) -> str | None:
    """Return the name of a file's object by its path in a store; None if it is no object's."""
    match = _OBJECT.fullmatch(name)
    return None if match is None else match[1] + match[2]


@dataclass
class Listing:
    """What is in a cache or remote.

    Parameters
    ----------
    objects
        The files of each object, by its name.
    runs
        The files of the run cache.
    loose
        Files that are no objects, such as those of a copy that was cut short.
    older
        Why older versions of files are not among these; None if they are, or if there are none.
    is_cache
        Whether it is the cache.
    """

    objects: dict[str, list[str]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    older: str | None = None
    is_cache: bool = False

    def add(self, name: str) -> None:
        """Add a file by its path in the cache or remote."""
        if name.startswith(f"{_RUNS}/"):
            self.runs.append(name)
        elif (found := object_of(name)) is not None:
            self.objects.setdefault(found, []).append(name)
        elif _CUT_SHORT.fullmatch(name) or (self.is_cache and name.startswith(f"{_COPIES}/")):
            self.loose.append(name)


class Store(Protocol):
    """DVC's cache, or a remote.

    Any operation but that of the cache may raise `UnreachedError`.
    """

    @property
    def place(self) -> str:
        """What it is called."""

    def list_files(self) -> Listing:
        """Return what is in it."""

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the content of files; those that are not there are left out."""

    def delete(self, names: Sequence[str], advance: Callable[[int], None]) -> dict[str, str]:
        """Delete files, and tell `advance` how many; return why one could not be, by name.

        A file that is not there is as good as deleted.
        """


@dataclass(frozen=True)
class FolderStore:
    """A cache, or a remote that is a folder.

    Parameters
    ----------
    place
        What it is called.
    folder
        Where it is.
    """

    place: str
    folder: Path

    def list_files(self) -> Listing:
        """Return what is in it."""
        found = Listing(is_cache=self.place == CACHE)
        try:
            if not self.folder.is_dir():
                raise UnreachedError("its folder is not there")
            for name in self._names():
                found.add(name)
        except OSError as error:
            raise UnreachedError(_why(error, "to read it")) from None
        return found

    def _names(self) -> Iterator[str]:
        with os.scandir(self.folder) as entries:
            tops = [entry.name for entry in entries if entry.is_dir()]
        for top in tops:
            if top in ("files", _RUNS, _COPIES) or re.fullmatch(r"[0-9a-f]{2}", top):
                yield from _files(str(self.folder / top), top)

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the content of files; those that are not there are left out."""
        found = {}
        for name in names:
            try:
                found[name] = (self.folder / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise UnreachedError(_why(error, "to read it")) from None
        return found

    def delete(self, names: Sequence[str], advance: Callable[[int], None]) -> dict[str, str]:
        """Delete files, and tell `advance` how many; return why one could not be, by name."""
        failed = {}
        folders = set()
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            for name in some:
                path = self.folder / name
                folders.add(path.parent)
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    failed[name] = _why(error, "to delete in it")
            advance(len(some))
        for folder in folders:
            _remove_empty(folder, self.folder)
        # DVC takes an empty folder of a run for a run, and a kill can have left one.
        with suppress(OSError):
            for path in sorted((self.folder / _RUNS).glob("*/*"), reverse=True):
                _remove_empty(path, self.folder)
        return failed


def _files(path: str, name: str) -> Iterator[str]:
    """Yield the files below a folder, by their names in the store; links are files."""
    with os.scandir(path) as entries:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for entry, is_folder in inside:
        if is_folder:
            yield from _files(f"{path}/{entry}", f"{name}/{entry}")
        else:
            yield f"{name}/{entry}"


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder that is empty, and those above it that are empty then.

    Otherwise have the file system write that its files are gone.
    """
    while folder != top:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            break
        folder = folder.parent
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _why(error: OSError, what: str) -> str:
    if isinstance(error, PermissionError):
        return f"no rights {what}"
    return (error.strerror or "it cannot be reached").lower()


@dataclass(frozen=True)
class RemoteStore:
    """A remote that DVC reaches.

    Parameters
    ----------
    place
        What it is called.
    name
        Its name in DVC's settings.
    storage
        DVC.
    """

    place: str
    name: str
    storage: Storage

    def list_files(self) -> Listing:
        """Return what is in it."""
        names, older = self.storage.list_files(self.name)
        found = Listing(older=older)
        for name in names:
            found.add(name)
        return found

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the content of files."""
        return self.storage.read(self.name, names) if names else {}

    def delete(self, names: Sequence[str], advance: Callable[[int], None]) -> dict[str, str]:
        """Delete files, and tell `advance` how many; return why one could not be, by name."""
        failed: dict[str, str] = {}
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            failed |= self.storage.delete(self.name, some)
            advance(len(some))
        return failed


@dataclass(frozen=True)
class Stores:
    """The cache and all remotes.

    Parameters
    ----------
    cache
        The cache's folder.
    usable
        Those that can be listed and deleted from; the cache first.
    others
        Why a remote cannot be used here, by place.
    remotes
        All remotes, as the settings of today name them.
    """

    cache: Path
    usable: tuple[Store, ...]
    others: dict[str, str]
    remotes: tuple[Remote, ...]


@contextmanager
def open_stores(project: Project) -> Iterator[Stores]:
    """Yield the cache and all remotes of a project, as DVC's settings name them.

    Raises
    ------
    ToolError
        If DVC fails.
    """
    with Storage(project) as storage:
        cache, remotes = storage.places()
        usable: list[Store] = [FolderStore(CACHE, cache)]
        others = {}
        for remote in remotes:
            place = f"the remote {remote.name}"
            if remote.why_not is not None or remote.path is None:
                others[place] = remote.why_not or "it has no path"
            else:
                usable.append(_opened(place, remote, remote.path, storage))
        yield Stores(cache, tuple(usable), others, tuple(remotes))


def _opened(place: str, remote: Remote, path: str, storage: Storage) -> Store:
    if remote.kind == "local":
        return FolderStore(place, Path(path))
    return RemoteStore(place, remote.name, storage)
