"""`unlearn` in processes that have imported its libraries already: forks of one that did only that.

Each command and each stage is a process of its own, with its own folder, environment and standard
streams, and its own exit code. It saves what a new one spends on imports of torch, transformers,
scikit-learn and DVC: some seconds, and most of its time. The processes that a fork trains in are
forks too: multiprocessing starts them, by "spawn", with the program that stands for Python here.

A command that a test starts to kill it, to stop it or to look at it (`Repo.start`) is a new
Python, and so is every process with variables that Python or torch reads at its start.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import spawn
from pathlib import Path
from typing import IO, Any
from unittest import mock

import pytest

#: What the commands and stages import when they need it.
_MODULES = (
    "pandas",
    "peft",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.naive_bayes",
    "skops.io",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "unlearn.cli.app",
    "unlearn.cli.audit",
    "unlearn.cli.forget",
    "unlearn.cli.plan",
    "unlearn.cli.repro",
    "unlearn.cli.stage.aggregate",
    "unlearn.cli.stage.forget",
    "unlearn.cli.stage.recipe",
    "unlearn.cli.stage.shard",
    "unlearn.cli.stage.train",
    "unlearn.cli.stage.train_whole",
    "unlearn.cli.stage.unlearn",
    "unlearn.cli.stage.verify",
    "unlearn.cli.stage.young",
    "unlearn.cli.status",
    "unlearn.cli.verify",
    "unlearn.stages.estimators.mlp",
    "unlearn.stages.estimators.sklearn_models",
    "unlearn.stages.estimators.torch_models",
    "unlearn.stages.training.own_training",
    "unlearn.stages.verify.membership.registry",
)
#: Modules that `python -m` runs as forks. Their own imports are above, or in `forked_dvc`.
_FORKED = (
    "dvc",
    "unlearn.cli",
    "unlearn.stages.dvc.child",
    "unlearn.stages.dvc.storage_child",
    "unlearn.stages.training.own_training_trial",
)
#: Programs by the modules that they run.
_PROGRAMS = {"dvc": "dvc", "unlearn": "unlearn.cli"}
#: It is given seeds of Python's hashes, which a fork cannot take. Its own tests use no forks.
_SEEDED = "unlearn.stages.training.own_training_trial"
#: Beginnings of variables that are read when Python or a library is loaded.
_LOADED = ("PYTHON", "ATEN_", "LD_", "COV", "HF_", "TRANSFORMERS_")
#: How multiprocessing starts a process; the numbers are those of the files that it is left.
_SPAWN = r"from multiprocessing.spawn import spawn_main; spawn_main\((.*)\)"
#: The most files that a process may be left.
_FILES = 64
#: Longer requests would not come in one message; an environment has some kilobytes.
_MOST = 1 << 20

#: What stands where these and Python are looked for: it asks for a fork and becomes its exit.
_CLIENT = """\
#!{python} -ISE
import os, re, sys
name = os.path.basename(sys.argv[0])
words = sys.argv[1:]
environment = dict(os.environ)
read = {{key: environment[key] for key in environment if key.startswith({loaded!r})}}
if name in {programs!r}:
    words = ["-m", {programs!r}[name], *words]
read.pop("PYTHONUNBUFFERED", None)
if words[1:2] == [{seeded!r}]:
    read.pop("PYTHONHASHSEED", None)
# The flags before these words are those of all Pythons here.
is_worker = words[-3:-2] == ["-c"] and re.fullmatch({spawn!r}, words[-2])
is_module = words[:1] == ["-m"] and words[1:2] != [] and words[1] in {forked!r}
if read != {read!r} or not (is_worker or is_module):
    os.execv({python!r}, [{python!r}, *words])
