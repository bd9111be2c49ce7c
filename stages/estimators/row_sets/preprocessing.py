"""Features to codes, as a step before a model: what model.json holds of the grids."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.estimators.base import FloatArray
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.estimators.row_sets.code_columns import (
    CalendarColumn,
    CategoricalColumn,
    Column,
    HashedColumn,
    NumericColumn,
    OrdinalColumn,
    WordsColumn,
)
from unlearn.stages.estimators.row_sets.grids import Grid


@dataclass(frozen=True)
class CodePreprocessor(Preprocessor):
    """Turns features into codes on pinned grids.

    Parameters
    ----------
    columns
        By feature, in order: `{"kind", "low", "high"}` of numbers and dates, `{"kind",
        "categories"}` of categorical, ordinal and boolean features, `{"kind": "hashed", "secret"}`
        or `{"kind": "hashed_text", "columns"}`.
    """

    @classmethod
    def of_grid(cls, grid: Grid, features: Mapping[str, FeatureKind]) -> "CodePreprocessor":
        """Return the step for the grids of features."""
        return cls({name: _as_json(grid.columns[name], kind) for name, kind in features.items()})

    @property
    def grid(self) -> Grid:
        """The grids."""
        return Grid({name: _column(value) for name, value in self.columns.items()})

    @property
    def widths(self) -> tuple[int, ...]:
        """How many of the columns of codes are of each feature; most have one."""
        return tuple(len(column.sizes) for column in self.grid.columns.values())

    def transform(self, rows: pa.Table, dtype: type[np.float32] | type[np.float64]) -> FloatArray:
        """Return codes, as numbers of floating point, shape (rows, width)."""
        found: FloatArray = np.empty((rows.num_rows, self.width), dtype)
        found[:] = self.grid.encode(rows)
        return found


def _as_json(column: Column, kind: FeatureKind) -> dict[str, Any]:
    if isinstance(column, NumericColumn | CalendarColumn):
        return {"kind": kind, "low": column.low, "high": column.high}
    if isinstance(column, WordsColumn):
        return {"kind": kind, "columns": column.columns}
    if isinstance(column, CategoricalColumn | OrdinalColumn):
        return {"kind": kind, "categories": list(column.categories)}
    return {"kind": "hashed", "secret": column.secret}


def _column(value: Mapping[str, Any]) -> Column:
    match value["kind"]:
        case "categorical" | "boolean":
            return CategoricalColumn(tuple(value["categories"]))
        case "ordinal":
            return OrdinalColumn(tuple(value["categories"]))
        case "hashed":
            return HashedColumn(str(value["secret"]))
        case "hashed_text":
            return WordsColumn(int(value["columns"]))
        case "calendar":
            return CalendarColumn(float(value["low"]), float(value["high"]))
    return NumericColumn(float(value["low"]), float(value["high"]))
