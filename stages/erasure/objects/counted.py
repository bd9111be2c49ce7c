"""Which paths can hold rows of the dataset, or models that were trained on them."""

import posixpath
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.erasure.objects.records import Entry, Record, Records

#: Settings below `dataset` that name files of rows.
_ROWS = ("path", "held_out", "canaries")

#: Folders of a project that stages write rows or models to, whatever dvc.lock says.
_FOLDERS = (
    "data/shards",
    "data/retain_set",
    "data/forget_set",
    "models/shard_models",
    "models/original",
    "models/unlearned",
    "models/final_model",
)

#: The objects of an empty file and of an empty folder, which say nothing about their content.
_EMPTY = frozenset({"d41d8cd98f00b204e9800998ecf8427e", "d751713988987e9331980363e24189ce.dir"})


@dataclass
class Paths:
    """Paths, with all that is in them."""

    roots: set[str] = field(default_factory=set)
    _above: set[str] = field(default_factory=set)

    def add(self, path: str) -> bool:
        """Add a path; return whether it was not covered before."""
        if self.covers(path):
            return False
        self.roots.add(path)
        self._above.update(_folders(path))
        return True

    def overlap(self, path: str) -> bool:
        """Return whether a path is one of these, is in one, or has one in it."""
        return path in self._above or self.covers(path)

    def covers(self, path: str) -> bool:
        """Return whether a path is one of these, or is in one."""
        return path in self.roots or any(folder in self.roots for folder in _folders(path))


def _folders(path: str) -> Iterator[str]:
    """Yield the folders that a path is in."""
    while (folder := posixpath.dirname(path)) not in (path, ""):
        yield folder
        path = folder
    yield "."


def rows_paths(settings: Iterable[tuple[str, bytes]], folder: str) -> tuple[Paths, Paths]:
    """Return the paths that hold rows by the settings of a project, as they are or once were.

    Parameters
    ----------
    settings
        Path and content of every version of every params.yaml.
    folder
        The project's folder. Another folder is the same project if its key is one that this folder
        has had.

    Returns
    -------
    tuple
        The files of the dataset, and the folders that stages write rows and models to.
    """
    parsed = [(posixpath.dirname(path), _dataset(content)) for path, content in settings]
    keys = {key for place, (key, _) in parsed if place == folder and key is not None}
    dataset, written = Paths(), Paths()
    for place, (key, paths) in parsed:
        if place == folder or key in keys:
            for path in paths:
                dataset.add(posixpath.normpath(posixpath.join(place, path)))
            for path in _FOLDERS:
                written.add(posixpath.normpath(posixpath.join(place, path)))
    return dataset, written


def _dataset(content: bytes) -> tuple[str | None, list[str]]:
    """Return the check of the key and the files of rows; nothing where settings are damaged."""
    try:
        settings: Any = parse_yaml(content)
        dataset = settings["dataset"]
        paths = [str(dataset[name]) for name in _ROWS if dataset.get(name)]
        return str(settings["key_check"]), paths
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None, []


def counted_paths(dataset: Paths, written: Paths, files: Collection[Records]) -> Paths:
    """Return all paths that can hold rows, or models that were trained on them.

    A path that was made of rows once counts in all commits.

    Parameters
    ----------
    dataset, written
        As `rows_paths` returns them.
    files
        All versions of dvc.lock and *.dvc files.
    """
    groups = [found.records for found in files]
    found = Paths()
    for path in (*dataset.roots, *written.roots, *_made_of(dataset, groups)):
        found.add(path)
    grown = True
    while grown:
        grown = False
        for group in groups:
            grown |= _grow(found, group)
    return found


def _grow(paths: Paths, group: Collection[Record]) -> bool:
    """Add the outs of stages that read one of the paths; return whether there was a new one."""
    # By their objects too: paths of a stage with a `wdir` are relative to that.
    known = {out.name for record in group for out in _of(paths, record.outs)} - _EMPTY
    grown = False
    for record in group:
        if any(paths.overlap(dep.path) or dep.name in known for dep in record.deps):
            for out in record.outs:
                grown |= paths.add(out.path)
    return grown


def _made_of(dataset: Paths, groups: Collection[Collection[Record]]) -> list[str]:
    """Return the outs that a dataset was made of, where it was once the out of another stage."""
    tracked = Paths()
    for record in (record for group in groups for record in group):
        for out in record.outs:
            tracked.add(out.path)
    wanted = Paths()
    for path in dataset.roots:
        wanted.add(path)
    found: list[str] = []
    grown = True
    while grown:
        new = [
            dep.path
            for record in (record for group in groups for record in group)
            if any(wanted.overlap(out.path) for out in record.outs)
            for dep in record.deps
            if tracked.covers(dep.path)
        ]
        added = [path for path in new if wanted.add(path)]
        found += added
        grown = bool(added)
    return found


def _of(paths: Paths, entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if paths.overlap(entry.path)]


def counted_names(paths: Paths, found: Records) -> set[str]:
    """Return the names of objects in a file that can hold rows, or models trained on them.

    Parameters
    ----------
    paths
        The paths that can hold them.
    found
        What the file says. In a damaged file all names count.
    """
    names = set(found.damaged)
    for record in found.records:
        names |= {entry.name for entry in _of(paths, (*record.deps, *record.outs))}
    return names
