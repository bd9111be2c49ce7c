"""Features to codes, as a step before a model: what model.json holds of the grids."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.estimators.base import FloatArray
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.estimators.row_sets.grids import (
    CategoricalColumn,
    Column,
    Grid,
    HashedColumn,
    NumericColumn,
)

#: Kinds of columns whose codes are by pinned categories.
_OF_CATEGORIES = ("categorical", "boolean")


@dataclass(frozen=True)
class CodePreprocessor(Preprocessor):
    """Turns features into codes on pinned grids.

    Parameters
    ----------
    columns
        By feature, in order: `{"kind": "numeric", "low", "high"}`, the same with the kind
        `datetime`, `{"kind": "categorical", "categories"}`, the same with the kind `boolean`, or
        `{"kind": "hashed", "secret"}`.
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
    def width(self) -> int:
        """Number of columns: one for each feature."""
        return len(self.columns)

    def transform(self, rows: pa.Table, dtype: type[np.float32] | type[np.float64]) -> FloatArray:
        """Return codes, as numbers of floating point, shape (rows, features)."""
        found: FloatArray = np.empty((rows.num_rows, self.width), dtype)
        found[:] = self.grid.encode(rows)
        return found


def _as_json(column: Column, kind: FeatureKind) -> dict[str, Any]:
    if isinstance(column, NumericColumn):
        return {"kind": kind, "low": column.low, "high": column.high}
    if isinstance(column, CategoricalColumn):
        return {"kind": kind, "categories": list(column.categories)}
    return {"kind": "hashed", "secret": column.secret}


def _column(value: Mapping[str, Any]) -> Column:
    if value["kind"] in _OF_CATEGORIES:
        return CategoricalColumn(tuple(value["categories"]))
    if value["kind"] == "hashed":
        return HashedColumn(str(value["secret"]))
    return NumericColumn(float(value["low"]), float(value["high"]))
