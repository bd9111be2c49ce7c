"""The owners of a dataset's rows: ids as written, and their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.rows.records import read_batches
from unlearn.stages.rows.schema import as_text, require_column
from unlearn.stages.rows.tokens import Kind, Tokenizer, check_raw_id


@dataclass(frozen=True)
class TokenColumns:
    """Tokens of a batch's rows, in its order."""

    records: list[str]
    subjects: list[str] | None

    @property
    def governing(self) -> list[str]:
        """The tokens that decide the rows' places."""
        return self.records if self.subjects is None else self.subjects


def token_columns(
    batch: pa.Table, dataset: DatasetParams, tokenizer: Tokenizer, name: str, first_row: int
) -> TokenColumns:
    """Return the tokens of a batch as it was read.

    Parameters
    ----------
    batch
        Rows with the id column and, where params.yaml names one, the subject column.
    dataset, tokenizer
        The columns' names, and what turns ids into tokens.
    name, first_row
        The file and the number of its first row here, for errors.

    Raises
    ------
    InputError
        If a column is not there, or an id is missing or begins like a token.
    """
    records = _tokens(batch, dataset.id, "record", tokenizer, (name, first_row))
    if dataset.subject is None:
        return TokenColumns(records, None)
    return TokenColumns(
        records, _tokens(batch, dataset.subject, "subject", tokenizer, (name, first_row))
    )


def _tokens(
    batch: pa.Table, column: str, kind: Kind, tokenizer: Tokenizer, at: tuple[str, int]
) -> list[str]:
    name, first_row = at
    require_column(batch, column, name)
    tokens = []
    for number, raw in enumerate(as_text(batch[column], column).to_pylist(), start=first_row):
        check_raw_id(raw or "", f"{name}: column {column!r}, data row {number}")
        tokens.append(tokenizer.token(kind, raw))
    return tokens


def dataset_tokens(
    path: Path, dataset: DatasetParams, tokenizer: Tokenizer
) -> Iterator[TokenColumns]:
    """Yield the tokens of a whole dataset, batch by batch; see `token_columns` for errors."""
    row = 1
    for batch in read_batches(path, dataset.path):
        yield token_columns(batch, dataset, tokenizer, dataset.path, row)
        row += batch.num_rows
