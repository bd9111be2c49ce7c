"""The engine of a Ray cluster: one that exists, or one that is started for the run.

Paths, names and digests go through Ray; rows and the key never do. Nodes read both from the
project's folder, or the key from their environment.
"""

import importlib.util
import json
import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from unlearn.stages.context import Context
from unlearn.stages.engines.failures import error_of_json
from unlearn.stages.engines.protocol import Note
from unlearn.stages.engines.ray_sweep import sweep
from unlearn.stages.engines.remote import Job, Losses, Result, accept, up_to_date
from unlearn.stages.errors import InputError, ToolError, UnlearnError
from unlearn.stages.train.stage import Trained
from unlearn.stages.training.environment import environment

#: The address of a cluster, where the command line names none.
ADDRESS_VARIABLE = "RAY_ADDRESS"

#: Seconds to wait for a cluster that exists, and for one that is started.
CONNECT_SECONDS = 30.0
START_SECONDS = 120.0

#: Seconds to wait for a node that can train, where a cluster has none yet: some clusters start
#: their nodes when there is something to do.
WAIT_FOR_NODES = 600.0

#: Seconds to wait until what was started has ended.
_END_SECONDS = 30.0

#: Ray puts UNIX sockets some 75 characters below its folder, of at most 103 on macOS. Where the
#: usual folder for temporary files has a longer name than this, another one is taken.
_LONGEST_FOLDER = 28
_SHORT_FOLDER = "/tmp"  # noqa: S108  # what is made below it is for this user only

_RUN_ON_A_NODE = "run `unlearn repro` on a node of the cluster: it needs the same folder, and Ray"

Event = dict[str, Any]


class RayEngine:
    """Trains shards on the nodes of a Ray cluster.

    Parameters
    ----------
    address
        `HOST:PORT` of a cluster, or `auto` for the one that this machine is a node of. None takes
        that of the environment variable `RAY_ADDRESS`; if there is none, a cluster of this machine
        is started, and ends with the engine.
    jobs
        How many shards may be trained at a time; None for as many as there are processors.
    note
        Told of workers that were lost, and of nodes that were refused.

    Raises
    ------
    InputError
        If Ray is not installed, or the address is of no kind that can be used.
    ToolError
        If nothing answers at the address.
    """

    def __init__(self, address: str | None, jobs: int | None, note: Note) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError(
                "--engine ray needs Ray, which is not installed",
                "pip install 'dvc-unlearn[ray]'",
            )
        self._address = address or os.environ.get(ADDRESS_VARIABLE) or None
        if self._address is not None:
            _check_address(self._address)
        self._jobs = jobs
        self._note = note
        self._driver: _DriverProcess | None = None
        self._refused: dict[str, UnlearnError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def train(self, context: Context, shards: Sequence[str]) -> Iterator[Trained]:
        """Train shards; see `Engine.train`."""
        facts = environment(context.params.train)
        waiting: deque[Job] = deque()
        for shard in shards:
            if (found := up_to_date(context, shard, facts)) is None:
                waiting.append(Job.of(context, shard, facts))
            else:
                yield found
        if not waiting:
            return
        driver = self._started(facts)
        losses = Losses(self._note)
        running: dict[str, Job] = {}
        try:
            while waiting or running:
                while waiting and (self._jobs is None or len(running) < self._jobs):
                    job = waiting.popleft()
                    driver.order("train", job=job.as_json(), without=sorted(self._refused))
                    running[job.shard] = job
                event = driver.event()
                if event["event"] == "no node yet":
                    self._note(f"{_no_node(facts)}; waiting for one")
                    continue
                job = running.pop(event["shard"])
                if event["event"] == "result":
                    yield accept(context, job, Result.of_json(event["result"]))
                else:
                    self._take(event, job, losses)
                    waiting.appendleft(job)
        finally:
            if running:
                driver.order("drop")

    def _take(self, event: Event, job: Job, losses: Losses) -> None:
        """Raise what ends the run; return if the shard is to be trained by another worker."""
        node = event.get("node", {"id": "", "name": None})
        name = node["name"]
        match event["event"]:
            case "lost":
                losses.add(job.shard, name, event["why"])
            case "error":
                raise error_of_json(event["error"])
            case "refused":
                self._refuse(node, error_of_json(event["error"]))
            case "no folder":
                why = f"node {name} does not see {job.root}"
                self._refuse(node, ToolError(why, "share it with all nodes, at the same path"))
            case "no package":
                why = f"node {name} cannot import {event['name']}"
                self._refuse(node, ToolError(why, "install the same environment on all nodes"))
            case "no node" if self._refused:
                raise next(iter(self._refused.values()))
            case "no node":
                raise ToolError(_no_node(job.environment), "`ray status` shows what the nodes have")
            case "broken":
                raise ToolError(
                    f"the training of {job.shard} failed on {name or 'a node'} ({event['kind']})",
                    f"`unlearn stage train@{job.shard}` shows the error",
                )

    def _refuse(self, node: dict[str, str], error: UnlearnError) -> None:
        if node["id"] not in self._refused:
            self._refused[node["id"]] = error
            self._note(f"{error.message}; it gets no shard")

    def _started(self, facts: dict[str, str]) -> "_DriverProcess":
        if self._driver is None:
            self._driver = _DriverProcess(self._address is None)
            self._driver.start(self._address, self._jobs, int(_needs_gpu(facts)))
        return self._driver


def _needs_gpu(facts: dict[str, str]) -> bool:
    return facts.get("gpu", "none") != "none"


def _no_node(facts: dict[str, str]) -> str:
    return f"no node of the cluster has a {'GPU' if _needs_gpu(facts) else 'processor'} for a shard"


class _DriverProcess:
    """The process of `ray_driver`; it ends, with all that it started, when this one does.

    Parameters
    ----------
    local
        Whether it starts a cluster.
    """

    def __init__(self, local: bool) -> None:
        self._folder = _new_folder() if local else None
        folder = [] if self._folder is None else [str(self._folder)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "unlearn.stages.engines.ray_driver", *folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            cwd="/",  # Ray has workers import modules from it
            start_new_session=True,
            env=_environment(self._folder),
        )
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, address: str | None, jobs: int | None, gpus: int) -> None:
        """Have it connect to the cluster at an address, or start one.

        Raises
        ------
        ToolError
            If there is no cluster after some time.
        """
        cpus = jobs or os.cpu_count() or 1
        self.order("start", address=address, cpus=cpus, gpus=gpus, patience=WAIT_FOR_NODES)
        seconds = START_SECONDS if address is None else CONNECT_SECONDS
        try:
            event = self.event(seconds)
        except queue.Empty:
            self._process.kill()
            raise ToolError(
                f"Ray did not start within {seconds:.0f} s"
                if address is None
                else f"no Ray cluster answered at {address} within {seconds:.0f} s",
                *(() if address is None else (_RUN_ON_A_NODE,)),
            ) from None
        if event["event"] == "not started":
            raise _not_started(address, event)

    def order(self, order: str, **values: Any) -> None:
        """Send an order; if the process has ended, `event` says so."""
        if self._process.stdin is not None:
            # It may have ended, or have been closed before a generator that was left.
            with suppress(BrokenPipeError, ValueError):
                self._process.stdin.write(json.dumps({"order": order, **values}) + "\n")
                self._process.stdin.flush()

    def event(self, seconds: float | None = None) -> Event:
        """Wait for the next event.

        Raises
        ------
        queue.Empty
            If there is none within so many seconds.
        ToolError
            If the process has ended.
        """
        event = self._events.get(timeout=seconds)
        if event is None:
            raise ToolError(
                "the connection to the Ray cluster ended",
                "is its head node still there? `unlearn repro` goes on where this run stopped",
            )
        return event

    def close(self) -> None:
        """End the process and all that it started."""
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._reader.join(_END_SECONDS)
        # It ends what it started, unless it was killed or does not end. It is waited for last:
        # until then no other process can have its number.
        self._process.kill()
        sweep(self._process.pid, self._folder)
        self._process.wait()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._events.put(json.loads(line))
        self._events.put(None)


