"""Entry of the `shard` stage."""

from collections.abc import Callable

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import remove_unplanned, scratch_folder, write_bytes
from unlearn.stages.project.paths import CANARIES, HOLDOUT, UNLABELLED
from unlearn.stages.rows.shard_file import RECORD, shard_bytes, write_shard
from unlearn.stages.shard.partition import collect, refuse_shared_ids, spill_dataset
from unlearn.stages.shard.planted import planted_canaries
from unlearn.stages.shard.rules import refuse_lost_lines


def run(context: Context, progress: Callable[[int], None] = lambda _rows: None) -> dict[str, int]:
    """Write `data/shards`: every row of the dataset in its shard, or in the holdout.

    Canaries are added to shards if their coin says so. All of them, also those left out, are in a
    separate file in data/shards, which no model is trained on.

    Parameters
    ----------
    context
        The project.
    progress
        Called with the number of rows of each batch.

    Returns
    -------
    dict
        Number of rows by shard name, `holdout` among them. `unlabelled` are those without a class,
        where these are dropped.

    Raises
    ------
    InputError
        If dataset or canaries are not what params.yaml says, or lines of the forget list would
        get lost; data/shards is left as it was.
    """
    refuse_lost_lines(context)
    project, params = context.project, context.params
    dataset = params.dataset
    names = [*params.sharding.shards, HOLDOUT]
    planted = planted_canaries(context)
    with scratch_folder(project.scratch("shard")) as scratch:
        rows = spill_dataset(context, scratch, progress, planted)
        if rows == 0:
            raise InputError(f"{dataset.path} has no rows")
        if dataset.drop_unlabelled and (scratch / UNLABELLED).exists():
            # Requests for their people are answered, although no model is trained on them.
            names.append(UNLABELLED)
        counts = {}
        records = {}
        for name in names:
            table = collect(scratch, name, context.layout, dataset.path)
            content = shard_bytes(name, context.key, table, context.layout)
            (scratch / f"{name}.parquet").write_bytes(content)
            (scratch / name).unlink(missing_ok=True)
            counts[name] = table.num_rows
            if dataset.held_out is not None:
                records[name] = table.select([RECORD])
        if dataset.held_out is not None:
            whole, held_out = (records[name] for name in names[:2])
            refuse_shared_ids(whole, held_out, (dataset.path, dataset.held_out))
        # Only when all are checked, the first is replaced.
        for name in names:
            write_bytes(project.shard_file(name), (scratch / f"{name}.parquet").read_bytes())
    if planted is not None:
        names.append(CANARIES)
        write_shard(project.shard_file(CANARIES), context.key, planted.rows, context.layout)
    remove_unplanned(project.shards, [f"{name}.parquet" for name in names])
    return counts
