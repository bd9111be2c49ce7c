"""The rows of canaries: those for the shards, and those left out."""

import numpy as np
import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.ledger.suppressed import read_suppressed
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.canaries import included
from unlearn.stages.rows.shard_file import in_order, listed_mask, record_tokens
from unlearn.stages.rows.token_arrays import shard_numbers
from unlearn.stages.shard.partition import Planted, refuse_same_ids
from unlearn.stages.shard.row_places import RowPlaces
from unlearn.stages.shard.typed_rows import ROW, as_booleans, typed_rows


def planted_canaries(context: Context) -> Planted | None:
    """Return the canaries that params.yaml names, but those suppressed or for the holdout.

    Only records that are trained on, or could have been, show the effect of training.

    Returns
    -------
    Planted or None
        None where params.yaml names no canaries.

    Raises
    ------
    InputError
        If their file is missing, or is not as a dataset has to be.
    """
    dataset, sharding = context.params.dataset, context.params.sharding
    if dataset.canaries is None:
        return None
    named = dataset.of_canaries(dataset.canaries)
    tables = []
    trainable: list[bool] = []
    first_row = 1
    path = context.project.root / dataset.canaries
    pictures = PictureFolder.of_tracked(context.project.root, dataset, dataset.canaries)
    for batch in read_batches(path, dataset.canaries, reading=Reading.of(named)):
        rows, tokens = typed_rows(batch, named, context.tokenizer, first_row, pictures)
        tables.append(rows)
        shards = len(sharding.shards)
        trainable += list(shard_numbers(tokens.governing, shards, sharding.holdout) < shards)
        first_row += batch.num_rows
    if not tables:
        nothing = context.layout.schema.empty_table()
        return Planted(dataset.canaries, nothing, nothing)
    rows = pa.concat_tables(tables)
    refuse_same_ids(rows, RowPlaces(dataset.canaries))
    suppressed = as_booleans(listed_mask(rows, read_suppressed(context.project)))
    kept = np.asarray(trainable, dtype=bool) & ~suppressed
    rows = in_order(rows.filter(pa.array(kept, pa.bool_())).drop_columns([ROW]))
    heads = included(context.key, record_tokens(rows))
    return Planted(dataset.canaries, rows, rows.filter(pa.array(heads, pa.bool_())))
