"""Shards that can no longer be trained: how many there may be."""

from collections.abc import Collection

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.training.lineage import read_lineage


def refused_shards(context: Context) -> list[str]:
    """Return the shards whose estimator could not be fitted on their rows, by their lineages."""
    found = []
    for shard in context.params.sharding.shards:
        try:
            lineage = read_lineage(context.project.shard_models / shard)
        except InputError:
            continue  # an error of its own
        if lineage is not None and lineage.refused:
            found.append(shard)
    return found


def check_refusals(context: Context, refused: Collection[str]) -> None:
    """Refuse an ensemble of which more than half could not be trained.

    Parameters
    ----------
    context, refused
        The project, and what `refused_shards` found.

    Raises
    ------
    InputError
        If it is more than half of the shards.
    """
    shards = len(context.params.sharding.shards)
    if 2 * len(refused) > shards:
        raise InputError(
            f"{context.params.train.model} cannot be trained on the rows of {len(refused):,} of "
            f"{shards:,} shards, more than half; the final model was not changed",
            "use fewer shards, or a model and options that need fewer rows of each class",
        )
