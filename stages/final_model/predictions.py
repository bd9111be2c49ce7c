"""Predictions for a whole file, batch by batch."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import UnansweredRowError
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.final_model.new_rows import NewRows
from unlearn.stages.project.files import write_through
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import in_pieces, place_of_row, read_batches
from unlearn.stages.rows.array_features import rows_at_a_time
from unlearn.stages.rows.texts import as_text

PREDICTION = "prediction"


def predict_file(
    ensemble: Ensemble,
    source: Path,
    output: Path,
    progress: Callable[[int], None] = lambda _rows: None,
    rows: NewRows | None = None,
) -> int:
    """Write a table of predictions; return how many rows it has.

    Parameters
    ----------
    ensemble
        The final model.
    source
        A dataset file or directory with the feature columns; a target is not needed.
    output
        Ends in .csv, .parquet or .jsonl. Columns: the id where the input has it, `prediction`,
        and `probability_<class>` for each class (shares of votes where models only vote). A
        regression has no classes, and `prediction` is a number.
    progress
        Called with the number of rows of each batch.
    rows
        Reads the rows, and counts what was ignored of them; one of `ensemble.new_rows`.

    Raises
    ------
    InputError
        If the input is not readable, lacks a feature, or has a value that training would have read
        as another one; no output is written.
    """
    rows = ensemble.new_rows() if rows is None else rows
    return write_tables(_tables(ensemble, source, progress, rows), source.name, output)


def write_tables(tables: Iterator[pa.Table], name: str, output: Path) -> int:
    """Write tables of the same columns into one file; return how many rows they have.

    Parameters
    ----------
    tables
        What to write; made one at a time.
    name
        What errors call their source.
    output
        Ends in .csv, .parquet or .jsonl; written whole or not at all.

    Raises
    ------
    InputError
        If there are no tables.
    """
    first = next(tables, None)
    if first is None:
        raise InputError(f"{name} has no rows")
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in itertools.chain([first], tables):
            rows += table.num_rows
            yield table

    write = _WRITERS[output.suffix.lower()]
    write_through(output, lambda path: write(path, first.schema, counted()))
    return rows


def _tables(
    ensemble: Ensemble, source: Path, progress: Callable[[int], None], rows: NewRows
) -> Iterator[pa.Table]:
    rows.pictures = PictureFolder.of_dataset(source.parent, rows.dataset, source.name)
    most = rows_at_a_time(rows.dataset)
    batches = read_batches(source, source.name, reading=Reading.of(rows.dataset))
    for batch in (
        piece for each in batches for piece in in_pieces(each, most or max(1, each.num_rows))
    ):
        if batch.num_rows == 0:
            continue
        found = _answered(ensemble, rows.typed(batch, source.name, 1), batch, source.name)
        columns = {}
        names = [PREDICTION, *(f"probability_{label}" for label in ensemble.classes)]
        if ensemble.dataset.id in names:
            raise InputError(
                f"the id column {ensemble.dataset.id!r} has the same name as a column of the "
                "predictions"
            )
        if ensemble.dataset.id in batch.column_names:
            columns[ensemble.dataset.id] = as_text(batch[ensemble.dataset.id], ensemble.dataset.id)
        columns[PREDICTION] = pa.array(ensemble.predictions(found))
        for index, name in enumerate(names[1:]):
            columns[name] = pa.array(found[:, index])
        yield pa.table(columns)
        progress(batch.num_rows)


def _answered(
    ensemble: Ensemble, typed: pa.Table, batch: pa.Table, name: str
) -> npt.NDArray[np.float64]:
    """Return the answers for a batch; an error names file and row, as those of reading do."""
    try:
        return ensemble.answers(typed)
    except UnansweredRowError as error:
        if error.row is None:
            raise
        place = place_of_row(batch, error.row, name, 1).facts()
        raise InputError(f"{place}: {error.reason}", *error.hints, facts=place) from error


def _write_csv(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with pacsv.CSVWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _write_jsonl(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    del schema
    with path.open("w", encoding="utf-8") as handle:
        for table in tables:
            for row in table.to_pylist():
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")


_WRITERS = {".csv": _write_csv, ".parquet": _write_parquet, ".jsonl": _write_jsonl}

#: File endings that predictions are written with.
OUTPUT_FORMATS = tuple(_WRITERS)
