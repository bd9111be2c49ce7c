"""Clusters of Ray for tests, runs on them, and a search through all that they keep."""

import hashlib
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from unlearn.stages.context import open_project
from unlearn.stages.engines.ray_engine import RayEngine
from unlearn.stages.engines.ray_sweep import sweep
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.tokens import Key
from unlearn.stages.train.stage import Trained

from tests.conftest import make_frame
from tests.pipeline.conftest import wait_for
from tests.stages.engines.conftest import OWN, SHARDS, Trainable, make


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Parameters
    ----------
    folder
        Where it keeps its files.
    leader
        The process that leads the session of all of its processes.
    """

    folder: Path
    leader: int

    @property
    def processes(self) -> list[int]:
        """Its processes that run: one that has ended may wait for its parent to take note."""
        found = []
        for process in psutil.process_iter():
            try:
                member = os.getsid(process.pid) == self.leader
                if member and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except (OSError, psutil.Error):
                continue  # it has ended
        return found

    @property
    def is_gone(self) -> bool:
        """Whether neither processes nor files are left."""
        return not self.folder.exists() and not self.processes

    def where(self, words: list[bytes]) -> dict[str, list[str]]:
        """Return where in the cluster each of some words is found."""
        found: dict[str, list[str]] = {}
        for place, content in self._contents():
            for word in words:
                if word in content:
                    found.setdefault(word.decode("latin-1"), []).append(place)
        return found

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield files of its sessions, object stores, and the command lines of all processes."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        assert any(path.suffix == ".log" for path in files)
        for path in files:
            yield str(path), path.read_bytes()
        for pid in psutil.pids():
            try:
                yield f"command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
        stores = 0
        for pid in self.processes:
            if psutil.Process(pid).name() != "raylet":
                continue
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed just now; a store stays open
                    if "/dev/shm" in str(handle.readlink()):  # noqa: S108  # where Linux has them
                        stores += 1
                        yield f"object store of {pid}", handle.read_bytes()
        assert stores > 0


@dataclass(frozen=True)
class Nodes(Cluster):
    """A cluster of two nodes on loopback addresses; see `ray_cluster`."""

    process: subprocess.Popen[str]
    address: str

    def order(self, order: str) -> None:
        """Give the order, and wait until it is carried out."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def two_nodes(second_path: str = "") -> Iterator[Nodes]:
    """Yield a cluster of two nodes, the second with other folders to import from."""
    # A short name: Ray puts UNIX sockets below it.
    with TemporaryDirectory(prefix="ray-") as top:
        folder = Path(top)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stages.engines.ray_cluster", second_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ | {"RAY_TMPDIR": top} | SETTINGS,
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("127.0.0.2:")
            yield Nodes(folder, process.pid, process, address)
        finally:
            process.kill()
            sweep(process.pid, None)
            process.communicate()


#: Environment of clusters and of processes that connect to one.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


def own_cluster(run: int | None = None, *, least: int = 5) -> Cluster:
    """Return the cluster that a run started, or is starting.

    Parameters
    ----------
    run
        The run's process; None for this one.
    least
        How many processes there have to be, at least. They are waited for.
    """
    found: list[Cluster] = []

    def has_begun() -> bool:
        for process in psutil.Process(run).children():
            with suppress(psutil.Error):  # another one, which has just ended
                if "unlearn.stages.engines.ray_driver" in process.cmdline():
                    found[:] = [Cluster(Path(process.environ()["RAY_TMPDIR"]), process.pid)]
        return bool(found) and len(found[0].processes) >= least

    wait_for(has_begun, 60)
    assert found[0].folder.is_dir()
    return found[0]


def train(
    project: Trainable, address: str | None = None, jobs: int | None = None
) -> tuple[list[Trained], list[str]]:
    notes: list[str] = []
    with RayEngine(address, jobs, notes.append) as engine:
        return list(engine.train(project.context, SHARDS)), notes


def trained_by(project: Trainable) -> list[int]:
    """Return the processes that began to train a shard, in order."""
    path = project.root / "pids"
    return [int(pid) for pid in path.read_text("ascii").split()] if path.is_file() else []


def while_held(project: Trainable, trainings: int, act: Callable[[list[int]], None]) -> None:
    """Do something once so many shards are being trained, and then let them go on."""

    def run() -> None:
        try:
            wait_for(lambda: len(trained_by(project)) >= trainings, 120)
            act(trained_by(project))
        finally:
            (project.root / "hold").unlink()

    (project.root / "hold").touch()
    threading.Thread(target=run, daemon=True).start()


#: A key, and what rows have; see `make_planted`.
PLANTED_KEY = Key(hashlib.sha256(b"planted").hexdigest())
_CITY, _INCOME = "zq-planted-city", 8675309.140625
PLANTED = [
    PLANTED_KEY.text.encode(),
    bytes.fromhex(PLANTED_KEY.text),
    _CITY.encode(),
    str(_INCOME).encode(),
    struct.pack("<d", _INCOME),
]


def make_planted(root: Path) -> Trainable:
    """Return a project with a key and rows that are found wherever they are written."""
    frame = make_frame(90)
    frame.loc[::5, "city"] = _CITY
    frame.loc[::7, "income"] = _INCOME
    models = make(root, OWN, frame, PLANTED_KEY)
    return Trainable(open_project(Project(root)), models)
