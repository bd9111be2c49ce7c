"""Rows for a final model, read as its training read them, or refused.

The functions of `rows/schema.py` read values here as they do for training. What is added is for
categories, which are text: a file can have the category `01003` as the number 1003, and a model
would take it for a category that it does not know.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import CsvParams, DatasetParams
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.final_model.same_values import SameValues
from unlearn.stages.reading.csv_text import is_other_utf8
from unlearn.stages.reading.needed_columns import require_names
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.records import place_of_row
from unlearn.stages.rows.schema import feature_columns

if TYPE_CHECKING:
    import pandas as pd

#: Encodings in which any bytes are text, or nearly any.
_ANY_BYTES = ("cp1252", "latin-1")

#: How many columns a note names.
_SHOWN = 20


@dataclass
class NewRows:
    """Reads rows that a final model is to answer, and counts what it has to ignore.

    Parameters
    ----------
    dataset
        What of params.yaml reading rows takes.
    known
        The categories that the model knows, by feature. Features that are not here are not checked.
    as_written
        Whether a category that writes a known number, date or boolean in another way is a category
        that the model does not know, in place of an error.

    Attributes
    ----------
    pictures
        The files that rows can name; None for rows that are in no file.
    ignored
        Columns of the rows that the model does not read.
    unknown
        By feature, the number of rows with a category that the model does not know.
    has_ids
        Whether the rows have the column of ids.
    """

    dataset: DatasetParams
    known: Mapping[str, Collection[str]] = field(default_factory=dict)
    as_written: bool = False
    pictures: PictureFolder | None = field(default=None, init=False)
    ignored: list[str] = field(default_factory=list, init=False)
    unknown: Counter[str] = field(default_factory=Counter, init=False)
    has_ids: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._same = {
            feature: SameValues.of(categories, self.dataset.missing)
            for feature, categories in self.known.items()
        }

    def typed(self, batch: pa.Table, name: str, first_row: int) -> pa.Table:
        """Return the features of a batch, as `feature_columns` does.

        Parameters
        ----------
        batch
            Rows as read.
        name, first_row
            What they are from, and the number of their first row there, for errors.

        Raises
        ------
        InputError
            If columns are missing, a value is not of its kind, or a category is a known one in
            another notation. It names file, column and row, and never a value.
        """
        columns = feature_columns(batch, self.dataset, name, first_row, self.pictures)
        for feature in self._same:
            columns[feature] = self._checked(columns[feature], feature, batch, name, first_row)
        self.see_columns(batch.column_names)
        return pa.table(columns)

    def see_columns(self, columns: Iterable[str]) -> None:
        """Take the names of all columns of the rows into account."""
        dataset = self.dataset
        known = {dataset.id, dataset.subject, dataset.target, *dataset.features}
        self.ignored = [column for column in columns if column not in known]
        self.has_ids = dataset.id in columns

    def notes(self) -> list[str]:
        """Return a sentence for each thing that was ignored."""
        found = self.notes_on_columns()
        if not self.has_ids:
            found.append(f"there is no column {self.dataset.id!r}: the predictions have no ids")
        return found + self.notes_on_categories()

    def notes_on_columns(self) -> list[str]:
        """Return a sentence on the columns that the model does not read, if there are any."""
        found = []
        if self.ignored:
            shown = ", ".join(map(repr, self.ignored[:_SHOWN]))
            shown += ", ..." if len(self.ignored) > _SHOWN else ""
            count = "1 column" if len(self.ignored) == 1 else f"{len(self.ignored):,} columns"
            found.append(f"{count} that the model does not read: {shown}")
        return found

    def notes_on_categories(self) -> list[str]:
        """Return a sentence for each feature with categories that the model does not know."""
        found = []
        for feature, rows in self.unknown.items():
            count = "1 row has" if rows == 1 else f"{rows:,} rows have"
            found.append(
                f"column {feature!r}: {count} a category that the model does not know; it answers "
                "for all such categories alike"
            )
        return found

    def _checked(
        self, values: pa.ChunkedArray, feature: str, batch: pa.Table, name: str, first_row: int
    ) -> pa.ChunkedArray:
        """Return categories, each as the model knows it; count those that it does not know."""
        same = self._same[feature]
        encoded = values.combine_chunks().dictionary_encode()
        texts: list[str] = encoded.dictionary.to_pylist()
        kind = batch[feature].type
        found: list[str | None] = []
        unknown = set()
        for index, text in enumerate(texts):
            # A digest has no other notation.
            meant = text if self.dataset.keys_categories else same.meant(text, kind)
            if meant is None and not self.as_written:
                row = pc.index(encoded.indices, pa.scalar(index, encoded.indices.type)).as_py()
                raise _other_notation(place_of_row(batch, row, name, first_row).facts(feature))
            category = text if meant is None else meant
            found.append(None if category in same.missing else category)
            if category not in same.known and category not in same.missing:
                unknown.add(index)
        if unknown:
            counts = pc.value_counts(encoded.indices.drop_null()).to_pylist()
            self.unknown[feature] += sum(
                entry["counts"] for entry in counts if entry["values"] in unknown
            )
        if found == texts:
            return values
        return pa.chunked_array([pa.array(found, pa.string()).take(encoded.indices)])


def with_csv(dataset: DatasetParams, known: Mapping[str, Any]) -> DatasetParams:
    """Return a dataset whose CSV files are written as the training's, but for these fields."""
    if not known:
        return dataset
    csv = (dataset.csv or CsvParams()).model_dump() | dict(known)
    return dataset.model_copy(update={"csv": CsvParams.model_validate(csv)})


