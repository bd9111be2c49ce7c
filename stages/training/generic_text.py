"""Generic text, about nobody in the dataset, to detect collapse."""

import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.schema import feature_columns


def read_generic(context: Context) -> pa.Table | None:
    """Return the rows of the file that `unlearn.language.generic` names; None where none is named.

    Raises
    ------
    InputError
        If the file is missing, or lacks a column of text that the dataset has.
    """
    name = context.params.generic
    if name is None:
        return None
    tables, first = [], 1
    for batch in read_batches(
        context.project.root / name, name, reading=Reading.of(context.params.dataset)
    ):
        tables.append(pa.table(feature_columns(batch, context.params.dataset, name, first)))
        first += batch.num_rows
    if not tables or first == 1:
        raise InputError(f"{name} has no rows")
    return pa.concat_tables(tables).combine_chunks()
