"""Columns to numbers: fitted on a shard's first non-empty slice, then frozen.

The state is plain JSON, so that a model's folder holds no code and no pickles, and torch and
scikit-learn models share it. Categories are those that schema.yaml pins, or those that the first
slice has where it pins none; any other goes to an unknown bucket, and a missing one has a bucket of
its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.dataset import NUMBER_KINDS, FeatureKind
from unlearn.stages.config.train import PerturbedLogisticOptions, PreprocessingParams, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import FloatArray
from unlearn.stages.estimators.column_encoding import AS_THEY_ARE, ENCODINGS, Pinned
from unlearn.stages.rows.shard_file import Layout


@dataclass(frozen=True)
class Preprocessor:
    """A fitted transformation of features into columns of numbers.

    Parameters
    ----------
    columns
        By feature, in order, its kind and what was learned of it: of numbers and dates
        `{"kind", "mean", "scale", "fill"}`, of ordinal features `categories` as well; else
        `{"kind": "boolean", "fill"}`, `{"kind": "categorical", "categories"}` or
        `{"kind": "hashed_text", "columns"}`. Models that read values as they are have other kinds:
        see `AS_THEY_ARE`.
    """

    columns: Mapping[str, Mapping[str, Any]]

    @property
    def width(self) -> int:
        """Number of columns that `transform` returns."""
        return sum(self.widths)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many of the columns that `transform` returns are of each feature."""
        return tuple(_width(column) for column in self.columns.values())

    @property
    def scaling(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """What is subtracted from each column and what it is divided by, each of shape (width,)."""
        shifts, scales = np.zeros(self.width), np.ones(self.width)
        at = 0
        for column in self.columns.values():
            end = at + ENCODINGS[column["kind"]].numbers
            shifts[at:end] = column.get("mean", 0.0)
            scales[at:end] = column.get("scale", 1.0)
            at += _width(column)
        return shifts, scales

    @property
    def categories(self) -> tuple[int, ...]:
        """By column, how many categories its codes are of; 0 for a number; see `SliceData`."""
        found: list[int] = []
        for column in self.columns.values():
            codes = ENCODINGS[column["kind"]].codes
            found += (0,) * _width(column) if codes is None else codes(column)
        return tuple(found) if any(found) else ()

    def transform(self, rows: pa.Table, dtype: type[np.float32] | type[np.float64]) -> FloatArray:
        """Return the rows as numbers, shape (rows, width)."""
        out: FloatArray = np.zeros((rows.num_rows, self.width), dtype=dtype)
        at = 0
        for name, column in self.columns.items():
            width = _width(column)
            target = out[:, at : at + width]
            encoding = ENCODINGS[column["kind"]]
            encoding.write(rows[name], column, target)
            if np.isinf(target[:, : encoding.numbers]).any():
                raise _too_large(name)
            at += width
        return out

    def as_json(self) -> list[list[Any]]:
        """Return the state as JSON values, in the order of the features."""
        return [[name, dict(column)] for name, column in self.columns.items()]

    @classmethod
    def from_json(cls, value: list[list[Any]]) -> Self:
        """Return the transformation that `as_json` described."""
        return cls(dict(value))


def fit_preprocessor(rows: pa.Table, layout: Layout, params: PreprocessingParams) -> Preprocessor:
    """Fit a preprocessor on the rows of one slice.

    Parameters
    ----------
    rows
        At least one row.
    layout
        The features, and what is pinned of them.
    params
        How to scale and impute.
    """
    return _fit(rows, layout, params, {})


def native_preprocessor(rows: pa.Table, layout: Layout) -> Preprocessor:
    """Return the preprocessor of a model that reads categories and missing values as they are.

    A category is its place in the list of categories, and all that are not in the list are one
    more category. A missing value is not a number.

    Parameters
    ----------
    rows, layout
        As `fit_preprocessor` takes them.
    """
    return _fit(rows, layout, _UNSCALED, AS_THEY_ARE)


#: Numbers stay as they are.
_UNSCALED = PreprocessingParams(scale="none", impute="zero")


def _fit(
    rows: pa.Table,
    layout: Layout,
    params: PreprocessingParams,
    names: Mapping[FeatureKind, str],
) -> Preprocessor:
    """Fit the encoding of each feature: that of its kind, or the one that `names` has for it."""
    columns: dict[str, dict[str, Any]] = {}
    for name, kind in layout.features.items():
        chosen = names.get(kind, kind)
        pinned = Pinned(layout.categories.get(name), layout.hashed_columns.get(name, 0))
        fitted = ENCODINGS[chosen].fit(rows[name], params, pinned)
        scales = [fitted[each] for each in ("fill", "mean", "scale") if each in fitted]
        if not np.isfinite(scales).all():
            raise _too_large(name)
        columns[name] = {"kind": chosen, **fitted}
    return Preprocessor(columns)


def unlearned_preprocessor(layout: Layout) -> Preprocessor:
    """Return a preprocessor that learns nothing: numbers stay as they are, missing ones are 0.

    Parameters
    ----------
    layout
        The features. None may be categorical, unless its categories are pinned.
    """
    return fit_preprocessor(layout.schema.empty_table(), layout, _UNSCALED)


def fixed_preprocessor(layout: Layout, train: TrainParams) -> Preprocessor:
    """Return the preprocessor of a model that may learn nothing of its rows outside its weights.

    Numeric features are scaled by the ranges in the options; what is missing is 0, and false.

    Parameters
    ----------
    layout
        The features; none may be categorical, for the categories would be learned.
    train
        Of a perturbed logistic regression.
    """
    options = PerturbedLogisticOptions.model_validate(train.options)
    for name, kind in layout.features.items():
        if kind == "categorical":
            raise InputError(
                f"{train.model} takes no categorical feature, and {name!r} is one",
                "remove it from features in schema.yaml",
            )
    columns: dict[str, Mapping[str, Any]] = {}
    for name, column in unlearned_preprocessor(layout).columns.items():
        columns[name] = column
        if column["kind"] in NUMBER_KINDS:
            low, high = options.range_of(name)
            columns[name] = {**column, "mean": low, "scale": high - low}
    return Preprocessor(columns)


def _too_large(name: str) -> InputError:
    return InputError(
        f"column {name!r}: values too large to compute with",
        "rescale the column in the dataset, or remove it from features in schema.yaml",
    )


def _width(column: Mapping[str, Any]) -> int:
    return ENCODINGS[column["kind"]].width(column)
