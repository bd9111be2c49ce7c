"""Columns to numbers: fitted on a shard's first non-empty slice, then frozen.

The state is plain JSON, so that a model's folder holds no code and no pickles, and torch and
scikit-learn models share it. Categories are those that schema.yaml pins, or those that the first
slice has where it pins none; any other goes to an unknown bucket, and a missing one has a bucket of
its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.config.train import PerturbedLogisticOptions, PreprocessingParams, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import FloatArray


@dataclass(frozen=True)
class Preprocessor:
    """A fitted transformation of features into columns of numbers.

    Parameters
    ----------
    columns
        By feature, in order: `{"kind": "numeric", "mean", "scale", "fill"}`, the same with the kind
        `datetime` for dates and times in seconds since 1970,
        `{"kind": "boolean", "fill"}` or `{"kind": "categorical", "categories"}`; or, for models
        that read them as they are, `{"kind": "number"}` or `{"kind": "code", "categories"}`.
    """

    columns: Mapping[str, Mapping[str, Any]]

    @property
    def width(self) -> int:
        """Number of columns that `transform` returns."""
        return sum(_width(column) for column in self.columns.values())

    @property
    def categories(self) -> tuple[int, ...]:
        """By column, how many categories its codes are of; 0 for a number; see `SliceData`."""
        if all(column["kind"] != "code" for column in self.columns.values()):
            return ()
        return tuple(
            len(column["categories"]) + 1 if column["kind"] == "code" else 0
            for column in self.columns.values()
        )

    def transform(self, rows: pa.Table, dtype: type[np.float32] | type[np.float64]) -> FloatArray:
        """Return the rows as numbers, shape (rows, width)."""
        out: FloatArray = np.empty((rows.num_rows, self.width), dtype=dtype)
        at = 0
        for name, column in self.columns.items():
            width = _width(column)
            target = out[:, at : at + width]
            if column["kind"] == "categorical":
                _one_hot(rows[name], column["categories"], target)
            elif column["kind"] == "code":
                target[:, 0] = _codes(rows[name], column["categories"])
            elif column["kind"] == "number":
                with np.errstate(over="ignore"):
                    target[:, 0] = _numbers(rows[name])
                if np.isinf(target).any():
                    raise _too_large(name)
            elif column["kind"] == "boolean":
                values = pc.cast(rows[name], pa.float64())
                target[:, 0] = pc.fill_null(values, column["fill"]).to_numpy()
            else:
                values = pc.fill_null(rows[name], column["fill"]).to_numpy()
                with np.errstate(over="ignore"):
                    target[:, 0] = (values - column["mean"]) / column["scale"]
                if not np.isfinite(target).all():
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


def fit_preprocessor(
    rows: pa.Table,
    features: Mapping[str, FeatureKind],
    params: PreprocessingParams,
    pinned: Mapping[str, Sequence[str]] | None = None,
) -> Preprocessor:
    """Fit a preprocessor on the rows of one slice.

    Parameters
    ----------
    rows
        At least one row.
    features
        Kind by feature.
    params
        How to scale and impute.
    pinned
        Categories by column, which are then not learned from the rows.
    """
    pinned = pinned or {}
    columns: dict[str, dict[str, Any]] = {}
    for name, kind in features.items():
        if kind == "categorical":
            categories = list(pinned[name]) if name in pinned else learned_categories(rows[name])
            columns[name] = {"kind": kind, "categories": categories}
        elif kind == "boolean":
            known = pc.cast(rows[name].drop_null(), pa.float64()).to_numpy()
            columns[name] = {
                "kind": kind,
                "fill": float(known.size > 0 and 2 * known.sum() >= known.size),
            }
        else:
            fitted = _fit_numeric(rows[name].drop_null().to_numpy(), params)
            if not np.isfinite(list(fitted.values())).all():
                raise _too_large(name)
            columns[name] = {"kind": kind, **fitted}
    return Preprocessor(columns)


def native_preprocessor(
    rows: pa.Table,
    features: Mapping[str, FeatureKind],
    pinned: Mapping[str, Sequence[str]] | None = None,
) -> Preprocessor:
    """Return the preprocessor of a model that reads categories and missing values as they are.

    A category is its place in the list of categories, and all that are not in the list are one
    more category. A missing value is not a number.

    Parameters
    ----------
    rows, features, pinned
        As `fit_preprocessor` takes them.
    """
    pinned = pinned or {}
    return Preprocessor(
        {
            name: {"kind": "number"}
            if kind != "categorical"
            else {
                "kind": "code",
                "categories": list(pinned[name])
                if name in pinned
                else learned_categories(rows[name]),
            }
            for name, kind in features.items()
        }
    )


def learned_categories(values: pa.ChunkedArray) -> list[str]:
    """Return the different values of a column that are not missing, in order."""
    return sorted(value for value in pc.unique(values).to_pylist() if value is not None)


def fixed_preprocessor(features: Mapping[str, FeatureKind], train: TrainParams) -> Preprocessor:
    """Return the preprocessor of a model that may learn nothing of its rows outside its weights.

    Numeric features are scaled by the ranges in the options; what is missing is 0, and false.

    Parameters
    ----------
    features
        Kind by feature; none may be categorical, for the categories would be learned.
    train
        Of a perturbed logistic regression.
    """
    options = PerturbedLogisticOptions.model_validate(train.options)
    columns: dict[str, dict[str, Any]] = {}
    for name, kind in features.items():
        if kind == "categorical":
            raise InputError(
                f"{train.model} takes no categorical feature, and {name!r} is one",
                "remove it from features in schema.yaml",
            )
        if kind == "boolean":
            columns[name] = {"kind": kind, "fill": 0.0}
        else:
            low, high = options.range_of(name)
            columns[name] = {"kind": kind, "fill": 0.0, "mean": low, "scale": high - low}
    return Preprocessor(columns)


def _too_large(name: str) -> InputError:
    return InputError(
        f"column {name!r}: values too large to compute with",
        "rescale the column in the dataset, or remove it from features in schema.yaml",
    )


def _fit_numeric(known: npt.NDArray[np.float64], params: PreprocessingParams) -> dict[str, float]:
    fill, mean, scale = 0.0, 0.0, 1.0
    if known.size == 0:
        return {"fill": fill, "mean": mean, "scale": scale}
    with np.errstate(over="ignore", invalid="ignore"):
        if params.impute == "median":
            fill = float(np.median(known))
        elif params.impute == "mean":
            fill = float(known.mean())
        if params.scale == "standard":
            mean = float(known.mean())
            # A column that does not vary here may vary in a later slice.
            deviation = float(known.std())
            scale = deviation if np.isfinite(deviation) and deviation > 0 else 1.0
    return {"fill": fill, "mean": mean, "scale": scale}


def _width(column: Mapping[str, Any]) -> int:
    return len(column["categories"]) + 2 if column["kind"] == "categorical" else 1


def _one_hot(values: pa.ChunkedArray, categories: list[str], out: FloatArray) -> None:
    unknown, missing = len(categories), len(categories) + 1
    index = pc.index_in(values, pa.array(categories, pa.string()))
    index = pc.if_else(pc.is_null(values), missing, pc.fill_null(index, unknown))
    out[:] = 0
    out[np.arange(len(values)), index.to_numpy()] = 1


def _codes(values: pa.ChunkedArray, categories: list[str]) -> npt.NDArray[np.float64]:
    """Return the place of each value in the list; its length for others, NaN for missing ones."""
    index = pc.fill_null(pc.index_in(values, pa.array(categories, pa.string())), len(categories))
    found: npt.NDArray[np.float64] = np.array(index.to_numpy(), dtype=np.float64)
    found[pc.is_null(values).to_numpy()] = np.nan
    return found


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return numbers, and 0 and 1 for booleans; NaN for missing ones."""
    found: npt.NDArray[np.float64] = pc.fill_null(
        pc.cast(values, pa.float64()), float("nan")
    ).to_numpy()
    return found
