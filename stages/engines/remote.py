"""Training a shard on another machine that has the project's folder too.

The driver, which is `unlearn repro`, makes a job, a node runs it, and the driver accepts the
result. Job and result have names and digests of files. Rows and the key are never part of either:
the node reads them from the project's folder, or the key from its environment.
"""

import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearn.stages.config.settings_files import FILES
from unlearn.stages.context import Context, open_project
from unlearn.stages.engines.protocol import MOST_TRIES, Note
from unlearn.stages.errors import ToolError
from unlearn.stages.project.containment import check_contained
from unlearn.stages.project.files import digest_file, digest_json
from unlearn.stages.project.paths import Project
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.project.timings import Timing
from unlearn.stages.rows.shard_file import read_nonce
from unlearn.stages.train import stage
from unlearn.stages.train.stage import Trained
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.recipe import RECIPE, Recipe, is_outdated

#: How long a machine waits until it sees the files that another one wrote, in seconds. By default,
#: what NFS shows of a folder is up to 60 s old.
PATIENCE = 60.0

_LOOK_AGAIN = 0.2


class Losses:
    """Counts how often the worker of a shard was lost: what an engine may try again.

    What a training raises is not a loss. The same rows and settings would raise it again.

    Parameters
    ----------
    note
        Told of each loss after which the shard is tried again.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._counts: Counter[str] = Counter()

    def add(self, shard: str, node: str | None, why: str, *hints: str) -> None:
        """Count a loss.

        Parameters
        ----------
        shard, node
            The shard, and the node's name where it is known.
        why
            What is known of the loss, such as an exit code.
        *hints
            What can be done about it.

        Raises
        ------
        ToolError
            If it is the `MOST_TRIES`th of the shard.
        """
        self._counts[shard] += 1
        where = "on an unknown node" if node is None else f"on node {node}"
        if self._counts[shard] >= MOST_TRIES:
            raise ToolError(
                f"the training of {shard} was lost {MOST_TRIES} times, at last {where}: {why}",
                *hints,
            )
        self._note(f"the training of {shard} was lost {where}: {why}; trying again")


class OtherEnvironmentError(ToolError):
    """A node's environment differs from the driver's: its models would have other bytes."""


class OtherFilesError(ToolError):
    """A node does not see the files that the driver has."""


@dataclass(frozen=True)
class Job:
    """A shard to train.

    Parameters
    ----------
    root
        The project's folder, at the path that the driver and the nodes have in common.
    shard
        The shard's name.
    environment
        The driver's; see `unlearn.stages.training.environment`.
    reads
        SHA-256 of each file that the training reads, by its path in the project.
    """

    root: str
    shard: str
    environment: dict[str, str]
    reads: dict[str, str]

    @classmethod
    def of(cls, context: Context, shard: str, facts: dict[str, str] | None = None) -> "Job":
        """Return the job of a shard, given the files as they are now.

        Parameters
        ----------
        context, shard
            The project, and the shard's name.
        facts
            This machine's environment; found out if None, which takes some milliseconds.
        """
        root = context.project.root
        paths = [root / name for name in ("params.yaml", *FILES, RECIPE)]
        paths += [root / path for path in context.params.train.read_paths]
        paths.append(context.project.retain_file(shard))
        return cls(
            root=str(root),
            shard=shard,
            environment=environment(context.params.train) if facts is None else facts,
            reads={
                path.relative_to(root).as_posix(): digest_file(path)
                for path in paths
                if path.is_file()
            },
        )

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "Job":
        """Return the job that `as_json` described."""
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the job; the root is left out, since a node may have another one."""
        return digest_json([self.shard, self.environment, self.reads])


@dataclass(frozen=True)
class Result:
    """What a node made of a job.

    Parameters
    ----------
    trained
        What the training came to.
    files
        SHA-256 of each file of the model, by its path in the model's folder.
    node
        The node's name.
    job
        `Job.digest`.
    """

    trained: Trained
    files: dict[str, str]
    node: str
    job: str

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "Result":
        """Return the result that `as_json` described."""
        trained = value["trained"]
        timing = Timing(**trained["timing"])
        return cls(**{**value, "trained": Trained(**{**trained, "timing": timing})})

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)


