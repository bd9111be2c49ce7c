"""What runs that were killed left behind, and deleting it."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from unlearn.stages.project.files import TEMPORARY_PREFIX, scratch_lock
from unlearn.stages.project.paths import Project


@dataclass(frozen=True)
class Leftovers:
    """Half-written files and scratch folders, relative to the project.

    Parameters
    ----------
    cleaned
        Those of processes that have ended; they were deleted.
    in_use
        Those of processes that may still run.
    """

    cleaned: tuple[str, ...]
    in_use: tuple[str, ...]


def clean_leftovers(project: Project) -> Leftovers:
    """Delete what processes that have ended did not finish; it may hold rows.

    Whole files are never deleted: a file that was being written has a name of its own, which says
    the process, and a scratch folder is locked while it is used.
    """
    cleaned, in_use = [], []
    for path in _half_written(project):
        name = path.relative_to(project.root).as_posix()
        if _is_alive(path):
            in_use.append(name)
        else:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            cleaned.append(name)
    scratch = project.private / "scratch"
    project.lock_file("scratch").parent.mkdir(parents=True, exist_ok=True)
    for folder in sorted(scratch.iterdir()) if scratch.is_dir() else ():
        if not folder.is_dir():
            continue
        name = folder.relative_to(project.root).as_posix()
        try:
            with FileLock(scratch_lock(folder), timeout=0, fallback_to_soft=False):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            in_use.append(name)
        else:
            (in_use if folder.exists() else cleaned).append(name)
    return Leftovers(tuple(cleaned), tuple(in_use))


def _half_written(project: Project) -> list[Path]:
    """Return what is half-written in all folders that stages and commands write to."""
    root = project.root
    folders = (root / "data", root / "models", root / "reports", project.private)
    scratch = project.private / "scratch"
    found = [path for folder in folders for path in folder.rglob(f"{TEMPORARY_PREFIX}*")]
    found += root.glob(f"{TEMPORARY_PREFIX}*")
    return sorted(path for path in found if not path.is_relative_to(scratch))


def _is_alive(path: Path) -> bool:
    """Tell whether the process that a half-written file names may still write it."""
    match = re.match(rf"{re.escape(TEMPORARY_PREFIX)}(\d+)-", path.name)
    if match is None:
        return False
    try:
        # A process that began after the file was written is another one with the same number.
        return psutil.Process(int(match[1])).create_time() <= path.stat().st_mtime
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False
