"""How long things took on this machine: for `plan`, and no stage's dependency or out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from unlearn.stages.project.files import write_json
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project

#: Names of timings begin with CHANGE where the model of a set of rows was changed, and with FILES
#: for what such a model takes besides: to read and digest rows, to read and write files.
CHANGE, FILES = "change@", "files@"

#: Timings that are not of a stage. Of the last run of the pipeline: what takes as long whatever is
#: retrained, the start of processes that train, and the trainings of the retraining check. Of the
#: run of `forget` that wrote most files, because a short one says little of what a file takes.
EVERYTHING_ELSE, PROCESSES, CHECK, MOST_FILES = "repro", "processes", "check", "forget_most_files"


@dataclass(frozen=True)
class Timing:
    """One stage's last run.

    Parameters
    ----------
    seconds
        Wall-clock time of the work itself, without starting Python.
    rows
        Rows read; in training, a row counts in each slice that reads it. Of a change, rows in rows
        of a training. Of `verify`, the forgotten rows that it attacked models with.
    first_slice
        Where training began; None for other stages.
    files
        Files that `forget` wrote; 0 for other stages.
    """

    seconds: float
    rows: int = 0
    first_slice: int | None = None
    files: int = 0


def forget_seconds(timings: Mapping[str, Timing], files: int) -> float:
    """Return what `forget` takes for so many files, in proportion to those of the largest run."""
    largest = timings.get(MOST_FILES)
    return largest.seconds * files / largest.files if largest and largest.files else 0.0


def side_by_side(seconds: Sequence[float], jobs: int) -> float:
    """Return how long pieces of work take in so many processes.

    Parameters
    ----------
    seconds
        What each takes.
    jobs
        Processes, at least one.
    """
    return max(max(seconds, default=0.0), sum(seconds) / jobs)


def read_timings(project: Project) -> dict[str, Timing]:
    """Return the last timing of every stage; empty where none can be read."""
    try:
        stages = json.loads(project.timings.read_text(encoding="utf-8"))["stages"]
        return {name: Timing(**value) for name, value in stages.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def rows_of_last_run(project: Project) -> int | None:
    """Return how many rows the dataset had when they were put into shards; None before that."""
    last = read_timings(project).get("shard")
    return last.rows if last is not None and last.rows else None


def record_timings(project: Project, new: dict[str, Timing]) -> None:
    """Add or replace timings by stage name."""
    with exclusive(project.lock_file("timings"), "another stage"):
        timings = read_timings(project) | new
        write_json(
            project.timings,
            {"schema_version": 1, "stages": {name: asdict(t) for name, t in timings.items()}},
        )


def read_method_seconds(project: Project, of: str = "seconds") -> dict[str, float]:
    """Return how long each post-hoc method took; empty where that cannot be read.

    Parameters
    ----------
    project
        The project.
    of
        `seconds`, or `guard_seconds` of the measurements of its guard.
    """
    try:
        methods = json.loads(project.method_timings.read_text(encoding="utf-8"))[of]
        return {str(name): float(value) for name, value in methods.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def record_method(project: Project, method: str, seconds: float | None, guard: float = 0.0) -> None:
    """Record how long a post-hoc method took, in reports/.

    Parameters
    ----------
    project, method
        The project, and the method.
    seconds
        How long it worked; None if it had nothing to do.
    guard
        How much of that the measurements of its guard took.
    """
    if seconds is None:
        return
    with exclusive(project.lock_file("timings"), "another stage"):
        found = {
            name: read_method_seconds(project, name) | {method: round(value, 4)}
            for name, value in (("seconds", seconds), ("guard_seconds", guard))
        }
        write_json(project.method_timings, {"schema_version": 1, **found})
