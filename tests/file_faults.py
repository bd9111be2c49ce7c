"""Faults of file operations: the k-th one in a folder fails, or the process ends there."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Fault = Literal["kill", "disk full"]


class Killed(BaseException):
    """The process has ended: no handler may change anything after it."""


@dataclass
class FaultPlan:
    """Which operation meets a fault, and how many there were."""

    folder: str
    fault: Fault
    left: int
    count: int = 0


_plan: FaultPlan | None = None
_installed = False

#: Audit events of operations that change files, and the arguments that are paths.
_CHANGES = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,)}
#: Those that need space on the disk.
_GROWING = ("open", "os.rename", "os.mkdir")


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    plan = _plan
    if plan is None:
        return
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        paths = arguments[:1]
    elif event in _CHANGES:
        paths = tuple(arguments[index] for index in _CHANGES[event])
    else:
        return
    named = [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]
    # Locks are no content.
    if not any(name.startswith(plan.folder) and "/locks/" not in name for name in named):
        return
    if plan.fault == "disk full" and event not in _GROWING:
        return
    plan.count += 1
    if plan.count >= plan.left:
        if plan.fault == "kill":
            raise Killed
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def fault_at(number: int, folder: Path, fault: Fault) -> Iterator[FaultPlan]:
    """Let the operation of this number in a folder, and all after it, meet a fault.

    A file that is opened for writing and not written stays empty, as after a kill.

    Parameters
    ----------
    number
        Of the operation that changes a file, from 1.
    folder
        Only operations below it count.
    fault
        A kill, after which nothing changes any more, or a disk that is full: what needs no space
        works.

    Yields
    ------
    FaultPlan
        Its `count` is the number of operations so far.
    """
    global _plan, _installed  # noqa: PLW0603 - an audit hook cannot be taken away again
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _plan = FaultPlan(str(folder), fault, number)
    try:
        yield _plan
    finally:
        _plan = None