def _new_folder() -> Path:
    usual = tempfile.gettempdir()
    short = len(usual) <= _LONGEST_FOLDER
    return Path(tempfile.mkdtemp(prefix="unlearn-ray-", dir=usual if short else _SHORT_FOLDER))


def _environment(folder: Path | None) -> dict[str, str]:
    """Return the environment of the driver, which nodes that it starts inherit."""
    variables = dict(os.environ)
    # It decides by itself where `ray.init` connects to.
    variables.pop(ADDRESS_VARIABLE, None)
    variables["RAY_USAGE_STATS_ENABLED"] = "0"
    if folder is not None:
        # Ray listens on all interfaces. Who has no token is not answered; the user's own, of other
        # clusters, is left alone.
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(os.urandom(32).hex(), encoding="ascii")
        variables |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TMPDIR": str(folder),
            "RAY_BACKEND_LOG_LEVEL": "warning",
        }
        variables.pop("RAY_AUTH_TOKEN", None)
    return variables


def _check_address(address: str) -> None:
    if address == "auto":
        return
    match = re.fullmatch(r"\[?([^/\[\]]+)\]?:(\d{1,5})", address)
    if match is None:
        raise InputError(
            f"the address of the Ray cluster is HOST:PORT or auto, not {address!r}",
            _RUN_ON_A_NODE,
        )
    try:
        socket.create_connection((match[1], int(match[2])), timeout=10.0).close()
    except (OSError, OverflowError) as error:  # the latter, of a port that there cannot be
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ToolError(
            f"no Ray cluster answers at {address} ({why})",
            "`ray status` shows whether it runs; without an address, one is started here",
        ) from None


def _not_started(address: str | None, event: Event) -> ToolError:
    why = event["why"] or event["kind"]
    if address is None:
        return ToolError(f"Ray did not start: {why}")
    if "ersion mismatch" in why:
        return ToolError(
            f"the Ray cluster at {address} has another version of Ray or Python: {why}",
            "install the cluster's versions here",
        )
    return ToolError(f"Ray did not connect to {address}: {why}", _RUN_ON_A_NODE)
