"""Whether the models on disk are those that dvc.lock and the report are about.

Hashing every model takes as long as reading it, so a file whose size, times and place on disk are
those of the last time counts as unchanged, as in DVC. `full` reads every byte.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unlearn.stages.context import load_params
from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.dvc.lockfile import LockStages, current_entries
from unlearn.stages.dvc.pipeline import model_folders
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import digest_file, write_json
from unlearn.stages.project.paths import Project
from unlearn.stages.training.unplanned import unplanned_problems

#: A file that changed so recently may change again within the same tick of its clock (seconds).
_TICK_NS = 2_000_000_000


@dataclass(frozen=True)
class ModelsFound:
    """How the models on disk compare with dvc.lock, by their paths in the project.

    Parameters
    ----------
    same, different
        Models that are, and are not, what dvc.lock names.
    absent
        Those that are not on this machine: in a clone all of them.
    """

    same: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def check_models(project: Project, lock: LockStages, *, full: bool = False) -> ModelsFound:
    """Compare the models that the settings and dvc.lock name with those on disk.

    Parameters
    ----------
    project, lock
        The project, and the stages of its dvc.lock.
    full
        Read every file, whatever is known of it.
    """
    known = FileDigests.read(project)
    found: dict[str, list[str]] = {"same": [], "different": [], "absent": []}
    current = current_entries(lock, _items(project))
    for name, md5 in sorted(_models_in(current).items()):
        path = project.root / name
        if not _is_there(path):
            found["absent"].append(name)
        elif known.md5_of(path, full=full) == md5:
            found["same"].append(name)
        else:
            found["different"].append(name)
    known.write()
    return ModelsFound(**{name: tuple(paths) for name, paths in found.items()})


def _items(project: Project) -> list[str] | None:
    """Return the shards, or methods, that the settings name; None if they cannot be read."""
    try:
        return list(model_folders(load_params(project.params)))
    except InputError:
        return None


def _models_in(lock: LockStages) -> dict[str, str]:
    """Return the md5 of every model that a stage made, or that an import brought, by path."""
    models = {
        entry["path"]: str(entry["md5"])
        for stage in lock.values()
        for entry in stage["outs"]
        if entry["path"].startswith("models/")
    }
    # An imported original is no stage's out.
    for stage in lock.values():
        for entry in stage.get("deps", []):
            if entry["path"] == "models/original":
                models.setdefault(entry["path"], str(entry["md5"]))
    return models


def _is_there(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and next(_files_of(path), None) is not None)


def _files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


@dataclass
class FileDigests:
    """MD5s of files that were hashed before, with what would differ if they had changed since.

    Parameters
    ----------
    project
        The project; the file is in its private folder.
    entries
        Size, time of change, time of status change and inode of a file, and its MD5, by path.
    changed
        Whether there is anything new to write.
    """

    project: Project
    entries: dict[str, tuple[int, int, int, int, str]] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def read(cls, project: Project) -> "FileDigests":
        """Return what is known; nothing where the file is missing or damaged."""
        try:
            value = json.loads(project.digests.read_text(encoding="utf-8"))["files"]
            entries = {
                str(name): (int(size), int(mtime), int(ctime), int(inode), str(md5))
                for name, (size, mtime, ctime, inode, md5) in value.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            entries = {}
        return cls(project, entries)

    def write(self) -> None:
        """Keep what is known for the next time."""
        if self.changed:
            write_json(self.project.digests, {"schema_version": 1, "files": self.entries})

    def md5_of(self, path: Path, *, full: bool = False) -> str:
        """Return the md5 that DVC gives a file or a folder.

        Parameters
        ----------
        path
            Where it is.
        full
            Read every file, whatever is known of it.
        """
        if path.is_file():
            return self._md5_of_file(path, full=full)
        digests = {
            file.relative_to(path).as_posix(): self._md5_of_file(file, full=full)
            for file in _files_of(path)
        }
        return listing_md5(digests)

    def _md5_of_file(self, path: Path, *, full: bool) -> str:
        name = path.relative_to(self.project.root).as_posix()
        stat = path.stat()
        facts = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        known = self.entries.get(name)
        if known is not None and known[:4] == facts and not full:
            return known[4]
        md5 = digest_file(path, "md5")
        if max(stat.st_mtime_ns, stat.st_ctime_ns) < time.time_ns() - _TICK_NS:
            self.changed |= known != (*facts, md5)
            self.entries[name] = (*facts, md5)
        return md5


def sentences(found: ModelsFound) -> list[str]:
    """Return a reason for each model that is not the one that was verified."""
    return [f"stale: {name} is not the one in dvc.lock" for name in found.different]


def nobodys_models(project: Project) -> list[str]:
    """Return a reason where models/ has files that no stage wrote: older models, for example."""
    try:
        params = load_params(project.params)
    except InputError:
        return []  # a reason of its own
    return [f"stale: {problem}" for problem in unplanned_problems(project, params)]
