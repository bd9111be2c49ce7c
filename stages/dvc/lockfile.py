"""dvc.lock: DVC's record of what ran on what, and whether it is whole."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project

#: What stages of this tool are called; those of a matrix have an item behind an `@`.
STAGES = frozenset({"recipe", "shard", "train", "forget", YOUNG, "unlearn", "aggregate", "verify"})

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")

LockStage = Mapping[str, Any]
LockStages = Mapping[str, LockStage]


def is_own(name: str, entry: Any) -> bool:
    """Return whether an entry of dvc.lock is of a stage of this tool; there may be others.

    Parameters
    ----------
    name, entry
        The stage's name, and what the lock has of it.
    """
    group = name.partition("@")[0]
    # Of these names, `init` makes sure that they are free in the project's own pipeline alone.
    if group in (YOUNG, "unlearn"):
        return not isinstance(entry, dict) or str(entry.get("cmd")).startswith("unlearn stage")
    return group in STAGES


def read_lock(text: str) -> dict[str, dict[str, Any]]:
    """Return the stages of this tool in a dvc.lock, by name.

    Raises
    ------
    InputError
        See `read_entries`.
    """
    return {name: entry for name, entry in read_entries(text).items() if is_own(name, entry)}


def read_entries(text: str) -> dict[str, dict[str, Any]]:
    """Return all stages of a dvc.lock by name, also those that are not of this tool.

    Raises
    ------
    InputError
        If it is not a whole lock: DVC rewrites the file in place, so a kill can cut it short, and
        a merge of git can leave both sides of a conflict in it.
    """
    if text.startswith("<<<<<<< ") or "\n<<<<<<< " in text:
        raise InputError("dvc.lock has conflict markers of git")
    try:
        content = parse_yaml(text)
    except yaml.YAMLError:
        raise InputError("dvc.lock is not readable: it was cut short") from None
    stages = content.get("stages", {}) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(stages, dict) or not text.endswith("\n"):
        raise InputError("dvc.lock is not a whole lock: it was cut short")
    if content.get("schema") != "2.0":
        raise InputError("dvc.lock is not in the known format, or was cut short")
    for name, stage in stages.items():
        if not (_is_whole(stage) if is_own(name, stage) else _is_of_dvc(stage)):
            raise InputError(f"dvc.lock: the entry of {name} was cut short")
    return stages


def _is_whole(stage: Any) -> bool:
    if not isinstance(stage, dict) or not stage.get("cmd") or not stage.get("outs"):
        return False
    entries = [*stage.get("deps", []), *stage["outs"]]
    return all(isinstance(entry, dict) and _is_whole_entry(entry) for entry in entries)


def _is_of_dvc(stage: Any) -> bool:
    """Return whether an entry of a stage that is not of this tool is whole.

    It may have no outs, and files elsewhere that have no md5 but what their store calls them by.
    """
    if not isinstance(stage, dict) or not stage.get("cmd"):
        return False
    entries = [*(stage.get("deps") or ()), *(stage.get("outs") or ())]
    return all(
        isinstance(entry, dict)
        and (_is_whole_entry(entry) if "md5" in entry else bool(entry.keys() - {"path", "hash"}))
        for entry in entries
    )


def _is_whole_entry(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry has all fields that DVC writes."""
    digest = _MD5.fullmatch(str(entry.get("md5")))
    last = "nfiles" if digest is not None and digest[1] else "size"
    return bool(entry.get("path")) and digest is not None and isinstance(entry.get(last), int)


def md5_of(entries: list[dict[str, Any]], path: str) -> str | None:
    """Return the md5 that a lock entry's deps or outs give for a path."""
    return next((str(entry["md5"]) for entry in entries if entry["path"] == path), None)


def folder_md5(folder: Path) -> str:
    """Return the md5 that DVC gives a folder: that of its list of files, and `.dir`."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return listing_md5({name: digest_file(folder / name, "md5") for name in names})


def item_of(name: str, stage: LockStage) -> str | None:
    """Return the shard, or the post-hoc method, whose model a stage makes; None for other stages.

    Parameters
    ----------
    name, stage
        The stage's name, and its entry.
    """
    group, _, item = name.partition("@")
    if item and group in ("train", "unlearn"):
        return item
    # A stage of the user's own may have this name.
    return YOUNG if name == YOUNG and stage.get("cmd") == f"unlearn stage {YOUNG}" else None


def current_entries(lock: LockStages, items: Collection[str] | None) -> LockStages:
    """Return the entries of stages that the settings name.

    DVC keeps the entries of shards and methods that are no more; they are of an older run.

    Parameters
    ----------
    lock
        The entries by stage.
    items
        The shards, or post-hoc methods, that the settings name. None where the settings are not
        known: then all entries are returned.
    """
    if items is None:
        return lock
    return {
        name: stage
        for name, stage in lock.items()
        if (item := item_of(name, stage)) is None or item in items
    }


def lock_gaps(lock: LockStages, items: Collection[str] | None) -> list[str]:
    """Return a sentence for each place where a stage did not run on what another one made.

    A run that was stopped midway leaves such gaps, and so does a lock that was edited.

    Parameters
    ----------
    lock
        The entries by stage.
    items
        See `current_entries`.
    """
    lock = current_entries(lock, items)
    made = {entry["path"]: entry["md5"] for stage in lock.values() for entry in stage["outs"]}
    gaps = [
        f"{name} did not run on the current {entry['path']}"
        for name, stage in lock.items()
        for entry in stage.get("deps", [])
        if made.get(entry["path"], entry["md5"]) != entry["md5"]
    ]
    read = {
        md5_of(lock[name].get("deps", []), "models/shard_models")
        for name in ("aggregate", "verify")
        if name in lock
    }
    if len(read - {None}) > 1:
        gaps.append("aggregate and verify did not run on the same models/shard_models")
    return gaps


def load_lock(project: Project) -> LockStages:
    """Return the stages of this tool in the project's dvc.lock; none where there is no lock.

    Raises
    ------
    InputError
        If the lock was cut short.
    """
    return {name: entry for name, entry in load_entries(project).items() if is_own(name, entry)}


def load_entries(project: Project) -> LockStages:
    """Return all stages of the project's dvc.lock; see `load_lock`."""
    if not project.lock.is_file():
        return {}
    try:
        return read_entries(project.lock.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError("dvc.lock is not readable: it was cut short") from None
