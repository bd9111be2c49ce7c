"""Rows that nobody has, to compare two forms of a model on, and as an example of its input."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.dataset import TENSOR_KINDS
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.rows.arrays import array_column
from unlearn.stages.training.shard_model import RowPredictor

_ROWS = 256

#: The share of missing values among them, and a category that no model knows.
_MISSING, _HALF, _UNKNOWN = 0.1, 0.5, "made up by unlearn"


def made_up_rows(ensemble: Ensemble, predictors: Sequence[RowPredictor]) -> pa.Table:
    """Return rows as `NewRows.typed` does, which follow from what the members know of features.

    Numbers are near their means and the ends of their bins; some values are missing, and some
    categories unknown. None is a row of the dataset.
    """
    draw = np.random.default_rng(0)
    known: dict[str, list[Mapping[str, Any]]] = {}
    for predictor in predictors:
        columns = {} if predictor.preprocessor is None else predictor.preprocessor.columns
        for name, column in columns.items():
            known.setdefault(name, []).append(column)
    found = {}
    for name, kind in ensemble.dataset.features.items():
        if kind in TENSOR_KINDS:
            shape = (_ROWS, prod((ensemble.dataset.shapes or {})[name]))
            content = draw.integers(0, 256, shape, np.uint8)
            if kind != "image":
                content = draw.normal(size=shape).astype("<f4").view(np.uint8)
            found[name] = pa.chunked_array([array_column(content)])
            continue
        missing = draw.random(_ROWS) < _MISSING
        if kind in ("categorical", "ordinal"):
            texts = sorted({text for each in known.get(name, ()) for text in each["categories"]})
            if kind == "categorical":
                texts.append(_UNKNOWN)
            if not texts:
                missing[:] = True
            values = draw.choice(texts or [""], _ROWS)
            found[name] = pa.chunked_array([pa.array(values.tolist(), pa.string(), mask=missing)])
        elif kind == "boolean":
            found[name] = pa.chunked_array([pa.array(draw.random(_ROWS) < _HALF, mask=missing)])
        else:
            numbers = _numbers(draw, known.get(name, []))
            found[name] = pa.chunked_array([pa.array(numbers, pa.float64(), mask=missing)])
    return pa.table(found)


def _numbers(
    draw: np.random.Generator, columns: Sequence[Mapping[str, Any]]
) -> npt.NDArray[np.float64]:
    """Return numbers by what members know of a feature; half of them are ends of bins."""
    column = columns[int(draw.integers(len(columns)))] if columns else {}
    if "low" in column:
        low, high = float(column["low"]), float(column["high"])
        found = draw.uniform(low - (high - low) / 8, high + (high - low) / 8, _ROWS)
        ends = low + (high - low) * draw.integers(0, BINS + 1, _ROWS) / BINS
    else:
        found = draw.normal(column.get("mean", 0.0), 2 * column.get("scale", 1.0), _ROWS)
        ends = np.round(found)
    return np.where(draw.random(_ROWS) < _HALF, ends, found)