import json, signal, socket
files = [0, 1, 2]
parent = 0
if is_worker:
    parent = os.getppid()
    for name in os.listdir("/dev/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                files.append(int(name))
        except OSError:
            pass  # of the listing itself
words = words[-3:] if is_worker else words[1:]
request = json.dumps([words, os.getcwd(), environment, files, parent]).encode()
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
socket.send_fds(connection, [len(request).to_bytes(4, "big")], files)
connection.sendall(request)
for file in files[3:]:
    os.close(file)  # the end of a pipe is that of the last process that has it
if is_worker:
    connection.settimeout(1)
while True:
    try:
        answer = connection.recv(4)
        break
    except TimeoutError:
        if os.getppid() != parent:
            os._exit(1)
code = int.from_bytes(answer, "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def call_python(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    stdin: str | None = None,
) -> tuple[int, str, str]:
    """Do what `python -m` does; return exit code, standard output and standard error.

    Parameters
    ----------
    module, arguments
        A module, and the words after it.
    folder
        Where to run it.
    environment
        All of its environment.
    stdin
        What it reads; nothing by default.
    """
    words = [module, *arguments]
    request = json.dumps([words, str(folder), dict(environment), [0, 1, 2], 0]).encode()
    assert len(request) < _MOST
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        given.write((stdin or "").encode())
        given.seek(0)
        connection.connect(str(Path(_server()) / "python.socket"))
        streams = [given.fileno(), out.fileno(), err.fileno()]
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], streams)
        connection.sendall(request)
        code = int.from_bytes(_exactly(connection, 4), "big", signed=True)
        return code, _text(out), _text(err)