def check_encoding(files: Iterable[Path], dataset: DatasetParams, name: str) -> None:
    """Refuse CSV files in UTF-8 where the training read another encoding.

    In cp1252 and latin-1 any bytes are some text, so that only its letters would be wrong.

    Raises
    ------
    InputError
        That names the first of them.
    """
    encoding = (dataset.csv or CsvParams()).encoding
    if encoding not in _ANY_BYTES:
        return
    for file in files:
        if is_other_utf8(file):
            label = name if file.name == name else f"{name}: {file.name}"
            raise InputError(
                f"{label} is UTF-8 text, and the files of the training were {encoding}",
                f"--encoding utf-8 reads it so; --encoding {encoding} reads it as the training did",
                facts=Facts(file=file.name),
            )


def _other_notation(where: Facts) -> InputError:
    return InputError(
        f"{where}: the model knows this category in another notation, such as 01003 for 1003, or "
        "2024-01-31 for 2024-01-31 00:00",
        "write the column as the dataset of the training has it; programs such as pandas turn text "
        "into numbers when they read a file",
        "if it is another category, which the model does not know: --as-written "
        "(in Python as_written=True)",
        facts=where,
    )


def as_table(frame: "pd.DataFrame | pa.Table", needed: Iterable[str], name: str) -> pa.Table:
    """Return rows as a table; of a DataFrame, with the columns that are needed.

    Raises
    ------
    InputError
        If a column is missing, is there twice, or has values of several types.
    """
    if isinstance(frame, pa.Table):
        return frame
    needed = list(needed)
    # Here, where all columns are known: the table has no others. Features are named by texts.
    columns_there = [
        column if isinstance(column, str) else f"{column} (not text)" for column in frame.columns
    ]
    require_names(columns_there, needed, name)
    columns = {}
    for column in needed:
        values = frame[column]
        if values.ndim != 1:
            raise InputError(
                f"{name}: the column {column!r} is there twice",
                facts=Facts(file=name, column=column),
            )
        try:
            arrays = _arrays_in(values)
            columns[column] = pa.array(values, from_pandas=True) if arrays is None else arrays
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise InputError(
                f"{name}: column {column!r} has values of several types",
                "make them all text, as they are written in the dataset of the training",
                facts=Facts(file=name, column=column),
            ) from None
    return pa.table(columns)


def _arrays_in(values: "pd.Series[Any]") -> pa.Array | None:
    """Return a column of NumPy arrays of one shape, such as pictures; None if it has others."""
    first = values.iloc[0] if values.dtype == object and len(values) else None
    if not isinstance(first, np.ndarray) or first.ndim < 2:  # noqa: PLR2004 - Arrow reads lists
        return None
    arrays = list(values)
    kind = (first.shape, first.dtype)
    if any(not isinstance(each, np.ndarray) or (each.shape, each.dtype) != kind for each in arrays):
        return None
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(np.stack(arrays)))
