"""Keeping other DVC commands from starting in a project."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from unlearn.stages.dvc.command import RETRY_SECONDS, dvc_folder, run_dvc, running_process
from unlearn.stages.errors import BusyError
from unlearn.stages.project.locks import PATIENCE
from unlearn.stages.project.paths import Project

_HARDLINK = "core.hardlink_lock=true"


@contextmanager
def without_dvc(project: Project, patience: float = PATIENCE) -> Iterator[None]:
    """Hold DVC's lock for the length of the block, while no stage of DVC runs.

    No command of DVC may be called in the block: it would wait for this lock.

    Parameters
    ----------
    project
        The project.
    patience
        Seconds to wait for a DVC that is running.

    Raises
    ------
    BusyError
        If a DVC is still running after that time.
    """
    from dvc.lock import LockError, make_lock

    folder = dvc_folder(project.root) / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    settings = run_dvc(project.root, "config", "--list", capture=True).split()
    hardlink = _HARDLINK in settings
    lock = make_lock(str(folder / "lock"), tmp_dir=str(folder), hardlink_lock=hardlink)
    deadline = time.monotonic() + patience
    while True:
        try:
            lock.lock()
        except LockError:
            free = False
        else:
            # DVC frees its lock while the command of a stage runs, and notes the stage elsewhere.
            free = running_process(project) is None
            if free:
                break
            lock.unlock()
        if time.monotonic() > deadline:
            raise BusyError(f"dvc is still running after {patience:.0f} s")
        time.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        lock.unlock()
