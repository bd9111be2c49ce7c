"""The rows of a dataset's files that the forget list names."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.project.side_by_side import results_in_order
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import place_of_row, read_batches
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.identity import DigestColumns, digest_columns
from unlearn.stages.rows.ids import IdKind
from unlearn.stages.rows.roles import role_columns
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, forget_mask
from unlearn.stages.rows.token_arrays import as_digests, digest_array, digests_of_texts
from unlearn.stages.rows.tokens import Tokenizer

#: Numbers of rows of a file, from 0, in order.
RowNumbers = npt.NDArray[np.int64]


@dataclass
class FileRows:
    """The rows of one file.

    Parameters
    ----------
    rows
        How many there are.
    """

    rows: int = 0
    _listed: list[RowNumbers] = field(default_factory=list)
    _others: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def listed(self) -> RowNumbers:
        """The rows that the forget list names."""
        return np.concatenate([np.zeros(0, np.int64), *self._listed])

    @property
    def others(self) -> str:
        """A digest of the tokens of all other rows, in their order."""
        return self._others.hexdigest()

    def see(self, tokens: DigestColumns, mask: npt.NDArray[np.bool_]) -> None:
        """Take the next rows into account; `mask` says which of them are listed."""
        found = np.flatnonzero(mask)
        if found.size:
            self._listed.append(found + self.rows)
        columns = [tokens.records, *([] if tokens.subjects is None else [tokens.subjects])]
        self._others.update(np.hstack(columns)[~mask].tobytes())
        self.rows += mask.size


@dataclass(frozen=True)
class RowSearch:
    """The search for listed rows.

    Parameters
    ----------
    tokenizer, forget_list
        What turns ids into tokens, and the tokens to look for.
    """

    tokenizer: Tokenizer
    forget_list: ForgetList

    def rows_by_file(
        self,
        path: Path,
        dataset: DatasetParams,
        name: str,
        advance: Callable[[int], None] = lambda _rows: None,
    ) -> dict[str, FileRows]:
        """Return the rows of every file that has any, by what errors call the file.

        Parameters
        ----------
        path, name
            A file or a directory, and what errors call it.
        dataset
            How its rows are read.
        advance
            Called with the number of rows of each batch.

        Raises
        ------
        InputError
            If a file cannot be read, or an id is missing or of another type.
        """
        columns = [column for _, column in role_columns(dataset)]

        def looked_at(batch: pa.Table) -> tuple[str, DigestColumns, npt.NDArray[np.bool_]]:
            tokens = digest_columns(batch, dataset, self.tokenizer, name, 1)
            return place_of_row(batch, 0, name, 1).file, tokens, self._mask(tokens)

        found: dict[str, FileRows] = {}
        batches = read_batches(path, name, columns, Reading.of(dataset))
        for file, tokens, mask in results_in_order(looked_at, batches):
            found.setdefault(file, FileRows()).see(tokens, mask)
            advance(mask.size)
        return found

    def listed_batches(
        self, path: Path, dataset: DatasetParams, name: str, columns: list[str]
    ) -> Iterator[tuple[pa.Table, npt.NDArray[np.bool_]]]:
        """Yield batches of rows with these columns, and which of the rows are listed.

        See `rows_by_file` for the other parameters and errors.
        """
        roles = [column for _, column in role_columns(dataset)]
        for batch in read_batches(path, name, [*roles, *columns], Reading.of(dataset)):
            yield batch, self._mask(digest_columns(batch, dataset, self.tokenizer, name, 1))

    def names_ids(self, kind: IdKind, texts: pa.ChunkedArray) -> pa.Array:
        """Return which ids are listed as a whole: a record, or a person with all rows.

        Parameters
        ----------
        kind
            What the ids name.
        texts
            Ids, shape (ids,). A missing one is not listed.
        """
        ids = texts.to_pylist()
        digests = as_digests(self.tokenizer.joined_digests(kind, [raw or "" for raw in ids]))
        return pc.is_in(digest_array(digests), value_set=self._alone)

    @cached_property
    def _alone(self) -> pa.FixedSizeBinaryArray:
        """Lines that name a record, or a person, by one token."""
        alone = [line for line in self.forget_list.known if "." not in line]
        return digest_array(digests_of_texts(alone))

    @cached_property
    def _pairs(self) -> ForgetList:
        """Lines that name a record of a person."""
        pairs = tuple(line for line in self.forget_list.known if "." in line)
        return ForgetList(digest="", tokens=pairs)

    def _mask(self, tokens: DigestColumns) -> npt.NDArray[np.bool_]:
        table = {RECORD: digest_array(tokens.records)}
        if tokens.subjects is not None:
            table[SUBJECT] = digest_array(tokens.subjects)
        mask = pc.is_in(table[RECORD], value_set=self._alone)
        if SUBJECT in table:
            mask = pc.or_(mask, pc.is_in(table[SUBJECT], value_set=self._alone))
        if self._pairs.tokens:
            mask = pc.or_(mask, forget_mask(pa.table(table), self._pairs))
        return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool)


def numbers_between(numbers: RowNumbers, first: int, count: int) -> RowNumbers:
    """Return the numbers of `count` rows from `first` on, counted from there."""
    begin, end = np.searchsorted(numbers, [first, first + count])
    return numbers[begin:end] - first
