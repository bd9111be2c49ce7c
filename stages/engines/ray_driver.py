"""The process that talks to Ray; `RayEngine` starts it, as the leader of a session of its own.

Ray writes to the terminal, handles signals, and ends its process when a cluster goes away. In a
process of its own it can do so, and what it starts is found by the session.

Orders come in as lines of JSON, and events go out as such. When no more orders can come, because
the run has ended or was killed, everything that was started here is ended.
"""

import json
import os
import queue
import socket
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, TextIO

from unlearn.stages.engines.ray_sweep import start_sweep

#: Memory of the object store of a cluster that is started here, in bytes: about the least that Ray
#: allows. Only names and digests go through it.
_OBJECT_STORE = 80 * 2**20

#: Seconds between two looks at the nodes of the cluster.
_LOOK_AGAIN = 1.0

#: Seconds for Ray to let go of a cluster before this process ends all the same.
_LET_GO = 3.0

#: Seconds until this process ends itself, where the process that is to kill it does not.
_END = 10.0

Event = dict[str, Any]


def train_on_node(job: dict[str, Any]) -> Event:
    """Run a job on a node, and return what came of it; it raises nothing.

    Ray sends this function itself, so that a node without this package can say so.
    """
    import os
    import platform
    from pathlib import Path

    import ray

    node = {
        "id": ray.get_runtime_context().get_node_id(),
        "name": f"{platform.node() or 'unknown'} ({ray.util.get_node_ip_address()})",
    }
    # What a training prints, with any code of the user's own, would be in Ray's logs.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
    os.close(nowhere)
    if not Path(job["root"]).is_dir():
        return {"event": "no folder", "node": node}
    # Before any numerical library is loaded.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    try:
        from unlearn.stages.engines import ray_node
    except ImportError as error:
        return {"event": "no package", "node": node, "name": error.name}
    return {"node": node, **ray_node.run(job, node["name"])}


