"""Rows to their places: one batch, then one shard in memory at a time."""

import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.suppressed_contacts import dropped_lines
from unlearn.stages.project.paths import HOLDOUT, UNLABELLED
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    TARGET,
    Layout,
)
from unlearn.stages.rows.token_arrays import (
    Digests,
    digest_array,
    digests_of,
    first_repeat,
    integer_array,
    sort_order,
)
from unlearn.stages.shard.chats import chat_problems
from unlearn.stages.shard.row_places import RowPlaces
from unlearn.stages.shard.spilled_rows import (
    SpilledArrays,
    SpillFiles,
    read_spilled,
    spilled_columns,
)
from unlearn.stages.shard.typed_rows import ROW, Batch, Rules, all_typed, as_booleans

#: Files that record tokens are spread over to find repeated ids.
_BUCKETS = 64

#: Files that say which file rows are from, of the dataset and of a file of held-out rows.
_PLACES, _HELD_OUT_PLACES = "places", "held-out-places"
_TOKEN_AND_ROW = np.dtype([("token", "u1", 32), ("row", "<i8")])


@dataclass(frozen=True)
class Spilled:
    """How many rows were read.

    Parameters
    ----------
    rows
        Rows of the dataset, canaries and a file of held-out rows not counted.
    suppressed
        Rows of suppressed people that were dropped, of the dataset and the file of held-out rows.
    """

    rows: int
    suppressed: int


@dataclass(frozen=True)
class Planted:
    """Canaries, as shard files hold them.

    Parameters
    ----------
    name
        The file that contains them.
    rows
        All of them, in order.
    trained_on
        Those whose coin puts them into their shards, in the same order.
    """

    name: str
    rows: pa.Table
    trained_on: pa.Table

    @property
    def tokens(self) -> Digests:
        """Record tokens, and subject tokens where there are any: no row may have one of them."""
        columns = [name for name in (RECORD, SUBJECT) if name in self.rows.column_names]
        return np.concatenate([digests_of(self.rows[name]) for name in columns])


def spill(
    batches: Iterable[pa.Table],
    rules: Rules,
    scratch: Path,
    progress: Callable[[int], None] = lambda _rows: None,
    planted: Planted | None = None,
    held_out: Iterable[pa.Table] = (),
) -> Spilled:
    """Write every row to a file of its shard below `scratch`.

    Parameters
    ----------
    batches
        The dataset as read.
    rules
        What decides about a row.
    scratch
        An empty folder.
    progress
        Called with the number of rows of each batch.
    planted
        Canaries, if there are any.
    held_out
        Rows that are held out independently of their token.

    Returns
    -------
    Spilled
        How many rows there were. Of rows without a class, where these are dropped, only the tokens
        and row numbers are written, to a file of their own.
    """
    dataset, names = rules.dataset, [*rules.sharding.shards, HOLDOUT]
    arrays = Layout.of(dataset).array_widths
    _allow_open_files(len(names) * (1 + len(arrays)) + _BUCKETS + 64)
    count, suppressed = 0, 0
    places = RowPlaces(dataset.path)
    reserved = None if planted is None else planted.tokens
    with ExitStack() as stack:
        buckets: list[BinaryIO] = [
            stack.enter_context((scratch / f"ids-{bucket}").open("wb"))
            for bucket in range(_BUCKETS)
        ]
        files = stack.enter_context(SpillFiles(scratch, rules.sharding, list(arrays)))
        for batch in all_typed(_numbered(batches, places), rules):
            if planted is not None and reserved is not None:
                _refuse_canaries(batch, reserved, dataset.path, planted.name)
            files.add(_labelled(batch.rows, dataset, files.put))
            if batch.tokens.subjects is not None or dataset.drop_unlabelled:
                # Two rows with one id may belong to two subjects, and so to two shards.
                _spread_tokens(batch, buckets)
            count += batch.read
            suppressed += batch.suppressed
            progress(batch.read)
        own_places, others = _hold_out(held_out, rules, files.put)
        if planted is not None:
            rows = planted.trained_on
            numbers = integer_array(np.zeros(rows.num_rows, dtype=np.int64))
            files.add(rows.append_column(ROW, numbers))
    for pictures in filter(None, (rules.pictures, rules.held_out_pictures)):
        pictures.refuse_unnamed()
    places.write(scratch / _PLACES)
    own_places.write(scratch / _HELD_OUT_PLACES)
    for bucket in range(_BUCKETS):
        _refuse_repeats(scratch / f"ids-{bucket}", places)
    return Spilled(count, suppressed + others)


