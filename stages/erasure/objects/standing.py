"""Which stages are part of the project as it is now, and which of them have to run again.

DVC keeps the entries of stages that are no more, and those of stages that were not run again: they
name what was there when they ran.
"""

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.erasure.objects.counted import Paths
from unlearn.stages.erasure.objects.records import FOLDER_ENDING, Entry, Record
from unlearn.stages.project.files import digest_file

_STALE = (
    "it did not run on what is there now: run it again, or remove it from dvc.yaml and dvc.lock"
)
_LEFTOVER = "dvc.yaml does not name it any more, and what it wrote is still there: delete {paths}"

#: Folders that DVC does not look into.
_SKIPPED = frozenset({".git", ".dvc"})


@dataclass(frozen=True)
class Stage:
    """A stage in a dvc.lock of the working tree, or a *.dvc file.

    Parameters
    ----------
    place
        What it is called.
    record
        What it read and wrote, relative to the top folder of the git repository.
    is_named
        Whether dvc.yaml and the settings name it.
    is_own
        Whether the commands of this project run it.
    """

    place: str
    record: Record
    is_named: bool
    is_own: bool


@dataclass(frozen=True)
class Pipelines:
    """What the dvc.yaml files of the working tree say, and the settings.

    Parameters
    ----------
    contents
        The content of each, by path.
    folder
        The project's folder.
    own
        The names of this project's stages; None if the settings cannot be read.
    """

    contents: Mapping[str, bytes]
    folder: str
    own: Collection[str] | None

    def stage(self, path: str, record: Record) -> Stage:
        """Return a stage.

        Parameters
        ----------
        path
            The path of its dvc.lock or *.dvc file.
        record
            What that says.
        """
        folder = posixpath.dirname(path)
        if record.is_tracked:
            return Stage(f"the file {path}", record, is_named=True, is_own=False)
        pipeline = posixpath.join(folder, "dvc.yaml")
        base, at, _ = record.name.partition("@")
        settings = self._stages.get(pipeline, {}).get(base)
        of_project = folder == self.folder
        is_own = of_project and self.own is not None and record.name in self.own
        is_many = settings is not None and ("matrix" in settings or "foreach" in settings)
        is_named = settings is not None and bool(at) == is_many
        if is_named and of_project and base in ("train", "unlearn") and at and self.own is not None:
            is_named = is_own
        name = record.name if of_project else f"{pipeline}:{record.name}"
        moved = _moved(record, folder, (settings or {}).get("wdir"))
        return Stage(f"the stage {name}", moved, is_named, is_own and is_named)

    @property
    def are_known(self) -> bool:
        """Whether all of them can be read."""
        return len(self._stages) == len(self.contents)

    @cached_property
    def _stages(self) -> dict[str, dict[str, Any]]:
        found = {}
        for path, content in self.contents.items():
            try:
                stages = (parse_yaml(content) or {}).get("stages") or {}
                found[path] = {str(name): dict(stage) for name, stage in stages.items()}
            except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
                continue
        return found


def _moved(record: Record, folder: str, wdir: Any) -> Record:
    """Return a record with paths that start from the folder that its stage runs in."""
    if not isinstance(wdir, str) or "${" in wdir:
        return record

    def entries(old: Iterable[Entry]) -> tuple[Entry, ...]:
        return tuple(Entry(path(entry.path), entry.name) for entry in old)

    def path(old: str) -> str:
        relative = posixpath.relpath(old, folder or ".")
        return posixpath.normpath(posixpath.join(folder, wdir, relative))

    return Record(entries(record.deps), entries(record.outs), name=record.name)


@dataclass(frozen=True)
class Standing:
    """What the working tree uses, by what DVC's files in it say.

    Parameters
    ----------
    used
        What stages that need not run again wrote, and what *.dvc files track.
    stale
        What stages wrote that have to run again, by what they are called.
    left
        Why files of stages that are no more are pending, by what these are called.
    """

    used: tuple[Entry, ...] = ()
    stale: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """Yield all files and folders that are kept."""
        yield from self.used
        for outs in self.stale.values():
            yield from outs

    def pending(self) -> dict[str, str]:
        """Return why a stage is pending, by what it is called."""
        return dict.fromkeys(self.stale, _STALE) | dict(self.left)