class Driver:
    """Carries out orders, one after another, and sends events.

    Parameters
    ----------
    events
        Where they are written.
    folder
        Of a cluster that is to be started; None to connect to one.
    """

    def __init__(self, events: TextIO, folder: Path | None) -> None:
        self._events = events
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._running: dict[str, tuple[Any, frozenset[str]]] = {}
        self._gpus = 0
        self._patience = 0.0
        self._folder = folder
        self._task: Any = None
        self._no_node_since: float | None = None

    def read(self, orders: TextIO) -> None:
        """Take orders until there are no more; a thread does this."""
        for line in orders:
            self._inbox.put(json.loads(line))
        self._inbox.put(None)
        # The other thread may be waiting for Ray, and nobody waits for it any more.
        if self._folder is None:
            time.sleep(_LET_GO)
        self.end()

    def run(self) -> None:
        """Carry out orders until there are no more."""
        while True:
            try:
                order = self._inbox.get(timeout=_LOOK_AGAIN)
            except queue.Empty:
                self._look_at_nodes()
                continue
            if order is None:
                break
            self._carry_out(order)
        if self._folder is None and self._task is not None:
            import ray

            ray.shutdown()

    def end(self) -> None:
        """End this process and all that it started."""
        start_sweep(os.getpid(), self._folder)
        time.sleep(_END)
        os._exit(1)

    def _carry_out(self, order: Event) -> None:
        match order.pop("order"):
            case "start":
                self._start(**order)
            case "train":
                self._train(order["job"], frozenset(order["without"]))
            case "drop":
                self._drop()
            case "done":
                self._done(**order)
            case unknown:
                raise AssertionError(unknown)

    def _start(self, address: str | None, cpus: int, gpus: int, patience: float) -> None:
        self._gpus = gpus
        self._patience = patience
        try:
            import ray

            if address is None:
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    object_store_memory=_OBJECT_STORE,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    _temp_dir=str(self._folder),
                    _node_ip_address=_LOOPBACK,
                )
            else:
                ray.init(
                    address=address,
                    log_to_driver=False,
                    configure_logging=False,
                    **_own_address(address),
                )
        except BaseException as error:  # noqa: BLE001  # Ray ends processes with SystemExit, too
            why = " ".join(str(error).split())
            self._send({"event": "not started", "kind": type(error).__name__, "why": why[:400]})
            return
        self._task = ray.remote(train_on_node)
        self._send({"event": "started"})

    def _train(self, job: Event, without: frozenset[str]) -> None:
        options: dict[str, Any] = {}
        if without:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(without))})"}
        task = self._task.options(
            name=f"train@{job['shard']}",
            num_cpus=1,
            num_gpus=self._gpus,
            max_retries=0,  # the engine tries again, and says so
            scheduling_strategy="SPREAD",
            **options,
        ).remote(job)
        self._running[job["shard"]] = (task, without)
        task.future().add_done_callback(partial(self._ended, job["shard"], task))

    def _ended(self, shard: str, task: Any, done: Future[Event]) -> None:
        """Hand on what came of a task; a thread of Ray's calls this."""
        self._inbox.put({"order": "done", "shard": shard, "task": task, "done": done})

    def _done(self, shard: str, task: Any, done: Future[Event]) -> None:
        current, _ = self._running.get(shard, (None, None))
        if current != task:
            return  # dropped before it ended
        del self._running[shard]
        self._send({"shard": shard, **_outcome(done)})

    def _drop(self) -> None:
        import ray

        for task, _ in self._running.values():
            ray.cancel(task, force=True)
        self._running.clear()

    def _look_at_nodes(self) -> None:
        """Tell of tasks that no node of the cluster may run."""
        if not self._running:
            return
        import ray

        able = {node["NodeID"] for node in ray.nodes() if node["Alive"] and self._can_train(node)}
        if able:
            self._no_node_since = None
        elif self._no_node_since is None:
            self._no_node_since = time.monotonic()
            self._send({"event": "no node yet"})
        waited = 0.0 if self._no_node_since is None else time.monotonic() - self._no_node_since
        for shard, (task, without) in list(self._running.items()):
            if able <= without and (able or waited > self._patience):
                del self._running[shard]
                ray.cancel(task, force=True)
                self._send({"event": "no node", "shard": shard})

    def _can_train(self, node: dict[str, Any]) -> bool:
        has = node["Resources"]
        return bool(has.get("CPU", 0) >= 1 and has.get("GPU", 0) >= self._gpus)

    def _send(self, event: Event) -> None:
        with suppress(OSError):  # the run has ended: `read` ends this process
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()


def _outcome(done: "Future[Event]") -> Event:
    """Return what came of a task, or why nothing did."""
    from ray import exceptions

    try:
        return done.result()
    except exceptions.RayTaskError as error:
        return {"event": "broken", "kind": type(error.cause).__name__}
    except exceptions.OutOfMemoryError:
        return {"event": "lost", "why": "its node had no more memory"}
    except exceptions.WorkerCrashedError:
        return {"event": "lost", "why": "its process died"}
    except (exceptions.NodeDiedError, exceptions.LocalRayletDiedError):
        return {"event": "lost", "why": "its node is gone"}
    except exceptions.RayError as error:
        return {"event": "lost", "why": f"Ray reports {type(error).__name__}"}


#: Not 127.0.0.1, for which Ray takes an address that other machines see. Elsewhere than on Linux,
#: a machine has no other one, and Ray keeps it.
_LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"


def _own_address(address: str) -> dict[str, str]:
    """Return by which address this machine is a node, where the cluster's is one of its own."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        family = socket.AF_INET6 if isinstance(ip_address(host), IPv6Address) else socket.AF_INET
        with socket.socket(family) as one:
            one.bind((host, 0))
    except (ValueError, OSError):
        return {}  # a name, or another machine: Ray finds out
    return {} if host == "127.0.0.1" else {"_node_ip_address": host}


def main() -> None:
    """Carry out the orders on standard input; an argument names the folder of a new cluster."""
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        nowhere = os.open(os.devnull, mode)
        os.dup2(nowhere, number)
        os.close(nowhere)
    driver = Driver(events, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    threading.Thread(target=driver.read, args=(orders,), daemon=True).start()
    try:
        driver.run()
    finally:
        driver.end()


if __name__ == "__main__":
    main()
