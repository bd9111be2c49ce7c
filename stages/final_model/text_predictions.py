"""Answers of a final model for a whole file of text, batch by batch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.new_rows import NewRows
from unlearn.stages.final_model.predictions import write_tables
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.reading.needed_columns import require_columns
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import place_of_row, read_batches
from unlearn.stages.rows.beside_chats import refuse_beside
from unlearn.stages.rows.chat_tools import tools_column
from unlearn.stages.rows.chats import BrokenChatsError, chat_column, ends_with_answer
from unlearn.stages.rows.texts import as_text
from unlearn.stages.text.metrics import perplexity

PERPLEXITY, GENERATION = "perplexity", "generation"

#: Rows per batch: a file may have more than memory holds.
_ROWS = 256


def predict_texts(
    model: LanguageEnsemble,
    source: Path,
    output: Path,
    most: int,
    progress: Callable[[int], None] = lambda _rows: None,
    rows: NewRows | None = None,
) -> int:
    """Write a table of perplexities and generations; return how many rows it has.

    Parameters
    ----------
    model
        The final model.
    source
        A dataset file or directory with the columns of prompts, or of running text. Completions
        need not be there; the topics have to, where `aggregate.rule` is `route`.
    output
        Ends in .csv, .parquet or .jsonl. Columns: the id where the input has it; `perplexity` of
        the completion or the text, empty where the input has none; and, for prompts,
        `generation`: the most probable token each time. Chats that end with the assistant have the
        perplexity of its turns, and the generation in place of the last one.
    most
        Tokens that are generated at most.
    progress
        Called with the number of rows of each batch.
    rows
        Takes note of columns that are not read.

    Raises
    ------
    InputError
        If the input is not readable, lacks a column, or a row is longer than the context; no
        output is written.
    """
    rows = NewRows(model.dataset) if rows is None else rows
    return write_tables(_tables(model, source, most, progress, rows), source.name, output)


def _tables(
    model: LanguageEnsemble,
    source: Path,
    most: int,
    progress: Callable[[int], None],
    new_rows: NewRows,
) -> Iterator[pa.Table]:
    id_column = model.dataset.id
    if id_column in (PERPLEXITY, GENERATION):
        raise InputError(
            f"the id column {id_column!r} has the same name as a column of the predictions"
        )
    for whole in read_batches(source, source.name, reading=Reading.of(new_rows.dataset)):
        new_rows.see_columns(whole.column_names)
        for start in range(0, whole.num_rows, _ROWS):
            batch = whole.slice(start, _ROWS)
            rows = _rows(model, batch, source.name)
            columns = {}
            if id_column in batch.column_names:
                columns[id_column] = as_text(batch[id_column], id_column)
            columns[PERPLEXITY] = _perplexities(model, rows)
            if model.encoder.layout.has_prompts:
                columns[GENERATION] = pa.array(model.generate(rows, most), pa.string())
            yield pa.table(columns)
            progress(batch.num_rows)


def _rows(model: LanguageEnsemble, batch: pa.Table, name: str) -> pa.Table:
    """Return the columns of text that answering takes; a completion may be missing."""
    layout = model.encoder.layout
    needed = [layout.column("prompt"), layout.column("body")]
    if model.rule == "route":
        needed.append(layout.column("topic"))
    there = [column for column in needed if column is not None]
    require_columns(batch, there, name)
    columns = {column: pc.fill_null(as_text(batch[column], column), "") for column in there}
    if (chats := layout.column("messages")) is not None:
        require_columns(batch, [chats], name)
        place = place_of_row(batch, 0, name, 1)
        try:
            refuse_beside(batch, model.dataset, place.row)
            columns[chats] = chat_column(batch[chats], chats, place.row, "any")
            tools = layout.column("tools")
            if tools is not None and tools in batch.column_names:
                columns[tools] = tools_column(batch[tools], tools, place.row)
        except BrokenChatsError as error:
            raise error.in_file(place.file) from None
    more, completion = layout.column("input"), layout.column("completion")
    if more is not None and more in batch.column_names:
        columns[more] = as_text(batch[more], more)
    if completion is not None and completion in batch.column_names:
        columns[completion] = as_text(batch[completion], completion)
    return pa.table(columns)


def _perplexities(model: LanguageEnsemble, rows: pa.Table) -> pa.Array:
    """Return the perplexity of each row's text; null where it has none."""
    layout = model.encoder.layout
    column = layout.column("completion") or layout.column("body") or layout.column("messages")
    found: list[float | None] = [None] * rows.num_rows
    if column is not None and column in rows.column_names:
        there = _answered(rows[column], are_chats=layout.column("messages") is not None)
        asked = rows.take(pa.array(there))
        if asked.num_rows:
            scores = model.row_scores(asked)
            for row, part in zip(there, scores.slices, strict=True):
                found[int(row)] = perplexity(scores.logprobs[part])
    return pa.array(found, pa.float64())


def _answered(column: pa.ChunkedArray, *, are_chats: bool) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows that have an answer."""
    if are_chats:
        return np.flatnonzero([ends_with_answer(text) for text in column.to_pylist()])
    written = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    return np.flatnonzero(np.array(pc.greater(pc.utf8_length(written), 0)))
