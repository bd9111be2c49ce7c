"""Processes that all workers of a session of pytest share, and that end when it does."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

#: Kept: Python would warn of a process that still runs when nothing refers to it.
_STARTED: list["subprocess.Popen[bytes]"] = []


def share(program: str, environment: Mapping[str, str], prepare: Callable[[Path], None]) -> Path:
    """Start a server, if no worker of this session has done so; return its folder.

    Parameters
    ----------
    program
        The file that is run. It is given the folder, and the process whose end is the session's;
        it writes a line when it is ready, and removes the folder in the end.
    environment
        All of its environment.
    prepare
        Called with the folder, once, when the server is ready.
    """
    folder = _folder() / Path(program).stem
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            process = subprocess.Popen(
                [sys.executable, program, str(folder), str(_session())],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.stdout.close()
            _STARTED.append(process)
            prepare(folder)
            (folder / "ready").touch()
    return folder


def end_of_session() -> int:
    """Return, in a server, a file that can be read when the session has ended."""
    return os.pidfd_open(int(sys.argv[2]))


def remove_folder() -> None:
    """Remove, in a server that ends, the folder; the last server removes what is around it."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def _session() -> int:
    """Return the process that ends last: the one that started the workers, or this one."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


@cache
def _folder() -> Path:
    # A killed session may have left the folder of another process of this number.
    session = _session()
    began = Path(f"/proc/{session}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    # The address of a socket has about a hundred characters at most.
    folder = Path(tempfile.gettempdir()) / f"forks-{os.getuid()}-{session}-{began}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
