"""The checks of the shard stage, before a project is set up."""

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
from unlearn.cli.output import progress
from unlearn.stages.config.params import Params
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.shard_file import RECORD, Layout
from unlearn.stages.rows.tokens import Key, Tokenizer
from unlearn.stages.shard.partition import collect, refuse_shared_ids, spill
from unlearn.stages.shard.typed_rows import Problems, Rules


def check_rows(
    sources: dict[str, Path],
    params: Params,
    key: Key,
    columns: Collection[str] = (),
    *,
    look: Callable[[pa.Table], None] | None = None,
    problems: Problems | None = None,
) -> list[pa.Table]:
    """Do what the shard stage will do, into a temporary folder: all its checks, and no change.

    Parameters
    ----------
    sources
        The files, by their names in `params`.
    params, key
        Of the new project.
    columns
        What to return besides the tokens of records; a whole table takes much memory.
    look
        Is called with all columns of the first shard.
    problems
        See `Rules`.

    Returns
    -------
    list of pyarrow.Table
        These columns of every shard, and of the holdout.
    """
    names = {name: source.name for name, source in sources.items()}
    dataset = params.dataset.model_copy(
        update={
            "path": names[params.dataset.path],
            "held_out": names.get(params.dataset.held_out or ""),
        }
    )
    batches = [
        read_batches(source, source.name, reading=Reading.of(dataset))
        for source in sources.values()
    ]
    pictured = sources.values() if "image" in dataset.features.values() else ()
    with (
        tempfile.TemporaryDirectory(prefix="unlearn-init-") as scratch,
        progress("checking rows", None, "rows") as advance,
    ):
        spill(
            batches[0],
            Rules(
                dataset,
                params.sharding,
                Tokenizer(key, IdRules.of(dataset)),
                frozenset(),
                *(PictureFolder.of(source, source.name) for source in pictured),
                problems=problems,
            ),
            Path(scratch),
            advance,
            held_out=batches[1] if len(batches) > 1 else (),
        )
        tables = [
            collect(Path(scratch), name, Layout.of(dataset), dataset.path, [RECORD, *columns])
            for name in [*params.sharding.shards, HOLDOUT]
        ]
        if dataset.held_out is not None:
            refuse_shared_ids(tables[0], tables[1], (dataset.path, dataset.held_out))
        if look is not None:
            first = params.sharding.shards[0]
            look(collect(Path(scratch), first, Layout.of(dataset), dataset.path))
        return tables