def spill_dataset(
    context: Context,
    scratch: Path,
    progress: Callable[[int], None] = lambda _rows: None,
    planted: Planted | None = None,
) -> Spilled:
    """Write all rows that params.yaml names below `scratch`; see `spill`."""
    dataset, root = context.params.dataset, context.project.root
    reading = Reading.of(dataset)
    held_out: Iterable[pa.Table] = ()
    if dataset.held_out is not None:
        held_out = read_batches(root / dataset.held_out, dataset.held_out, reading=reading)
    return spill(
        read_batches(root / dataset.path, dataset.path, reading=reading),
        Rules(
            dataset,
            context.params.sharding,
            context.tokenizer,
            dropped_lines(context),
            *(
                None if path is None else PictureFolder.of_tracked(root, dataset, path)
                for path in (dataset.path, dataset.held_out)
            ),
            problems=chat_problems(context.params, root),
        ),
        scratch,
        progress,
        planted,
        held_out,
    )


def _hold_out(
    batches: Iterable[pa.Table], rules: Rules, put: Callable[[str, pa.Table], None]
) -> tuple[RowPlaces, int]:
    """Hand over the rows of a file of their own that no model was trained on.

    Returns
    -------
    RowPlaces
        Which file they are from.
    int
        How many rows of suppressed people were dropped.
    """
    dataset = rules.dataset
    named = dataset.model_copy(update={"path": dataset.held_out or dataset.path})
    places, suppressed = RowPlaces(named.path), 0
    own = replace(rules, dataset=named, pictures=rules.held_out_pictures)
    for batch in all_typed(_numbered(batches, places), own):
        put(HOLDOUT, _labelled(batch.rows, dataset, put))
        suppressed += batch.suppressed
    return places, suppressed


def _numbered(batches: Iterable[pa.Table], places: RowPlaces) -> Iterator[tuple[pa.Table, int]]:
    """Yield batches, each with the number of its first row; note which file that is from."""
    first_row = 1
    for batch in batches:
        places.see(batch, first_row)
        yield batch, first_row
        first_row += batch.num_rows


def _labelled(
    rows: pa.Table, dataset: DatasetParams, put: Callable[[str, pa.Table], None]
) -> pa.Table:
    """Return the rows with a class, and hand over the tokens and numbers of the others."""
    if not dataset.drop_unlabelled or rows[TARGET].null_count == 0:
        return rows
    unlabelled = pc.is_null(rows[TARGET])
    names = [name for name in (RECORD, SUBJECT, ROW) if name in rows.column_names]
    put(UNLABELLED, rows.filter(unlabelled).select(names))
    return rows.filter(pc.invert(unlabelled))


def refuse_shared_ids(one: pa.Table, other: pa.Table, names: tuple[str, str]) -> None:
    """Raise an InputError if a record is in both tables: it cannot be trained on and held out."""
    shared = pc.sum(pc.is_in(one[RECORD], other[RECORD].combine_chunks())).as_py()
    if shared:
        rows = "1 id is" if shared == 1 else f"{shared:,} ids are"
        raise InputError(f"{rows} in {names[0]} and in {names[1]}")


def _refuse_canaries(batch: Batch, reserved: Digests, name: str, canaries: str) -> None:
    """Refuse rows of people that canaries go by: to forget one would be to forget the other."""
    bad = _is_in(batch.tokens.records, reserved) | _is_in(batch.tokens.governing, reserved)
    if bad.any():
        raise InputError(
            f"{name}: data row {batch.numbers[int(np.argmax(bad))]} has the id or subject of a "
            f"record in {canaries}"
        )


def _is_in(digests: Digests, reserved: Digests) -> npt.NDArray[np.bool_]:
    return as_booleans(pc.is_in(digest_array(digests), digest_array(reserved)))


