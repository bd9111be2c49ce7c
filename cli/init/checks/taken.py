"""What a folder has that a new project needs for itself."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from unlearn.cli.init.request.folders import there
from unlearn.cli.text_edits import text_of
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.erasure.dataset.origins import Pipelines
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project

#: Stages of both pipelines, and sections of params.yaml; `shards` is a variable of dvc.yaml.
STAGES = {
    "sisa": ("recipe", "shard", "forget", "train", "aggregate", "verify"),
    "posthoc": ("recipe", "shard", "train", "forget", "young", "unlearn", "aggregate", "verify"),
}

_SECTIONS = (
    "algorithm",
    "key_check",
    "seed",
    "dataset",
    "sharding",
    "shards",
    "train",
    "aggregate",
    "verify",
    "ledger",
    "requests",
)


def taken_names(root: Path, template: str) -> list[str]:
    """Return a sentence for each file that has names which a project needs for itself.

    Parameters
    ----------
    root
        The folder.
    template
        The pipeline that is to be added.
    """
    found = []
    pipeline, settings = _mapping(root / "dvc.yaml"), _mapping(root / "params.yaml")
    for name, content in (("dvc.yaml", pipeline), ("params.yaml", settings)):
        if content is None:
            found.append(f"{name} is there already")
    stages = (pipeline or {}).get("stages")
    if isinstance(stages, dict) and (same := [name for name in STAGES[template] if name in stages]):
        found.append(f"dvc.yaml has {_counted('stage', same)}")
    sections = (*_SECTIONS, "unlearn") if template == "posthoc" else _SECTIONS
    if same := [name for name in sections if name in (settings or {})]:
        found.append(f"params.yaml has {_counted('setting', same)}")
    # DVC refuses a variable that params.yaml has as well.
    for place, variables in _variables(root, pipeline or {}):
        if same := [name for name in sections if name in variables]:
            found.append(f"{place} has {_counted('variable', same)}")
    return found


def _variables(root: Path, pipeline: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the variables of a pipeline and of its stages, with the files that have them."""
    stages = pipeline.get("stages")
    for part in (pipeline, *(stages.values() if isinstance(stages, dict) else ())):
        entries = part.get("vars") if isinstance(part, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield "dvc.yaml", entry
                continue
            name = str(entry).partition(":")[0]
            if name != "params.yaml":
                yield name, _mapping(root / name) or {}


def _counted(noun: str, names: list[str]) -> str:
    return f"{'a ' if len(names) == 1 else ''}{noun}{'s' if len(names) > 1 else ''} " + ", ".join(
        names
    )


def _mapping(path: Path) -> dict[str, Any] | None:
    """Return what is in a file, nothing if there is none; None if it is no mapping."""
    if not path.is_file():
        return {}
    try:
        content = parse_yaml(text_of(path))
    except (yaml.YAMLError, InputError):
        return None
    return {} if content is None else content if isinstance(content, dict) else None


def outputs_around(root: Path, written: Iterable[str]) -> list[str]:
    """Return a sentence for each output of DVC that a new project would write into, or over.

    DVC refuses every command where two outputs overlap, also for the stages that were there.

    Parameters
    ----------
    root
        The folder of the new project.
    written
        What the project writes in it, relative to the folder.

    Raises
    ------
    InputError
        If a file of DVC in the repository is not readable.
    """
    folders = [(root / name).resolve() for name in ("data", "models", "reports")]
    others = [(root / name).resolve() for name in written]
    found = []
    for words, out in Pipelines.of(Project(there(root))).outputs():
        place = out.resolve()
        if any(folder.is_relative_to(place) for folder in folders) or any(
            place.is_relative_to(other) for other in others
        ):
            if root.resolve().is_relative_to(place):
                found.append(f"the folder is in {place.name}/, an output of {words}")
                continue
            name = place.relative_to(root.resolve()).as_posix()
            found.append(f"{name} is an output of {words}, and the project would write there")
    return list(dict.fromkeys(found))
