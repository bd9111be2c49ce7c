"""Processes that run calls, each on one thread and one call at a time.

Each is a pool of one process: if it dies, the others go on, and the call that it ran is known.
"""

import importlib
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self, TypeVar

from unlearn.stages.engines import worker_process
from unlearn.stages.project.interrupts import without_interrupts
from unlearn.stages.project.threads import use_one_thread

T = TypeVar("T")


class LostProcessError(Exception):
    """A process died while it ran a call.

    Parameters
    ----------
    call
        The call, by its place in the calls.
    """

    def __init__(self, call: int) -> None:
        super().__init__(call)
        self.call = call


class Pool:
    """Processes for one run; they end with it, even if it is killed."""

    def __init__(self) -> None:
        self._modules: tuple[str, ...] = ()
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exc_info: object) -> None:
        if kind is None:
            for member in self._members:
                member.close(wait=False)
            self._members.clear()
            return
        # Nobody waits for what they do any more, and what they read may be about to go.
        for process in multiprocessing.active_children() if self._members else ():
            process.terminate()
        self.finish()

    def finish(self) -> None:
        """Wait until all processes have ended; nothing new is started."""
        for member in self._members:
            member.close(wait=True)
        self._members.clear()

    def start(self, jobs: int, modules: Sequence[str]) -> None:
        """Have at least so many processes, and let them import what the calls need.

        Parameters
        ----------
        jobs
            How many; 0 starts none.
        modules
            Names of modules. To import them takes seconds, once for each process.
        """
        use_one_thread()  # inherited by the processes
        self._modules = tuple(modules)
        while len(self._members) < jobs:
            self._members.append(_Member(self._modules))

    def run(
        self,
        function: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        *,
        tries: int = 1,
        lost: Callable[[int], None] = lambda _call: None,
    ) -> Iterator[tuple[int, T]]:
        """Call a function with each of several arguments, and yield results as calls end.

        Calls that have not begun are dropped if one raises, or if the caller asks for no more.

        Parameters
        ----------
        function, calls
            A function at the top of a module, and its arguments for each call; they have to be
            picklable.
        tries
            How often a call is begun before the death of its process is an error.
        lost
            Told the number of a call whose process died, when it is about to be begun again.

        Yields
        ------
        tuple
            Number of the call, from 0, and what it returned.

        Raises
        ------
        LostProcessError
            If the process of a call died as often as that.
        Exception
            What a call raised.
        """
        if not self._members:
            raise AssertionError("call start() before run()")
        waiting, idle = deque(range(len(calls))), deque(self._members)
        running: dict[Future[T], tuple[int, _Member]] = {}
        deaths: Counter[int] = Counter()
        while waiting or running:
            while waiting and idle:
                call, member = waiting.popleft(), idle.popleft()
                running[member.submit(function, *calls[call])] = (call, member)
            ended = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                call, member = running.pop(future)
                idle.append(member)
                try:
                    ended.append((call, future.result()))
                except BrokenProcessPool:
                    deaths[call] += 1
                    if deaths[call] >= tries:
                        raise LostProcessError(call) from None
                    lost(call)
                    waiting.appendleft(call)
            yield from ended


class _Member:
    """One process, and the next one if it died."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._executor = self._started()

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Begin a call, in a new process if this one has died."""
        try:
            return self._executor.submit(function, *arguments)
        except BrokenProcessPool:
            self._executor = self._started()
            return self._executor.submit(function, *arguments)

    def close(self, *, wait: bool) -> None:
        """Let the process end when its call has ended."""
        self._executor.shutdown(wait=wait, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(
            1,
            # Not fork: a forked torch may hang, and CUDA refuses it.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker_process.start,
            initargs=(os.getpid(),),
        )
        # Ctrl-C may come before the process can say that it is not for it.
        with without_interrupts():
            executor.submit(_load, self._modules)
        return executor


def _load(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
