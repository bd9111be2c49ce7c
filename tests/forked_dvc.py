"""DVC's commands in processes that have imported DVC already: forks of one that does nothing else.

Every command is real DVC in a process of its own, with its own folder, environment and standard
streams. It only saves what each `python -m dvc` spends on imports, which is most of its time.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

#: What DVC imports when it needs it.
_MODULES = (
    "dvc.cli.parser",
    "dvc.cachemgr",
    "dvc.commands.repro",
    "dvc.compare",
    "dvc.data_cloud",
    "dvc.dirs",
    "dvc.dvcfile",
    "dvc.fs.dvc",
    "dvc.repo.brancher",
    "dvc.repo.graph",
    "dvc.repo.index",
    "dvc.repo.reproduce",
    "dvc.repo.trie",
    "dvc.repo.worktree",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.stage.cache",
    "dvc.stage.run",
    "dvc.stage.serialize",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.build",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.state",
    "dvc_data.hashfile.status",
    "dvc_data.hashfile.transfer",
    "dvc_data.index.checkout",
    "dvc_data.index.fetch",
    "dvc_data.index.push",
    "dvc_objects.fs.local",
    "dulwich.ignore",
    "dulwich.index",
    "flatten_dict",
    "fsspec.implementations.memory",
    "networkx",
    "rich.table",
    "scmrepo.git",
    "scmrepo.noscm",
    # What is asked of DVC by the processes of our own; see `ForkedProgram`.
    "dvc_s3",
    "s3fs",
    "unlearn.stages.dvc.child",
    "unlearn.stages.dvc.storage_child",
)
#: Longer requests would not come in one message; an environment has some kilobytes.
_MOST = 1 << 20


def call_dvc(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str, str]:
    """Run a command of DVC; return its exit code, standard output and standard error.

    Parameters
    ----------
    arguments
        The words after `dvc`.
    folder
        Where to run it.
    environment
        All of its environment.
    """
    command = ["dvc", *arguments]
    with (
        Path(os.devnull).open("rb") as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        _ask(command, folder, environment, [nothing, out, err]) as connection,
    ):
        _exactly(connection, 4)
        return _exit_code(connection), _text(out), _text(err)


def _ask(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    streams: Sequence[IO[Any]],
) -> socket.socket:
    """Have a command run in a fork; return the connection, which its process id comes from."""
    request = json.dumps([list(command), str(folder), dict(environment)]).encode()
    assert len(request) < _MOST
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    files = [stream.fileno() for stream in streams]
    socket.send_fds(connection, [len(request).to_bytes(4, "big")], files)
    connection.sendall(request)
    return connection


def _exit_code(connection: socket.socket) -> int:
    answer = connection.recv(1)
    # A process that was killed answers nothing.
    return answer[0] if answer else -signal.SIGKILL


class ForkedProgram:
    """One of our programs that ask DVC, in a fork: what `subprocess.Popen` is to the others.

    Parameters
    ----------
    command
        The interpreter, `-m`, and the module; or `-c` and the code.
    cwd, env
        Its folder and all of its environment.
    text, stdin, stdout, stderr
        As of `subprocess.Popen`: pipes of text, or nothing.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        text: bool = True,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> None:
        assert text
        self.stdin, own_in = _stream(stdin, "w")
        self.stdout, own_out = _stream(stdout, "r")
        self.stderr, own_err = _stream(stderr, "r")
        streams = [own_in, own_out, own_err]
        self._connection = _ask(command[1:], cwd, env, streams)
        for stream in streams:
            stream.close()
        self.pid = int.from_bytes(_exactly(self._connection, 4), "big")
        self.returncode: int | None = None

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        if self.returncode is None:
            self.returncode = _exit_code(self._connection)
            self._connection.close()
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Close what it reads, and return all that it writes."""
        if self.stdin is not None:
            with suppress(BrokenPipeError):
                self.stdin.close()
        # None of the programs writes much to both.
        found = [stream.read() if stream else "" for stream in (self.stdout, self.stderr)]
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()
        return found[0], found[1]


def _stream(kind: int, mode: str) -> tuple[IO[str] | None, IO[Any]]:
    """Return this side of a stream, if there is one, and the side of the program."""
    if kind == subprocess.DEVNULL:
        return None, Path(os.devnull).open("r+b", buffering=0)
    assert kind == subprocess.PIPE
    read, write = os.pipe()
    mine, other = (write, read) if mode == "w" else (read, write)
    return os.fdopen(mine, mode), os.fdopen(other, "rb" if mode == "w" else "wb")


class Forking:
    """What stands for the module `subprocess` where our programs that ask DVC are started.

    A program that is to be watched by code of its own, by PYTHONPATH, is a process of its own.
    """

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL

    @staticmethod
    def Popen(command: Sequence[str], **options: Any) -> Any:  # noqa: N802 - as in `subprocess`
        """Start a program; see `subprocess.Popen`."""
        watched = "PYTHONPATH" in options["env"]
        return (subprocess.Popen if watched else ForkedProgram)(command, **options)

    @staticmethod
    def run(command: Sequence[str], **options: Any) -> Any:
        """Run a program to its end; see `subprocess.run`."""
        if "PYTHONPATH" in options["env"] or command[:2] != [sys.executable, "-c"]:
            return subprocess.run(command, check=False, **options)
        del options["capture_output"], options["check"]
        program = ForkedProgram(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        out, err = program.communicate()
        return subprocess.CompletedProcess(command, program.wait(), out, err)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> str:
    """Start the process that is forked, once for each session of pytest; return its address."""
    from tests.session_server import share

    # It runs none of our code, so there is nothing for coverage to measure.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    return str(share(__file__, environment, lambda _folder: None) / "socket")


def _serve(folder: str) -> None:
    # This file's folder is where Python looks first.
    server = importlib.import_module("session_server")
    end = server.end_of_session()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(Path(folder) / "socket"))
        listening.listen()
        for name in _MODULES:
            with suppress(ImportError):  # another version of DVC
                importlib.import_module(name)
        assert threading.active_count() == 1
        gc.freeze()
        os.write(1, b"ready\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while True:
            ready, _, _ = select.select([listening.fileno(), end], [], [])
            if end in ready:
                server.remove_folder()
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                os.close(end)
                server.leave_server()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Run the command that the connection asks for, and end."""
    code = 255
    try:
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        command, folder, environment = json.loads(_exactly(connection, int.from_bytes(size)))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = folder
        sys.argv = command
        connection.send(os.getpid().to_bytes(4, "big"))
        code = _run(command)
        # As the interpreter does at its end; there is no public name for either.
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(OSError):  # nobody waits for it
            connection.send(bytes([code]))
        os._exit(code)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _run(command: list[str]) -> int:
    try:
        if command[0] == "-c":
            exec(command[1], {"__name__": "__main__"})  # noqa: S102 - the tests' own code
            return 0
        if command[0] == "-m":
            importlib.import_module(command[1]).main()
            return 0
        from dvc.cli import main

        return int(main(command[1:]) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


if __name__ == "__main__":
    _serve(sys.argv[1])
