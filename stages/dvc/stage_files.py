"""Which files the stages of the pipeline read and write, and whether one has changed since."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from unlearn.stages.config.params import Params, read_settings
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.dvc.pipeline import read_pipeline, stage_names
from unlearn.stages.project.paths import Project

_NAME = re.compile(r"\$\{([^}]+)\}")

#: What tells two states of files from each other: path, size, and time of the last change.
FileState = frozenset[tuple[str, int, int]]


@dataclass(frozen=True)
class StageFiles:
    """Files and folders that a stage reads, and those that it writes."""

    deps: tuple[Path, ...]
    outs: tuple[Path, ...]


def stage_files(project: Project, params: Params) -> dict[str, StageFiles]:
    """Return the files of every stage of this tool, in the order in which the stages run.

    Parameters
    ----------
    project, params
        The project.

    Raises
    ------
    InputError
        If dvc.yaml is not readable as a pipeline, or lacks one of the stages.
    """
    pipeline = read_pipeline(project)
    settings = read_settings(project.params)
    values = {**settings, "shards": params.sharding.shards}
    # A change of settings may concern every stage.
    common = [project.params, *(project.root / name for name in FILES)]
    found = {}
    for name in stage_names(params):
        group, _, item = name.partition("@")
        stage = pipeline.get(group)
        stage = stage if isinstance(stage, dict) else {}
        # Of a matrix with one variable, as both pipelines have it.
        known = {**values, "item": dict.fromkeys(stage.get("matrix") or (), item)}
        deps = [project.root / resolved(path, known) for path in stage.get("deps", [])]
        entries = [entry for kind in ("outs", "metrics") for entry in stage.get(kind, [])]
        outs = [project.root / resolved(_path(entry), known) for entry in entries]
        found[name] = StageFiles((*common, *deps), tuple(outs))
    return found


def later_stages(project: Project, params: Params) -> list[str]:
    """Return the stages of dvc.yaml that read what stages of this tool write, directly or not.

    They are of the user's own, and run after all others.
    """
    pipeline = read_pipeline(project)
    own = {name.partition("@")[0] for name in stage_names(params)}
    written = [path for name in own for path in _outs(pipeline.get(name))]
    after: list[str] = []
    while True:
        new = [
            name
            for name, stage in pipeline.items()
            if name not in own
            and name not in after
            and any(_overlap(dep, out) for dep in _deps(stage) for out in written)
        ]
        if not new:
            return after
        after += new
        written += [path for name in new for path in _outs(pipeline[name])]


def inputs(files: Mapping[str, StageFiles]) -> list[Path]:
    """Return what stages read and git keeps: settings, the forget list, the user's own code.

    What a stage writes is not among them, nor what DVC tracks by a file of its own: DVC replaces
    these by links to its cache when it records them.

    Parameters
    ----------
    files
        Of all stages, by name.
    """
    written = {path for found in files.values() for path in found.outs}
    above = {folder for path in written for folder in path.parents}
    read = dict.fromkeys(path for found in files.values() for path in found.deps)
    return [
        path
        for path in read
        # Neither an out nor in one, and no folder with one in it.
        if path not in above
        and not any(folder in written for folder in (path, *path.parents))
        and not path.with_name(f"{path.name}.dvc").is_file()
    ]


def state_of(paths: Iterable[Path]) -> FileState:
    """Return the state of files, and of all files below folders; what is missing is left out."""
    found: set[tuple[str, int, int]] = set()
    for path in paths:
        _add_state(str(path), found)
    return frozenset(found)


def _add_state(path: str, found: set[tuple[str, int, int]]) -> None:
    """Add the state of a file, or of the files below a folder; it is asked for often."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - a Path for each of thousands of files takes seconds
        if not S_ISDIR(stat.st_mode):
            found.add((path, stat.st_size, stat.st_mtime_ns))
            return
        with os.scandir(path) as entries:
            names = [(entry.path, entry.is_symlink() and entry.is_dir()) for entry in entries]
    except OSError:
        return
    for name, is_linked_folder in names:
        # A link to a folder may lead back to where it is.
        if not is_linked_folder:
            _add_state(name, found)


def resolved(text: str, values: Mapping[str, Any]) -> str:
    """Return a path of dvc.yaml with the settings that it names; an unknown name stays.

    >>> resolved("data/${dataset.name}/${item}", {"dataset": {"name": "visits"}})
    'data/visits/${item}'
    """

    def value(match: re.Match[str]) -> str:
        found: Any = values
        for part in match[1].strip().split("."):
            if not isinstance(found, Mapping) or part not in found:
                return match[0]
            found = found[part]
        return str(found)

    return _NAME.sub(value, text)


def _path(entry: Any) -> str:
    return str(next(iter(entry))) if isinstance(entry, dict) else str(entry)


def _outs(stage: Any) -> list[str]:
    kinds = ("outs", "metrics", "plots")
    found = [entry for kind in kinds for entry in _list(stage, kind)]
    # What a matrix or a setting fills in does not matter: the folder above it is compared.
    return [_path(entry).partition("/${")[0] for entry in found]


def _deps(stage: Any) -> list[str]:
    return [_path(entry).partition("/${")[0] for entry in _list(stage, "deps")]


def _list(stage: Any, kind: str) -> list[Any]:
    found = stage.get(kind) if isinstance(stage, dict) else None
    return found if isinstance(found, list) else []


def _overlap(one: str, other: str) -> bool:
    first, second = Path(one), Path(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
