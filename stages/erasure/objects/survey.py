"""What git and the working tree say about objects: which hold rows, which are in use, by whom."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unlearn.stages.context import load_params
from unlearn.stages.dvc.pipeline import stage_names
from unlearn.stages.erasure.objects.counted import Paths, counted_names, counted_paths, rows_paths
from unlearn.stages.erasure.objects.history import (
    CONFIG,
    PIPELINE,
    SETTINGS,
    History,
    Version,
    is_config,
    is_wanted,
    read_history,
    staged_versions,
)
from unlearn.stages.erasure.objects.records import FOLDER_ENDING, Entry, Records, read_records
from unlearn.stages.erasure.objects.standing import Pipelines, Stage
from unlearn.stages.erasure.objects.tips import Refs, Tip, other_worktrees, read_refs
from unlearn.stages.erasure.objects.uncached import Patterns
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

#: Folders in a working tree that hold no files of DVC's own.
_SKIPPED = frozenset({".git", ".dvc", ".unlearn"})


@dataclass(frozen=True)
class Survey:
    """What git and the working tree say; lists of folders are not expanded here.

    Parameters
    ----------
    history, refs
        The commits, and the refs.
    files
        What each version of a dvc.lock or *.dvc file says, in git and in the working tree.
    present
        The versions in the working tree.
    paths
        The paths that can hold rows, or models that were trained on them.
    uncached
        The paths that DVC keeps no objects of, by the dvc.yaml of the working tree and of all tips.
    pipelines
        What each dvc.yaml of the working tree says.
    configs
        Path and content of all versions of DVC's settings that the project has had.
    """

    history: History
    refs: Refs
    files: Mapping[Version, Records]
    present: Collection[Version]
    paths: Paths
    uncached: Patterns
    pipelines: Pipelines
    configs: Collection[tuple[str, bytes]]

    def names(self, versions: Iterable[Version]) -> set[str]:
        """Return the names of all objects in versions of files."""
        return {name for found in self._read(versions) for name in found.names()}

    def counted(self, versions: Iterable[Version]) -> set[str]:
        """Return the names of objects that can hold rows, or models that were trained on them."""
        return {name for found in self._read(versions) for name in counted_names(self.paths, found)}

    def lists(self, versions: Iterable[Version]) -> set[str]:
        """Return the names of folders whose lists of files DVC keeps."""
        # Of folders that stages only read, DVC keeps no list.
        return self.kept_lists(
            entry
            for found in self._read(versions)
            for record in found.records
            for entry in record.outs
        )

    def outs(self) -> set[str]:
        """Return the paths that DVC tracks in the working tree."""
        return {
            out.path
            for found in self._read(self.present)
            for record in found.records
            for out in record.outs
        }

    def stages(self) -> list[Stage]:
        """Return the stages and *.dvc files of the working tree."""
        return [
            self.pipelines.stage(version[0], record)
            for version in self.present
            if version in self.files
            for record in self.files[version].records
        ]

    def damaged(self) -> set[str]:
        """Return the names of objects in files of the working tree that cannot be parsed."""
        return {name for found in self._read(self.present) for name in found.damaged}

    def kept_lists(self, entries: Iterable[Entry]) -> set[str]:
        """Return those of objects that are lists of files which DVC keeps."""
        return {
            entry.name
            for entry in entries
            if entry.name.endswith(FOLDER_ENDING) and not self.uncached.match(entry.path)
        }

    def _read(self, versions: Iterable[Version]) -> Iterator[Records]:
        return (self.files[version] for version in versions if version in self.files)

    def behind_tip(self, tip: Tip) -> set[Version]:
        """Return the versions in a tip's commits, and in those behind them that are not ours."""
        behind = self.history.behind(tip.commits, self.refs.own)
        return self.history.versions(behind) | (
            tip.versions(self.history) if tip.protects else set()
        )

    def own(self, tips: Iterable[Tip]) -> set[Version]:
        """Return the versions in the history of this branch, of the default branch and of tips."""
        found = self.history.versions(self.refs.own) | set(self.present)
        for tip in tips:
            found |= self.behind_tip(tip)
        return found