def node_name() -> str:
    """Return the name of this machine."""
    return platform.node() or "unknown"


def run_job(job: Job, *, node: str | None = None, patience: float = PATIENCE) -> Result:
    """Train a shard; called on a node.

    Numerical libraries should not be loaded yet: each of them reads the number of its threads when
    it is loaded.

    Parameters
    ----------
    job
        The job.
    node
        What messages call this machine; None for `node_name`.
    patience
        Seconds to wait until this node sees the files that the driver has.

    Raises
    ------
    OtherFilesError, OtherEnvironmentError
        Before anything is trained: if this node sees other files, or has another environment.
    UnlearnError
        What the training raises.
    """
    use_one_thread()
    node = node or node_name()
    root = Path(job.root)
    check_contained(root)
    _check_files(job, node, patience)
    context = open_project(Project(root))
    _check_environment(job, node, environment(context.params.train))
    trained = stage.run(context, job.shard)
    files = _digests(context.project.shard_models / job.shard)
    return Result(trained, files, node, job.digest)


def up_to_date(context: Context, shard: str, facts: dict[str, str] | None = None) -> Trained | None:
    """Return what a shard came to that needs no training; None if it has to be trained.

    The driver asks before it makes a job: to start one takes seconds.

    Parameters
    ----------
    context, shard, facts
        As in `Job.of`.
    """
    facts = environment(context.params.train) if facts is None else facts
    if _why_wrong(context, shard, facts) is not None:
        return None
    return stage.run(context, shard)


def accept(context: Context, job: Job, result: Result, *, patience: float = PATIENCE) -> Trained:
    """Check what a node made, and return what the training came to; called by the driver.

    Parameters
    ----------
    context
        The project.
    job, result
        What the node was given, and what it returned.
    patience
        Seconds to wait until this machine sees the files that the node wrote.

    Raises
    ------
    ToolError
        If the files are not those that the node wrote, or not what the driver's files and settings
        give.
    """
    shard, folder = job.shard, context.project.shard_models / job.shard
    where = f"the model of {shard} from node {result.node}"
    if result.job != job.digest or result.trained.shard != shard:
        raise ToolError(f"{where} is the result of another job")
    if not _within(patience, lambda: _digests(folder) == result.files):
        raise ToolError(
            f"{where} has changed since it was trained; nothing was recorded",
            "`unlearn repro` trains it again; do all nodes see the same folder?",
        )
    if why := _why_wrong(context, shard, job.environment):
        raise ToolError(f"{where} is not the one that was ordered: {why}; nothing was recorded")
    return result.trained


def _why_wrong(context: Context, shard: str, facts: dict[str, str]) -> str | None:
    """Return why a model is not the one that files, settings and environment give."""
    project, folder = context.project, context.project.shard_models / shard
    retained = read_nonce(project.retain_file(shard), f"data/retain_set/{shard}.parquet")
    if is_outdated(Recipe.of_project(context), shard, folder, retained):
        return "it is of other rows or settings, or has no seal"
    lineage = read_lineage(folder)
    if lineage is None or lineage.environment != facts:
        return "it is of another environment"
    return None


def _check_files(job: Job, node: str, patience: float) -> None:
    root = Path(job.root)

    def others() -> list[str]:
        return [name for name, digest in job.reads.items() if _digest(root / name) != digest]

    if not _within(patience, lambda: not others()):
        raise OtherFilesError(
            f"node {node} does not have the {', '.join(others())} of the driver",
            "is the project's folder shared, and did nothing change while shards were trained?",
        )


def _check_environment(job: Job, node: str, facts: dict[str, str]) -> None:
    different = [
        f"{name} is {facts.get(name, 'unknown')} instead of {job.environment.get(name, 'unknown')}"
        for name in sorted(facts.keys() | job.environment.keys())
        if facts.get(name) != job.environment.get(name)
    ]
    if different:
        raise OtherEnvironmentError(
            f"node {node} has another environment than the driver: {', '.join(different)}",
            "models from there would have other bytes; nothing was trained on it",
        )


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a model, by its path in the model's folder."""
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except OSError:
        return ""  # not there, or going just now


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Return whether something holds, now or within some seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_AGAIN)
    return True
