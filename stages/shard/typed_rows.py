"""Rows of a dataset as shard files hold them, without those of suppressed people."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import ShardingParams
from unlearn.stages.project.side_by_side import results_in_order
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.records import in_pieces, place_of_row
from unlearn.stages.rows.array_features import rows_at_a_time
from unlearn.stages.rows.chats import BrokenChatsError
from unlearn.stages.rows.identity import DigestColumns, digest_columns
from unlearn.stages.rows.schema import feature_columns, target_column, weight_column
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, TARGET, WEIGHT, Layout, listed_mask
from unlearn.stages.rows.token_arrays import digest_array, integer_array
from unlearn.stages.rows.tokens import Tokenizer

#: Returns which rows of a table no model could be trained on, by number, and why.
Problems = Callable[[pa.Table], Sequence[tuple[int, str]]]

#: Column of a row's number in the dataset, from 1; 0 for a canary.
ROW = "unlearn.row"


@dataclass(frozen=True)
class Rules:
    """What decides about a row.

    Parameters
    ----------
    dataset, sharding, tokenizer
        The pinned schema, the plan of shards, and what turns ids into tokens.
    suppressed
        Lines of the forget list whose rows are dropped, without marks.
    pictures, held_out_pictures
        The files that rows of the dataset can name, and those of a file of held-out rows.
    problems
        Returns which rows no model could be trained on, by number, and why; None where nothing but
        the schema says that.
    """

    dataset: DatasetParams
    sharding: ShardingParams
    tokenizer: Tokenizer
    suppressed: frozenset[str] = frozenset()
    pictures: PictureFolder | None = None
    held_out_pictures: PictureFolder | None = None
    problems: Problems | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Batch:
    """Typed rows that are not suppressed, their tokens, and how many rows were read."""

    rows: pa.Table
    tokens: DigestColumns
    read: int

    @property
    def suppressed(self) -> int:
        """How many of them were dropped."""
        return self.read - len(self.rows)

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The number of every row in the dataset, shape (rows,)."""
        return np.asarray(self.rows[ROW].to_numpy(), dtype=np.int64)


def all_typed(numbered: Iterable[tuple[pa.Table, int]], rules: Rules) -> Iterator[Batch]:
    """Yield the rows of each batch as shard files hold them, without suppressed ones.

    Raises
    ------
    BrokenChatsError
        If chats are broken: at the end, when all of them were counted.
    """

    def typed(item: tuple[pa.Table, int]) -> Batch | BrokenChatsError:
        try:
            return _kept(*item, rules)
        except BrokenChatsError as error:
            return error

    broken: BrokenChatsError | None = None
    for found in results_in_order(typed, _pieces(numbered, rules.dataset)):
        if isinstance(found, BrokenChatsError):
            broken = found if broken is None else broken.and_more(found.count)
        elif broken is None:
            yield found
    if broken is not None:
        raise broken


def _kept(batch: pa.Table, first_row: int, rules: Rules) -> Batch:
    """Return the rows of a batch that are not suppressed, of which none has a problem."""
    rows, tokens = typed_rows(batch, rules.dataset, rules.tokenizer, first_row, rules.pictures)
    read = rows.num_rows
    if rules.suppressed:
        kept = np.flatnonzero(~as_booleans(listed_mask(rows, rules.suppressed)))
        if len(kept) < read:
            rows, tokens = rows.take(integer_array(kept)), tokens.take(kept)
    if rules.problems is not None and (found := rules.problems(rows)):
        number, problem = found[0]
        place = place_of_row(
            batch, int(rows[ROW][number].as_py()) - first_row, rules.dataset.path, first_row
        )
        (column,) = Layout.of(rules.dataset).columns("messages")
        raise BrokenChatsError(problem, place.facts(column), len(found))
    return Batch(rows, tokens, read)


def _pieces(
    numbered: Iterable[tuple[pa.Table, int]], dataset: DatasetParams
) -> Iterator[tuple[pa.Table, int]]:
    """Yield batches whose arrays are to have some megabytes, each with its first row's number."""
    most = rows_at_a_time(dataset)
    for batch, number in numbered:
        first_row = number
        for piece in in_pieces(batch, most or max(1, batch.num_rows)):
            yield piece, first_row
            first_row += piece.num_rows


def typed_rows(
    batch: pa.Table,
    dataset: DatasetParams,
    tokenizer: Tokenizer,
    first_row: int,
    pictures: PictureFolder | None = None,
) -> tuple[pa.Table, DigestColumns]:
    """Return a batch as a shard file holds it, tokens as digests, and the number of every row.

    Parameters
    ----------
    batch
        Rows as read from the dataset.
    dataset, tokenizer
        The pinned schema, and what turns ids into tokens.
    first_row
        Number of the batch's first row in the dataset, from 1.
    pictures
        The files that rows can name.

    Raises
    ------
    InputError
        On a missing column, id, subject or class, a class that is not pinned, or a value that is
        not of its feature's kind.
    """
    name = dataset.path
    tokens = digest_columns(batch, dataset, tokenizer, name, first_row)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {RECORD: digest_array(tokens.records)}
    if tokens.subjects is not None:
        columns[SUBJECT] = digest_array(tokens.subjects)
    columns |= feature_columns(batch, dataset, name, first_row, pictures)
    if dataset.modality == "tabular":
        columns[TARGET] = target_column(batch, dataset, name, first_row)
    if dataset.weight is not None:
        columns[WEIGHT] = weight_column(batch, dataset.weight, dataset, name, first_row)
    rows = pa.table(columns).cast(Layout.of(dataset).schema)
    numbers = integer_array(np.arange(first_row, first_row + batch.num_rows))
    return rows.append_column(ROW, numbers), tokens


def as_booleans(mask: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a mask without missing values as a NumPy array."""
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)
