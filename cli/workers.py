"""Worker processes for what is not an engine's: retraining shards, and running the user's code."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from unlearn.cli.output import progress
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context
from unlearn.stages.engines.pool import LostProcessError, Pool
from unlearn.stages.errors import ToolError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.rows.forget_list import ForgetList
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
    lineages: dict[str, Lineage] = {}
    with progress("retraining shards", len(shards), "shards") as advance, Pool() as pool:
        if jobs > 1:
            pool.start(jobs, _modules(context.params.train))
            trained = _retrainings(pool, context, forget_list, shards)
        else:
            trained = retrain_shards(context, forget_list, shards)
        for lineage in trained:
            lineages[lineage.shard] = lineage
            advance(1)
        # An exit in the middle of their ending would be called a leak, on standard error.
        pool.finish()
    return [lineages[shard] for shard in shards]


def call_in_process(pool: Pool, train: TrainParams, function: Callable[..., T], *values: Any) -> T:
    """Call a function in one of the processes of a pool, and return what it returns.

    Parameters
    ----------
    pool
        The processes; one is started if there is none.
    train
        Decides what a new process imports.
    function, *values
        A function at the top of a module, and values that can be pickled.

    Raises
    ------
    UnlearnError
        What the function raised.
    ToolError
        If the process died.
    """
    pool.start(1, _modules(train))
    try:
        ((_, found),) = pool.run(function, [values])
    except LostProcessError:
        raise _died("use less data") from None
    return found


def _retrainings(
    pool: Pool, context: Context, forget_list: ForgetList, shards: Sequence[str]
) -> Iterator[Lineage]:
    calls = [(context, forget_list, shard) for shard in shards]
    try:
        for _, lineage in pool.run(retrain_shard, calls):
            yield lineage
    except LostProcessError:
        raise _died("retrain fewer shards at a time") from None


def _modules(train: TrainParams) -> tuple[str, ...]:
    return tuple(find_spec(train.model).preload)


def _died(advice: str) -> ToolError:
    return ToolError("a training process died", f"there may not be enough memory: {advice}")
