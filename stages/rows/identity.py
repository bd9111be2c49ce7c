"""The owners of a dataset's rows: their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.roles import RoleReader, role_columns
from unlearn.stages.rows.token_arrays import Digests, Integers, as_digests, token_texts
from unlearn.stages.rows.tokens import Tokenizer


@dataclass(frozen=True)
class TokenColumns:
    """Tokens of a batch's rows, in its order."""

    records: list[str]
    subjects: list[str] | None

    @property
    def governing(self) -> list[str]:
        """The tokens that decide the rows' places."""
        return self.records if self.subjects is None else self.subjects


@dataclass(frozen=True)
class DigestColumns:
    """Digests of the tokens of a batch's rows, in its order; see `TokenColumns`."""

    records: Digests
    subjects: Digests | None

    @property
    def governing(self) -> Digests:
        """Those that decide the rows' places."""
        return self.records if self.subjects is None else self.subjects

    def take(self, rows: Integers) -> "DigestColumns":
        """Return the digests of some rows, by their positions."""
        subjects = None if self.subjects is None else self.subjects[rows]
        return DigestColumns(self.records[rows], subjects)


def digest_columns(
    batch: pa.Table, dataset: DatasetParams, tokenizer: Tokenizer, name: str, first_row: int
) -> DigestColumns:
    """Return the digests of the tokens of a batch as it was read.

    Parameters
    ----------
    batch
        Rows with the id column and, where params.yaml names one, the subject column.
    dataset, tokenizer
        The columns' names and types, and what turns ids into tokens.
    name, first_row
        The dataset and the number of the batch's first row there, for errors about rows that
        `read_batches` did not read.

    Raises
    ------
    InputError
        If a column is not there, or an id is missing, begins like a token or is not of the
        column's type.
    """
    found: dict[str, Digests] = {}
    for kind, column in role_columns(dataset):
        reader = RoleReader(kind, column, IdRules.of(dataset))
        ids = reader.checked(batch, name, first_row)
        found[kind] = as_digests(tokenizer.joined_digests(kind, ids))
    return DigestColumns(found["record"], found.get("subject"))


def token_columns(
    batch: pa.Table, dataset: DatasetParams, tokenizer: Tokenizer, name: str, first_row: int
) -> TokenColumns:
    """Return the tokens of a batch as it was read; see `digest_columns`."""
    found = digest_columns(batch, dataset, tokenizer, name, first_row)
    subjects = None if found.subjects is None else token_texts(found.subjects).to_pylist()
    return TokenColumns(token_texts(found.records).to_pylist(), subjects)


def dataset_tokens(
    path: Path, dataset: DatasetParams, tokenizer: Tokenizer
) -> Iterator[TokenColumns]:
    """Yield the tokens of a whole dataset, batch by batch; see `token_columns` for errors."""
    row = 1
    columns = [column for _, column in role_columns(dataset)]
    for batch in read_batches(path, dataset.path, columns, Reading.of(dataset)):
        yield token_columns(batch, dataset, tokenizer, dataset.path, row)
        row += batch.num_rows