def standing(
    stages: Collection[Stage],
    counted: Paths,
    top: Path,
    files: Callable[[str], Mapping[str, str] | None],
) -> Standing:
    """Find out what is used.

    A stage has to run again if something that can hold rows is not what it was when the stage ran.

    Parameters
    ----------
    stages
        All stages in the working tree.
    counted
        The paths that can hold rows, or models that were trained on them.
    top
        The top folder of the git repository.
    files
        Gives the files in a folder's list, by path in it; None if the list is nowhere.
    """
    named = [stage for stage in stages if stage.is_named]
    now = _Now(named, top, files)
    stale = [not all(now.has(dep) for dep in _deps(counted, stage)) for stage in named]
    grown = True
    while grown:
        before = sum(stale)
        written = _outs(stage for stage, is_stale in zip(named, stale, strict=True) if is_stale)
        stale = [
            is_stale or any(written.overlap(dep.path) for dep in _deps(counted, stage))
            for stage, is_stale in zip(named, stale, strict=True)
        ]
        grown = sum(stale) > before
    facts = list(zip(named, stale, strict=True))
    return Standing(
        tuple(out for stage, is_stale in facts if not is_stale for out in stage.record.outs),
        {stage.place: stage.record.outs for stage, is_stale in facts if is_stale},
        dict(_leftovers(stages, counted, top)),
    )


def _deps(counted: Paths, stage: Stage) -> Iterator[Entry]:
    """Yield what a stage reads, and that can hold rows."""
    if stage.record.outs:  # one that writes nothing keeps nothing
        yield from (dep for dep in stage.record.deps if counted.overlap(dep.path))


def _outs(stages: Iterable[Stage]) -> Paths:
    found = Paths()
    for stage in stages:
        for out in stage.record.outs:
            found.add(out.path)
    return found


def _leftovers(stages: Collection[Stage], counted: Paths, top: Path) -> Iterator[tuple[str, str]]:
    """Yield stages that are no more, and why they are pending: files that they wrote are there."""
    kept = _outs(stage for stage in stages if stage.is_named)
    for stage in stages:
        if not stage.is_named:
            paths = [
                out.path
                for out in stage.record.outs
                if counted.overlap(out.path) and not kept.overlap(out.path)
            ]
            there = [path for path in paths if os.path.lexists(top / path)]
            if there:
                yield stage.place, _LEFTOVER.format(paths=", ".join(there))


class _Now:
    """What the paths of the working tree have now, by what DVC says about them.

    Parameters
    ----------
    stages
        The stages that dvc.yaml names, and the *.dvc files.
    top, files
        See `standing`.
    """

    def __init__(
        self,
        stages: Collection[Stage],
        top: Path,
        files: Callable[[str], Mapping[str, str] | None],
    ) -> None:
        self._outs = {out.path: out.name for stage in stages for out in stage.record.outs}
        # DVC has looked at these when the commands of the project ran them.
        self._read = {
            dep.path: dep.name for stage in stages if stage.is_own for dep in stage.record.deps
        }
        self._top = top
        self._files = files

    def has(self, entry: Entry) -> bool:
        """Return whether the object at a path is still the one that a stage read there."""
        path = entry.path
        if path in self._outs:
            return self._outs[path] == entry.name
        if (inside := self._in_out(path)) is not None:
            return entry.name == inside
        if path in self._read:
            return self._read[path] == entry.name
        return entry.name in self._on_disk(path)

    def _in_out(self, path: str) -> str | None:
        """Return the object at a path within an out; empty if none is there, None if not known."""
        folder = posixpath.dirname(path)
        while folder and folder not in self._outs:
            folder = posixpath.dirname(folder)
        files = self._files(self._outs[folder]) if folder else None
        if files is None:
            return None
        inner = posixpath.relpath(path, folder)
        if inner in files:
            return files[inner]
        below = _below(files, inner)
        return listing_md5(below) if below else ""

    def _on_disk(self, path: str) -> set[str]:
        """Return the objects that a file may be, or a folder with outs in it."""
        place = self._top / path
        if place.is_file():
            return {digest_file(place, "md5")}
        outs: dict[str, str] = {}
        for out, name in self._outs.items():
            if out.startswith(f"{path}/"):
                inner = posixpath.relpath(out, path)
                files = self._files(name) if name.endswith(FOLDER_ENDING) else {"": name}
                for file, md5 in (files or {}).items():
                    outs[posixpath.join(inner, file).rstrip("/")] = md5
        others = {
            name: digest_file(place / name, "md5")
            for name in _names_below(place)
            if name not in outs
        }
        # Without the others, which DVC may ignore.
        return {listing_md5(outs), listing_md5(outs | others)}


def _below(files: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the files in a folder, by their paths in it."""
    start = f"{folder}/"
    return {name.removeprefix(start): md5 for name, md5 in files.items() if name.startswith(start)}


def _names_below(folder: Path) -> Iterator[str]:
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in names:
            path = Path(inside) / name
            if path.is_file():
                yield path.relative_to(folder).as_posix()
