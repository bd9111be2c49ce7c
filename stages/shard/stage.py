"""Entry of the `shard` stage."""

from collections.abc import Callable

import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.contact_history import refuse_lost_contacts
from unlearn.stages.ledger.log import read_log
from unlearn.stages.ledger.suppressed import check_suppressed, contact_lines, write_dropped
from unlearn.stages.project.files import move_through, remove_unplanned, scratch_folder
from unlearn.stages.project.paths import CANARIES, HOLDOUT, UNLABELLED
from unlearn.stages.project.side_by_side import results_in_order
from unlearn.stages.rows.shard_file import RECORD, fill_shard_file, write_shard
from unlearn.stages.shard.partition import collect_rows, refuse_shared_ids, spill_dataset
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
        where these are dropped; `suppressed` are those of lines in data/suppressed.txt, if it has
        any.

    Raises
    ------
    InputError
        If dataset or canaries are not what params.yaml says, lines of the forget list would get
        lost, or data/suppressed.txt is not what the log says, or lost contact data that git's
        history has; data/shards is left as it was.
    """
    refuse_lost_lines(context)
    suppressed = check_suppressed(context.project, read_log(context.project))
    suppressed |= contact_lines(context.project)
    refuse_lost_contacts(context)
    project, params = context.project, context.params
    dataset = params.dataset
    names = [*params.sharding.shards, HOLDOUT]
    planted = planted_canaries(context)
    with scratch_folder(project.scratch("shard")) as scratch:
        spilled = spill_dataset(context, scratch, progress, planted)
        if spilled.rows == 0:
            raise InputError(f"{dataset.path} has no rows")
        if dataset.drop_unlabelled and (scratch / UNLABELLED).exists():
            # Requests for their people are answered, although no model is trained on them.
            names.append(UNLABELLED)
        records: dict[str, pa.Table] = {}
        counts = dict.fromkeys(names, 0)
        files = {name: scratch / f"{name}.parquet" for name in names}

        def written(name: str) -> pa.Table:
            found = collect_rows(scratch, name, context.layout, dataset.path)
            arrays = found.arrays if found.arrays.widths else None
            fill_shard_file(files[name], name, context.key, found.rows, context.layout, arrays)
            (scratch / name).unlink(missing_ok=True)
            found.arrays.remove()
            return found.rows.select([RECORD])

        # The holdout is mostly the largest: begun first, no thread waits for it at the end.
        latest_first = names[::-1]
        for name, tokens in zip(latest_first, results_in_order(written, latest_first), strict=True):
            counts[name] = tokens.num_rows
            if dataset.held_out is not None:
                records[name] = tokens
        if dataset.held_out is not None:
            whole, held_out = (records[name] for name in names[:2])
            refuse_shared_ids(whole, held_out, (dataset.path, dataset.held_out))
        # Only when all are checked, the first is replaced.
        for name in names:
            move_through(files[name], project.shard_file(name))
    if planted is not None:
        names.append(CANARIES)
        write_shard(project.shard_file(CANARIES), context.key, planted.rows, context.layout)
    files_there = [f"{name}.parquet" for name in names]
    if suppressed:
        # Also of no row: that some came back is nothing for git, which counts the files.
        write_dropped(project, context.key, spilled.suppressed)
        files_there.append(project.dropped.name)
        counts["suppressed"] = spilled.suppressed
    remove_unplanned(project.shards, files_there)
    return counts
