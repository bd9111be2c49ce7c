"""The engine of this machine: processes that train shards side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from unlearn.stages.context import Context, open_project
from unlearn.stages.engines.pool import LostProcessError, Pool
from unlearn.stages.engines.protocol import MOST_TRIES, Note
from unlearn.stages.errors import ToolError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.project.paths import Project
from unlearn.stages.train import stage
from unlearn.stages.train.stage import Trained


class LocalEngine:
    """Trains in this process, or in several.

    Parameters
    ----------
    pool
        Its processes are started when they are needed, and end with the pool.
    jobs
        How many shards may be trained at a time.
    note
        Told of a process that died.
    """

    def __init__(self, pool: Pool, jobs: int, note: Note) -> None:
        self._pool = pool
        self._jobs = jobs
        self._note = note

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        """Leave the pool open: its owner closes it."""

    def train(self, context: Context, shards: Sequence[str]) -> Iterator[Trained]:
        """Train shards; see `Engine.train`."""
        jobs = min(self._jobs, len(shards))
        # Code of the user's own may change its process for good.
        if jobs > 1 or context.params.train.code_paths:
            yield from self._side_by_side(context, shards, jobs)
            return
        for shard in shards:
            yield stage.run(context, shard)

    def _side_by_side(
        self, context: Context, shards: Sequence[str], jobs: int
    ) -> Iterator[Trained]:
        def lost(call: int) -> None:
            self._note(f"the process that trained {shards[call]} died; training it again")

        self._pool.start(jobs, find_spec(context.params.train.model).preload)
        calls = [(context.project.root, shard) for shard in shards]
        try:
            for _, trained in self._pool.run(_train, calls, tries=MOST_TRIES, lost=lost):
                yield trained
        except LostProcessError as error:
            raise ToolError(
                f"the process that trained {shards[error.call]} died, {MOST_TRIES} times",
                "there may not be enough memory: try fewer jobs",
            ) from None


def _train(root: Path, shard: str) -> Trained:
    return stage.run(open_project(Project(root)), shard)
