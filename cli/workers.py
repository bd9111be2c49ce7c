"""Worker processes that train shards side by side, each on one thread."""

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self, TypeVar

from unlearn.cli import worker_process
from unlearn.cli.output import progress
from unlearn.cli.threads import use_one_thread
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context, open_project
from unlearn.stages.errors import ToolError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.train import stage
from unlearn.stages.train.stage import Trained
from unlearn.stages.training.lineage import Lineage
from unlearn.stages.verify.exactness.checks import retrain_shard, retrain_shards

T = TypeVar("T")


def retrain_side_by_side(
    context: Context, forget_list: ForgetList, shards: Sequence[str]
) -> list[Lineage]:
    """Retrain shards in as many processes as there are processors, and shards.

    One shard, or one processor, needs no process but this. Where a shard is trained changes
    nothing about it.

    Parameters
    ----------
    context, forget_list, shards
        See `unlearn.stages.verify.exactness.retrain_shard`. Each process reads the rows itself.

    Returns
    -------
    list of Lineage
        In the order of `shards`.

    Raises
    ------
    UnlearnError
        What a training raised.
    ToolError
        If a process died.
    """
    jobs = min(os.cpu_count() or 1, len(shards))
    lineages = []
    with progress("retraining shards", len(shards)) as advance, Workers() as workers:
        if jobs > 1:
            workers.start(jobs, context.params.train)
            trained = workers.retrain(context, forget_list, shards)
        else:
            trained = retrain_shards(context, forget_list, shards)
        for lineage in trained:
            lineages.append(lineage)
            advance(1)
        # An exit in the middle of their ending would be called a leak, on standard error.
        workers.finish()
    return lineages


class Workers:
    """Processes for one run; they end with it, even if it is killed."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._jobs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exc_info: object) -> None:
        if kind is None:
            self._close()
            return
        # Nobody waits for what they do any more, and what they read may be about to go.
        for process in multiprocessing.active_children() if self._pool is not None else ():
            process.terminate()
        self.finish()

    def finish(self) -> None:
        """Wait until all processes have ended; nothing new is started."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def start(self, jobs: int, train: TrainParams) -> None:
        """Have at least so many processes, and let them load what training takes.

        Parameters
        ----------
        jobs
            How many; 0 starts none.
        train
            Decides what is loaded.
        """
        if jobs <= self._jobs:
            return
        self._close()
        use_one_thread()  # inherited by the processes
        self._jobs = jobs
        self._pool = ProcessPoolExecutor(
            jobs,
            # Not fork: a forked torch may hang, and CUDA refuses it.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker_process.start,
            initargs=(os.getpid(),),
        )
        for _ in range(jobs):
            self._pool.submit(_load, find_spec(train.model).preload)

    def train(self, project: Project, shards: list[str]) -> Iterator[Trained]:
        """Train shards, and yield what each came to as it ends.

        Raises
        ------
        UnlearnError
            What a training raised; those that have not begun are dropped.
        ToolError
            If a process died.
        """
        running = self._submit(_train, [(project.root, shard) for shard in shards])
        yield from _results(as_completed(running), "try fewer jobs")

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in one of the processes, and return what it returns.

        Parameters
        ----------
        function, *arguments
            A function at the top of a module, and values that can be pickled.

        Raises
        ------
        UnlearnError
            What the function raised.
        ToolError
            If the process died.
        """
        (found,) = _results(self._submit(function, [arguments]), "use less data")
        return found

    def retrain(
        self, context: Context, forget_list: ForgetList, shards: Sequence[str]
    ) -> Iterator[Lineage]:
        """Retrain shards from their rows, and yield their lineages in the order of `shards`.

        Raises
        ------
        UnlearnError
            What a training raised; those that have not begun are dropped.
        ToolError
            If a process died.
        """
        running = self._submit(_retrain, [(context, forget_list, shard) for shard in shards])
        yield from _results(running, "retrain fewer shards at a time")

    def _submit(
        self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]
    ) -> list[Future[T]]:
        if self._pool is None:
            raise AssertionError("call start() before train()")
        return [self._pool.submit(function, *call) for call in calls]

    def _close(self) -> None:
        """Let the processes end, each when what it runs has ended; start nothing new."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _results(running: Iterable[Future[T]], advice: str) -> Iterator[T]:
    try:
        for done in running:
            yield done.result()
    except BrokenProcessPool:
        raise ToolError(
            "a training process died", f"there may not be enough memory: {advice}"
        ) from None


def _load(modules: Sequence[str]) -> None:
    """Import what a family of estimators trains with: it takes seconds, once for each process."""
    for name in modules:
        importlib.import_module(name)


def _train(root: Path, shard: str) -> Trained:
    return stage.run(open_project(Project(root)), shard)


def _retrain(context: Context, forget_list: ForgetList, shard: str) -> Lineage:
    return retrain_shard(context, forget_list, shard)
