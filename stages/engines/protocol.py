"""What an engine is: it trains shards, wherever it likes, and changes no byte of any model."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from unlearn.stages.context import Context
from unlearn.stages.train.stage import Trained

#: How often a shard is given to a worker before its loss is an error. A worker is lost if its
#: process is killed, its machine is gone, or its job ends without a result.
MOST_TRIES = 3

#: Takes a line for the person who waits, such as that a worker was lost.
Note = Callable[[str], None]


class Engine(Protocol):
    """Trains shards for the length of a `with` block; what it started ends with the block."""

    def __enter__(self) -> Self:
        """Begin; nothing large is started before `train` needs it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what was started; after an error, without waiting for trainings to end."""
        ...

    def train(self, context: Context, shards: Sequence[str]) -> Iterator[Trained]:
        """Train shards, and yield what each came to as it ends.

        A shard whose model is already as it has to be is not trained again. It may be called
        several times: the files that shards are trained from change in a run.

        Parameters
        ----------
        context
            The project, as it is now.
        shards
            Their names.

        Raises
        ------
        UnlearnError
            What a training raised: shards that have not begun are dropped, and it is not tried
            again.
        ToolError
            If a worker was lost for a shard `MOST_TRIES` times, if a node has another environment
            than the driver, or if a result is not what the driver expects.
        """
        ...