def _spread_tokens(batch: Batch, buckets: list[BinaryIO]) -> None:
    records = batch.tokens.records
    table = np.empty(len(records), _TOKEN_AND_ROW)
    table["token"] = records
    table["row"] = batch.numbers
    which = records[:, -1] % _BUCKETS
    table = table[np.argsort(which, kind="stable")]
    ends = np.cumsum(np.bincount(which, minlength=_BUCKETS))
    for bucket, rows in zip(buckets, np.split(table, ends[:-1]), strict=True):
        rows.tofile(bucket)


def _refuse_repeats(path: Path, places: RowPlaces) -> None:
    table = np.fromfile(path, _TOKEN_AND_ROW)
    if repeat := first_repeat(table["token"]):
        places.refuse_repeat(*(int(row) for row in table["row"][list(repeat)]))


@dataclass(frozen=True)
class Collected:
    """The rows of a shard, in order.

    Parameters
    ----------
    rows
        All columns, with nulls in place of those of `arrays`.
    arrays
        The columns of arrays, which are not in memory.
    """

    rows: pa.Table
    arrays: SpilledArrays

    @property
    def whole(self) -> pa.Table:
        """All columns in memory."""
        rows = self.rows
        for name in self.arrays.widths.keys() & set(rows.column_names):
            values = self.arrays.read(name, 0, rows.num_rows)
            rows = rows.set_column(rows.column_names.index(name), name, values)
        return rows


def collect(
    scratch: Path,
    name: str,
    layout: Layout,
    dataset_name: str,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Return the rows that `spill` wrote for a shard, in order, without their numbers.

    See `collect_rows`; arrays are in memory here.
    """
    return collect_rows(scratch, name, layout, dataset_name, columns).whole


def collect_rows(
    scratch: Path,
    name: str,
    layout: Layout,
    dataset_name: str,
    columns: Sequence[str] | None = None,
) -> Collected:
    """Return the rows that `spill` wrote for a shard, in order, without their numbers.

    One column at a time, so that no other is in memory twice.

    Parameters
    ----------
    scratch, name
        The folder, and the shard.
    layout, dataset_name
        The columns of shard files, and what errors call the dataset.
    columns
        Only these; by default all.

    Raises
    ------
    InputError
        If two rows have the same id.
    """
    path = scratch / name
    widths = layout.array_widths
    if not path.exists():
        nothing = layout.schema.empty_table()
        rows = nothing if columns is None else nothing.select(columns)
        return Collected(rows, SpilledArrays(scratch, name, {}, np.empty(0, np.int64)))
    places = RowPlaces.read(scratch / _PLACES, dataset_name)
    if name == HOLDOUT:
        # Rows of a file of their own, if there is one: the sharding holds out no others then.
        places = RowPlaces.read(scratch / _HELD_OUT_PLACES, dataset_name) or places
    refuse_same_ids(read_spilled(path, [RECORD, ROW]), places)
    known = spilled_columns(path)
    keys = [key for key in (SUBJECT, RECORD) if key in known]
    order = sort_order(*(digests_of(read_spilled(path, [key])[key]) for key in keys))
    arrays = SpilledArrays(scratch, name, widths, order)
    # The columns of shard files, as far as the rows have them: of some, there are only tokens.
    there = [each for each in layout.schema.names if each in known or each in arrays.widths]
    places_of_rows = integer_array(order)
    ordered = {
        column: pa.nulls(len(order))
        if column in arrays.widths
        else read_spilled(path, [column]).combine_chunks().take(places_of_rows)[column]
        for column in columns or there
    }
    return Collected(pa.table(ordered).combine_chunks(), arrays)


def refuse_same_ids(rows: pa.Table, places: RowPlaces) -> None:
    """Raise an InputError that names two numbered rows with one id, if there are any."""
    if repeat := first_repeat(digests_of(rows[RECORD])):
        places.refuse_repeat(*sorted(rows[ROW][index].as_py() for index in repeat))


def _allow_open_files(count: int) -> None:
    """Raise this process's own limit on open files where many shards need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        limit = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
