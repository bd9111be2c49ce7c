"""Waiting for one another: advisory file locks that the kernel frees when a process dies."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn.stages.errors import BusyError

#: How long a command waits for another run before it gives up (seconds).
PATIENCE = 30.0

_POLL = 0.05


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
    with path.open("a") as handle:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(
                        f"{what} is still running after {patience:.0f} s; nothing was changed",
                        "try again when it has ended",
                    ) from None
                time.sleep(_POLL)
        yield