@contextmanager
def forks_of_python() -> Iterator[None]:
    """Let what `Repo` runs be forks in the block: commands, stages, and DVC for commands."""
    from tests.conftest import Done, Repo

    if any(name.startswith("COV") for name in os.environ):
        yield  # coverage does not follow forks that it did not see
        return
    apart = os.pathsep + os.environ["PATH"]
    new_unlearn, new_start, new_inline = Repo.unlearn, Repo.start, Repo.inline

    def unlearn(
        repo: Repo, *words: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> Done:
        if any(name.startswith(_LOADED) for name in env or ()):
            return new_unlearn(repo, *words, stdin=stdin, env={"PATH": apart[1:]} | (env or {}))
        environment = os.environ | (env or {})
        return Done(*call_python("unlearn.cli", words, repo.root, environment, stdin))

    def start(
        repo: Repo, *words: str, module: str = "unlearn.cli", env: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        return new_start(repo, *words, module=module, env={"PATH": apart[1:]} | (env or {}))

    def inline(repo: Repo, *words: str, stdin: str = "") -> Done:
        # Of what it starts, DVC is a fork.
        with mock.patch.object(sys, "executable", str(Path(_server()) / "python")):
            return new_inline(repo, *words, stdin=stdin)

    with (
        mock.patch.dict(os.environ, {"PATH": _server() + apart}),
        mock.patch.object(Repo, "inline", inline),
        mock.patch.object(Repo, "unlearn", unlearn),
        mock.patch.object(Repo, "start", start),
    ):
        yield


@contextmanager
def forked_workers() -> Iterator[None]:
    """Let the processes that multiprocessing starts in the block, by "spawn", be forks."""
    if any(name.startswith("COV") for name in os.environ):
        yield
        return
    before = spawn.get_executable()
    spawn.set_executable(str(Path(_server()) / "python"))
    try:
        yield
    finally:
        spawn.set_executable(before)


@pytest.fixture(scope="package", autouse=True)
def _forks_of_python(_apart_from_this_machine: None) -> Iterator[None]:
    """Use forks in a package of tests; its conftest.py imports this."""
    with forks_of_python():
        yield


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> str:
    """Start the process that is forked, once for each session of pytest.

    Returns
    -------
    str
        The folder with its address, and with the programs that ask it for forks.
    """
    from tests.session_server import share

    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    return str(share(__file__, os.environ | threads, _write_programs))


def _write_programs(folder: Path) -> None:
    program = _CLIENT.format(
        python=sys.executable,
        loaded=_LOADED,
        forked=_FORKED,
        programs=_PROGRAMS,
        seeded=_SEEDED,
        spawn=_SPAWN,
        read={
            name: os.environ[name]
            for name in os.environ
            if name.startswith(_LOADED) and name != "PYTHONUNBUFFERED"
        },
        address=str(folder / "python.socket"),
    )
    for name in ("python", *_PROGRAMS):
        (folder / name).write_text(program, encoding="utf-8")
        (folder / name).chmod(0o755)


def _serve(folder: str) -> None:
    # This file's folder is where Python looks first.
    server = importlib.import_module("session_server")
    end = server.end_of_session()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(Path(folder) / "python.socket"))
        listening.listen()
        _import_all()
        gc.freeze()
        ended, on_end = os.pipe()
        os.set_blocking(on_end, False)
        signal.set_wakeup_fd(on_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        os.write(1, b"ready\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        callers: dict[int, socket.socket] = {}
        while True:
            waited: list[Any] = [listening, end, ended, *callers.values()]
            ready = select.select(waited, [], [])[0]
            if end in ready:
                _end_forks(callers, list(callers.values()))
                server.remove_folder()
                return
            if ended in ready:
                os.read(ended, 1 << 12)
                _report_ends(callers)
            _end_forks(callers, ready)
            if listening in ready:
                connection, _ = listening.accept()
                # Read here: what can be read from a connection later on is its end.
                asked = _read_request(connection)
                if asked is None:
                    connection.close()
                    continue
                request, streams = asked
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for file in (listening, connection, *callers.values()):
                        file.close()
                    for number in (end, ended, on_end):
                        os.close(number)
                    server.leave_server()
                    _answer(request, streams, folder)
                for stream in streams:
                    os.close(stream)
                callers[pid] = connection


def _read_request(connection: socket.socket) -> tuple[bytes, list[int]] | None:
    """Return a request and its files; None if the process that asks was killed on the way."""
    streams: list[int] = []
    with suppress(EOFError, ConnectionError):
        size, streams, _, _ = socket.recv_fds(connection, 4, _FILES)
        if size:
            return _exactly(connection, int.from_bytes(size)), streams
    for stream in streams:
        os.close(stream)
    return None


def _import_all() -> None:
    # This file's folder is where Python looks first.
    of_dvc = importlib.import_module("forked_dvc")._MODULES  # noqa: SLF001 - of the tests too
    for name in (*_MODULES, *of_dvc):
        with suppress(ImportError):  # an extra, or another version of DVC
            importlib.import_module(name)


def _end_forks(callers: dict[int, socket.socket], ready: Sequence[Any]) -> None:
    """End the forks whose callers were killed: their connections can be read from."""
    for pid in [pid for pid, caller in callers.items() if caller in ready]:
        os.kill(pid, signal.SIGKILL)
        callers.pop(pid).close()


def _report_ends(callers: dict[int, socket.socket]) -> None:
    """Tell those who asked for forks that have ended how these ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            caller = callers.pop(pid, None)
            if caller is not None:
                code = os.waitstatus_to_exitcode(status)
                with suppress(OSError):
                    caller.sendall(code.to_bytes(4, "big", signed=True))
                caller.close()


def _answer(request: bytes, streams: Sequence[int], programs: str) -> None:
    """Run the module that was asked for, and end."""
    code = 1
    try:
        words, folder, environment, numbers, parent = json.loads(request)
        _take_files(streams, numbers)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = folder
        sys.executable = str(Path(programs) / "python")
        sys.argv = words
        # Where multiprocessing starts a process.
        spawn.set_executable(sys.executable)
        if "PYTHONUNBUFFERED" in environment:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a real file
        code = _run_worker(words, parent) if parent else _run(words[0])
        # As the interpreter does at its end; there is no public name for either.
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _take_files(streams: Sequence[int], numbers: Sequence[int]) -> None:
    """Give files the numbers that they have in the process that asked."""
    highest = max(*numbers, *streams)
    apart = [fcntl.fcntl(stream, fcntl.F_DUPFD, highest + 1) for stream in streams]
    for stream in streams:
        os.close(stream)
    for file, number in zip(apart, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def _run_worker(words: Sequence[str], parent: int) -> int:
    """Be a process that multiprocessing starts, and return the exit code."""
    # Workers end when another process becomes their parent. Here the program that asked does so.
    os.getppid = lambda: parent
    found = re.fullmatch(_SPAWN, words[1])
    assert found is not None
    named = dict(part.split("=") for part in found[1].split(", "))
    sys.argv = ["-c", *words[2:]]
    try:
        spawn.spawn_main(**{name: int(number) for name, number in named.items()})
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _run(module: str) -> int:
    """Run a module to its end as the interpreter does, and return its exit code."""
    # Python warns of a module that was imported before it is run. Of a package another one is run.
    if not hasattr(sys.modules.get(module), "__path__"):
        sys.modules.pop(module, None)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


if __name__ == "__main__":
    _serve(sys.argv[1])
