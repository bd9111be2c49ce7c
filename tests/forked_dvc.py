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
from typing import IO

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
    request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
    assert len(request) < _MOST
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(_server())
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [out.fileno(), err.fileno()])
        connection.sendall(request)
        # A process that was killed answers nothing.
        answer = connection.recv(1)
        return answer[0] if answer else -signal.SIGKILL, _text(out), _text(err)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> str:
    """Start the process that is forked, once for each process of pytest; return its address."""
    folder = tempfile.TemporaryDirectory()
    address = str(Path(folder.name) / "dvc")
    # It runs none of our code, so there is nothing for coverage to measure.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    process = subprocess.Popen(
        [sys.executable, __file__, address],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # the first of the three: it ends when its input does
    return address


def _serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
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
            ready, _, _ = select.select([listening.fileno(), 0], [], [])
            if 0 in ready:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """Run the command that the connection asks for, and end."""
    code = 255
    try:
        size, streams, _, _ = socket.recv_fds(connection, 4, 2)
        arguments, folder, environment = json.loads(_exactly(connection, int.from_bytes(size)))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = folder
        sys.argv = ["dvc", *arguments]
        code = _main(arguments)
        # As the interpreter does at its end; there is no public name for either.
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
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


def _main(arguments: list[str]) -> int:
    from dvc.cli import main

    try:
        return int(main(arguments) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


if __name__ == "__main__":
    _serve(sys.argv[1])
