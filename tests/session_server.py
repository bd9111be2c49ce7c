"""Processes that all workers of a session of pytest share, and that end when it does."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
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

    Raises
    ------
    RuntimeError
        If the server ended before it was ready.
    """
    folder = _folder() / Path(program).stem
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for left in folder.iterdir():  # by a server that did not get ready
                if left.name != "lock":
                    left.unlink()
            process = subprocess.Popen(
                [sys.executable, program, str(folder), str(_session())],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            line = process.stdout.readline()
            process.stdout.close()
            if line != b"ready\n":
                process.kill()
                process.wait()
                raise RuntimeError(f"{Path(program).name} did not start; it says why on its stderr")
            _STARTED.append(process)
            prepare(folder)
            (folder / "ready").touch()
    return folder


def end_of_session() -> int:
    """Return, in a server, a file that can be read when the session has ended.

    From now on, only that end is the end of the server: Ctrl-C reaches all processes of a terminal,
    and would leave the folder behind.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    session = int(sys.argv[2])
    with suppress(AttributeError, OSError):
        return os.pidfd_open(session)
    # macOS and older versions of Linux have no such files. The output of a shell ends with it.
    watch = f"while kill -0 {session} 2> /dev/null; do sleep 1; done"
    shell = subprocess.Popen(["sh", "-c", watch], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    _STARTED.append(shell)
    assert shell.stdout is not None
    return shell.stdout.fileno()


def leave_server() -> None:
    """Let Ctrl-C end, in a fork of a server, this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def remove_folder() -> None:
    """Remove, in a server that ends, the folder; the last server removes what is around it."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another server is there, or has just removed it
        folder.parent.rmdir()


def _session() -> int:
    """Return the process that ends last: the one that started the workers, or this one."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


@cache
def _folder() -> Path:
    session = _session()
    # The address of a socket has about a hundred characters at most.
    folder = Path(tempfile.gettempdir()) / f"forks-{os.getuid()}-{session}-{_began(session)}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _began(process: int) -> str:
    """Return what tells a process from earlier ones of the same number: when it began.

    A killed session may have left the folder of another process of this number.
    """
    stat = Path(f"/proc/{process}/stat")
    if stat.exists():
        return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    command = ["ps", "-o", "lstart=", "-p", str(process)]  # macOS has no such files
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    return f"{zlib.crc32(done.stdout.encode()):x}"
