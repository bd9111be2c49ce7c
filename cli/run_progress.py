"""The bar of a whole run of the pipeline, with the stages that run at the moment."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from unlearn.cli.output import has_bars
from unlearn.stages.project.paths import Project
from unlearn.stages.project.timings import CHANGE, Timing, read_timings, side_by_side


class RunProgress:
    """Nothing: what is shown where there is no terminal."""

    def group(self, names: Sequence[str], to_run: Callable[[], Collection[str]]) -> None:
        """Tell that stages of one kind come next.

        Parameters
        ----------
        names
            All stages of the pipeline from here on, in their order.
        to_run
            Returns those that will run as far as is known. It looks at files.
        """

    def begin(self, names: Sequence[str], jobs: int = 1) -> None:
        """Tell that stages begin, so many at a time."""

    def end(self, name: str) -> None:
        """Tell that a stage has ended."""


class ShownRun(RunProgress):
    """A bar on a terminal.

    Parameters
    ----------
    project
        The project; its timings say how long stages take.
    jobs
        How many shards are trained at a time.
    """

    def __init__(self, project: Project, jobs: int) -> None:
        self._timings = read_timings(project)
        self._jobs = jobs
        self._began = time.monotonic()
        self._all: list[str] = []
        self._passed = 0
        self._to_run: list[str] = []
        self._waiting: list[str] = []
        self._running: dict[str, float] = {}
        self._share = 0.0
        #: Of the shards that were trained: what they took, and what they were expected to.
        self._took, self._expected = 0.0, 0.0

    def group(self, names: Sequence[str], to_run: Callable[[], Collection[str]]) -> None:
        """Count the stages before these as done."""
        if len(names) > len(self._all):
            self._all = list(names)
        self._passed = len(self._all) - len(names)
        stale = to_run()
        self._to_run = [name for name in names if name in stale]
        self._running.clear()

    def begin(self, names: Sequence[str], jobs: int = 1) -> None:
        """Show the first of them; the next follows when one has ended."""
        self._waiting = list(names)
        for _ in range(min(jobs, len(names))):
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._running[self._waiting.pop(0)] = time.monotonic()

    def end(self, name: str) -> None:
        """Take a stage off, and show the next."""
        if name in self._waiting:
            self._waiting.remove(name)
        started = self._running.pop(name, None)
        expected = self._recorded(name) if name.startswith("train@") else None
        if started is not None and expected:
            self._took += time.monotonic() - started
            self._expected += expected
        self._to_run = [one for one in self._to_run if one != name]
        self._passed += 1
        self._next()

    def lines(self, width: int, most: int) -> list[str]:
        """Return the bar, and a line for each stage that runs, as far as there is room."""
        # Here, for people at a terminal.
        from unlearn.cli.progress import cut, duration, line_of  # noqa: PLC0415

        now = time.monotonic()
        used = now - self._began
        if not self._all:
            return [line_of("looking for what changed", None, ("", "", duration(used)), width)]
        left = self._left(now)
        share = self._passed / len(self._all) if left is None else used / (used + left or 1.0)
        self._share = share = max(self._share, share)
        when = duration(used) if left is None else f"{duration(left)} left"
        count = f"{self._passed:,} of {len(self._all):,} stages"
        lines = [line_of("repro", share, (count, "", when), width)]
        running = list(self._running.items())
        room = most - 1
        shown = running if len(running) <= room else running[: max(room - 1, 0)]
        for name, started in shown:
            expected = self._seconds(name)
            is_known = expected is not None and now - started <= expected
            about = f" of about {duration(expected or 0.0)}" if is_known else ""
            lines.append(cut(f"  {name}  {duration(now - started)}{about}", width))
        if len(shown) < len(running) and room > 0:
            lines.append(cut(f"  and {len(running) - len(shown)} more", width))
        return lines

    def _left(self, now: float) -> float | None:
        """Return the seconds that the run will still take; None while that is not known."""
        # What `forget` will change decides which shards train.
        if not self._to_run or "forget" in self._to_run or "shard" in self._to_run:
            return None
        found = {name: self._seconds(name) for name in self._to_run}
        if any(
            seconds is None or now - self._running.get(name, now) > seconds + 1
            for name, seconds in found.items()
        ):
            return None
        rest = {
            name: max(0.0, (seconds or 0.0) - (now - self._running.get(name, now)))
            for name, seconds in found.items()
        }
        trainings = [seconds for name, seconds in rest.items() if name.startswith("train@")]
        others = [seconds for name, seconds in rest.items() if not name.startswith("train@")]
        return side_by_side(trainings, self._jobs) + sum(others)

    def _seconds(self, name: str) -> float | None:
        """Return how long a stage will take by what it took the last time, at today's pace."""
        found = self._recorded(name)
        if found is None or not self._expected or not name.startswith("train@"):
            return found
        return found * self._took / self._expected

    def _recorded(self, name: str) -> float | None:
        """Return how long a stage took the last time; None if that was not recorded."""
        if name in {"recipe", "aggregate"}:
            return 0.0  # too short to be recorded
        found: Timing | None = self._timings.get(name)
        _, _, shard = name.partition("train@")
        if shard:
            found = self._timings.get(f"{CHANGE}{shard}", found)
            paces = [one.seconds for key, one in self._timings.items() if key.startswith("train@")]
            if found is None and paces:
                return median(paces)
        return None if found is None else found.seconds


@contextmanager
def run_progress(project: Project, jobs: int) -> Iterator[RunProgress]:
    """Show the bar of a run while the block runs, if standard error is a terminal."""
    if not has_bars():
        yield RunProgress()
        return
    # Here, for people at a terminal.
    from unlearn.cli.progress import bars  # noqa: PLC0415

    run = ShownRun(project, jobs)
    with bars(run):
        yield run
