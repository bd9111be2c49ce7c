"""A small batch system for tests: a client that waits, and a process of its own for each job.

The processes of the jobs are forked from one that has imported everything, so that a job takes a
tenth of a second and not three. In all else they are what a node runs: `unlearn stage train@s000`,
in the project's folder, with nothing of the driver's but the files.

    python -m tests.stages.engines.cluster    the process that servers are forked from too
    client.py SOCKET SHARD                    the client, as `sbatch --wait` would be
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

#: Sends the shard's name, waits for the exit code, and ends with it.
CLIENT = """\
import socket, sys
with socket.socket(socket.AF_UNIX) as ask:
    ask.connect(sys.argv[1])
    ask.sendall(sys.argv[2].encode())
    ask.shutdown(socket.SHUT_WR)
    code = ask.recv(16)
sys.exit(int(code) if code else 75)
"""


@dataclass(frozen=True)
class Cluster:
    """A server that runs."""

    folder: Path

    @property
    def hold(self) -> Path:
        """The file that no job begins its work beside."""
        return self.folder / "hold"

    @property
    def template(self) -> str:
        """The command line of a job."""
        return (
            f"{sys.executable} -I -S {self.folder / 'client.py'} {self.folder / 'socket'} {{shard}}"
        )

    def jobs(self) -> list[tuple[str, int]]:
        """Return shard and process of all jobs so far, in the order of their beginning."""
        path = self.folder / "began"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        return [(shard, int(pid)) for shard, pid in map(str.split, lines)]

    def running(self) -> list[int]:
        """Return the processes of jobs that have not ended."""
        ended = (self.folder / "ended").read_text("ascii").split() if self.jobs() else []
        return [pid for _, pid in self.jobs() if str(pid) not in ended]


@contextmanager
def start_cluster(folder: Path, root: Path) -> Iterator[Cluster]:
    """Run a server for the length of the block, for jobs of the project at `root`."""
    folder.mkdir()
    (folder / "client.py").write_text(CLIENT, encoding="ascii")
    (folder / "ended").touch()
    nursery = _nursery()
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(json.dumps([str(folder), str(root)]) + "\n")
    nursery.stdin.flush()
    server = int(nursery.stdout.readline())
    try:
        deadline = time.monotonic() + 60
        while not (folder / "socket").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Cluster(folder)
    finally:
        os.kill(server, signal.SIGTERM)


@cache
def _nursery() -> "subprocess.Popen[str]":
    """Start the process that servers are forked from, once for each process of pytest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stages.engines.cluster"],
        cwd=Path(__file__).resolve().parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # the first of the two: it ends when its input does
    return process


def _start_servers() -> None:
    from unlearn.stages.estimators.registry import find_spec

    # What jobs import.
    model = "sklearn.naive_bayes"
    for name in (*find_spec(f"{model}.GaussianNB").preload, model, "unlearn.cli.stage.job"):
        import_module(name)
    for name in find_spec("mlp").preload:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the servers
    for line in iter(sys.stdin.readline, ""):
        folder, root = map(Path, json.loads(line))
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(nothing, 1)
            _serve(folder, root)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _serve(folder: Path, root: Path) -> None:
    os.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "new"))
        server.listen(64)
        (folder / "new").rename(folder / "socket")
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _wait_for_job(folder, client)
            client.close()
            while True:  # none stays a zombie
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break


def _wait_for_job(folder: Path, client: socket.socket) -> None:
    """Run a job in a process of its own, and tell the client how it ended."""
    shard = client.recv(64).decode()
    if not shard:  # it was killed before it asked
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        client.close()
        _run_job(folder, shard)
    _, status = os.waitpid(pid, 0)
    with (folder / "ended").open("a") as notes:
        notes.write(f"{pid}\n")
    code = os.waitstatus_to_exitcode(status)
    try:
        client.sendall(str(code if code >= 0 else 128 - code).encode())
    finally:
        os._exit(0)


def _run_job(folder: Path, shard: str) -> None:
    from unlearn.cli.app import run

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with (folder / "began").open("a") as notes:
        notes.write(f"{shard} {os.getpid()}\n")
    while (folder / "hold").exists():
        time.sleep(0.01)
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = run(["stage", f"train@{shard}"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _start_servers()
