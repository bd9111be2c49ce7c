"""Rows with pictures and other arrays as networks read them: one array of bytes.

Nothing is learned of arrays. The other features become numbers as in any table, by what the first
slice says of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from unlearn.stages.config.dataset import TENSOR_KINDS
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.packing import COLUMNS, Packing, packing_of
from unlearn.stages.estimators.preprocessing import Preprocessor, fit_preprocessor
from unlearn.stages.estimators.spec import RowTransform, StoredTransform
from unlearn.stages.rows.arrays import RowBytes, column_bytes
from unlearn.stages.rows.shard_file import Layout


@dataclass(frozen=True)
class TensorTransform:
    """What turns features, arrays among them, into the bytes of rows.

    Parameters
    ----------
    columns
        By feature, in order: of arrays their `kind` and `shape`, of others what `Preprocessor`
        knows of them.
    """

    columns: Mapping[str, Mapping[str, Any]]

    @property
    def packing(self) -> Packing:
        """The parts of a row."""
        arrays = {
            name: (column["kind"], tuple(column["shape"]))
            for name, column in self.columns.items()
            if column["kind"] in TENSOR_KINDS
        }
        return packing_of(arrays, self.others.width)

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return self.packing.width

    @property
    def categories(self) -> tuple[int, ...]:
        """No codes of categories: empty."""
        return ()

    def transform(self, rows: pa.Table, dtype: Any = np.uint8) -> RowBytes:
        """Return the bytes of rows, shape (rows, width); networks always read bytes here."""
        del dtype
        parts = self.packing.parts
        if len(parts) == 1 and parts[0].name != COLUMNS:
            # Copied: torch takes arrays that it may write to.
            return column_bytes(rows[parts[0].name]).copy()
        packed = np.empty((rows.num_rows, self.width), np.uint8)
        for part in parts:
            own = packed[:, part.start : part.end]
            if part.kind == "columns":
                numbers = self.others.transform(rows, np.float32)
                own[:] = np.ascontiguousarray(numbers, dtype="<f4").view(np.uint8)
            else:
                own[:] = column_bytes(rows[part.name])
        return packed

    def as_json(self) -> StoredTransform:
        """Return the state as JSON values, in the order of the features."""
        return [[name, dict(column)] for name, column in self.columns.items()]

    @classmethod
    def from_json(cls, value: StoredTransform) -> Self:
        """Return the transformation that `as_json` described."""
        return cls({str(name): column for name, column in value})

    @property
    def others(self) -> Preprocessor:
        """What turns the features that are no arrays into numbers."""
        return Preprocessor(
            {
                name: column
                for name, column in self.columns.items()
                if column["kind"] not in TENSOR_KINDS
            }
        )


def fit_inputs(rows: pa.Table, layout: Layout, train: TrainParams) -> RowTransform:
    """Return what turns rows into what a network reads: numbers, or bytes if there are arrays.

    Parameters
    ----------
    rows, layout, train
        The rows of the first slice, the columns, and the settings.
    """
    if not layout.shapes:
        return fit_preprocessor(rows, layout, train.preprocessing)
    others = {name: kind for name, kind in layout.features.items() if name not in layout.shapes}
    without_arrays = replace(layout, features=others, shapes={})
    fitted = fit_preprocessor(rows, without_arrays, train.preprocessing)
    columns: dict[str, Mapping[str, Any]] = {}
    for name, kind in layout.features.items():
        columns[name] = fitted.columns.get(name, {})
        if name in layout.shapes:
            columns[name] = {"kind": kind, "shape": list(layout.shapes[name])}
    return TensorTransform(columns)


def stored_inputs(value: StoredTransform, _train: TrainParams) -> RowTransform:
    """Return what `fit_inputs` returned, by what it keeps."""
    if any(column["kind"] in TENSOR_KINDS for _, column in value):
        return TensorTransform.from_json(value)
    return Preprocessor.from_json(value)