def survey(project: Project, branch: str | None) -> Survey:
    """Read git's history and the working tree.

    Parameters
    ----------
    project
        The project.
    branch
        The name of the default branch; None to ask git for it.

    Raises
    ------
    InputError
        If there is no git repository, or it does not have all of its files.
    ToolError
        If git refuses to read it.
    """
    history = read_history(project.root)
    refs = read_refs(history, branch)
    versions = history.versions(history.parents) | staged_versions(history.top)
    current: set[Version] = set()
    for tip in refs.tips:
        if tip.protects:
            current |= tip.versions(history)
    read = _Reader()
    present = read.add(_working_tree(history.top))
    for worktree in other_worktrees(history):
        read.add(_working_tree(worktree))
    read.add(_contents(history, versions | current))
    folder = project.root.resolve().relative_to(history.top.resolve()).as_posix()
    folder = "" if folder == "." else folder
    dataset, written = rows_paths(read.settings, folder)
    paths = counted_paths(dataset, written, list(read.files.values()))
    uncached = [read.pipelines[version] for version in (present | current) & set(read.pipelines)]
    here = dict(read.pipelines[version] for version in present & set(read.pipelines))
    return Survey(
        history,
        refs,
        read.files,
        frozenset(present),
        paths,
        Patterns(uncached),
        Pipelines(here, folder, _own_stages(project)),
        [(path, content) for path, content in read.configs if _is_of(path, folder)],
    )


def _is_of(config: str, folder: str) -> bool:
    """Return whether settings of DVC are those of a folder, or of one that it is in."""
    root = config.removesuffix(CONFIG)
    return f"{folder}/".startswith(root)


def _own_stages(project: Project) -> list[str] | None:
    """Return the names of this project's stages; None if the settings cannot be read."""
    try:
        return stage_names(load_params(project.params))
    except InputError:
        return None


@dataclass
class _Reader:
    """Versions of files, as they are read one after another.

    Parameters
    ----------
    files
        What each dvc.lock and *.dvc file says.
    settings
        Path and content of each params.yaml.
    pipelines
        Path and content of each dvc.yaml.
    configs
        Path and content of each .dvc/config.
    """

    files: dict[Version, Records] = field(default_factory=dict)
    settings: list[tuple[str, bytes]] = field(default_factory=list)
    pipelines: dict[Version, tuple[str, bytes]] = field(default_factory=dict)
    configs: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, contents: Iterable[tuple[Version, bytes]]) -> set[Version]:
        """Read files; return their versions."""
        found = set()
        for version, content in contents:
            path = version[0]
            name = path.rpartition("/")[2]
            if name == SETTINGS:
                self.settings.append((path, content))
            elif is_config(path):
                self.configs.append((path, content))
            elif name == PIPELINE:
                self.pipelines[version] = (path, content)
            else:
                self.files[version] = read_records(path, content)
            found.add(version)
        return found


def _contents(history: History, versions: Iterable[Version]) -> Iterator[tuple[Version, bytes]]:
    """Yield versions with their content; each content is read once."""
    paths: dict[str, list[str]] = {}
    for path, name in versions:
        paths.setdefault(name, []).append(path)
    for name, content in history.contents(paths):
        for path in paths[name]:
            yield (path, name), content


def _working_tree(top: Path) -> Iterator[tuple[Version, bytes]]:
    """Yield the files in the working tree, as if they were versions of git."""
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in names:
            if is_wanted(name):
                path = Path(folder) / name
                try:
                    content = path.read_bytes()
                except OSError as error:
                    why = error.strerror or "it cannot be read"
                    raise InputError(f"{path.relative_to(top)}: {why}") from None
                yield (path.relative_to(top).as_posix(), f"in {top}"), content
