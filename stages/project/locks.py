"""Waiting for one another: advisory file locks that the kernel frees when a process dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from unlearn.stages.errors import BusyError

#: How long a command waits for another run before it gives up (seconds).
PATIENCE = 30.0


@contextmanager
def exclusive(path: Path, what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock at `path` for the length of the block.

    Parameters
    ----------
    path
        The lock file; it is made and stays.
    what
        Names the other run in the error.
    patience
        Seconds to wait.

    Raises
    ------
    BusyError
        If another process still holds the lock after `patience` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # No other kind of lock where the file system has none: it would outlive its process.
    lock = FileLock(path, timeout=patience, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{what} is still running after {patience:.0f} s; nothing was changed",
            "try again when it has ended",
        ) from None
    try:
        yield
    finally:
        lock.release()
