"""Columns beside chats that change what a model is trained on elsewhere, and are not read here."""

import json

import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.text import BESIDE_CHATS
from unlearn.stages.errors import Facts
from unlearn.stages.rows.chats import BrokenChatsError

_PROBLEM = (
    "what is here beside a chat is not read, and a model is trained on it elsewhere: remove it, or "
    "write it into the chat's system message (definitions of functions: name the column by --tools)"
)


def refuse_beside(batch: pa.Table, dataset: DatasetParams, first_row: int) -> None:
    """Refuse rows of chats with a value in a column that would change what is trained on.

    Parameters
    ----------
    batch
        Rows as read.
    dataset
        Says which columns have a meaning in the project.
    first_row
        The number of the first row in its file.

    Raises
    ------
    BrokenChatsError
        If there are any.
    """
    known = {dataset.id, dataset.subject, *dataset.features}
    for name in BESIDE_CHATS:
        if name in known or name not in batch.column_names:
            continue
        rows = [at for at, value in enumerate(batch[name].to_pylist()) if not _is_empty(value)]
        if rows:
            raise BrokenChatsError(_PROBLEM, Facts(row=first_row + rows[0], column=name), len(rows))


def _is_empty(value: object) -> bool:
    """Return whether there is nothing: JSON text can say so, too."""
    if isinstance(value, str):
        if not value.strip():
            return True
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    return value is None or value in ({}, [], "")
