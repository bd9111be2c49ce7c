"""How a feature of each kind becomes columns of numbers: one entry of `ENCODINGS` for each kind.

What is learned of a feature is plain JSON, so that a model's folder holds no code and no pickles.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.config.train import PreprocessingParams
from unlearn.stages.estimators.base import FloatArray
from unlearn.stages.estimators.date_parts import MONTHS, WEEKDAYS, weekday_and_month
from unlearn.stages.estimators.hashed_text import hashed

#: What was learned of a feature, without its kind.
Fitted = Mapping[str, Any]


@dataclass(frozen=True)
class Pinned:
    """What schema.yaml pins of a feature.

    Parameters
    ----------
    categories
        Its values, in their order; None where models learn them.
    columns
        How many columns of numbers a hashed text becomes.
    """

    categories: Sequence[str] | None = None
    columns: int = 0


@dataclass(frozen=True)
class Encoding:
    """How features of a kind become columns of numbers.

    Parameters
    ----------
    fit
        Returns what is learned from the values of the first slice, which may be null, given the
        settings and what is pinned.
    write
        Writes values into an array of zeros, shape (rows, width). Numbers may become infinite.
    width
        Number of columns.
    numbers
        How many of the columns, the first ones, are numbers: less `mean` and divided by `scale`
        where these were learned.
    codes
        Of each column, how many categories its codes are of, and 0 where it has none.
    """

    fit: Callable[[pa.ChunkedArray, PreprocessingParams, Pinned], dict[str, Any]]
    write: Callable[[pa.ChunkedArray, Fitted, FloatArray], None]
    width: Callable[[Fitted], int]
    numbers: int = 0
    codes: Callable[[Fitted], tuple[int, ...]] | None = None


def _one(_fitted: Fitted) -> int:
    return 1


def _fit_number(
    values: pa.ChunkedArray, params: PreprocessingParams, _pinned: Pinned
) -> dict[str, Any]:
    return _scales(values.drop_null().to_numpy(), params)


def _write_number(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    numbers = pc.fill_null(values, fitted["fill"]).to_numpy()
    with np.errstate(over="ignore"):
        out[:, 0] = (numbers - fitted["mean"]) / fitted["scale"]


def _write_calendar(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    _write_number(values, fitted, out)
    seconds = pc.fill_null(values, np.nan).to_numpy()
    weekday, month = weekday_and_month(seconds)
    dated = np.flatnonzero(weekday >= 0)
    out[dated, 1 + weekday[dated]] = 1
    out[dated, 1 + WEEKDAYS + month[dated]] = 1


def _fit_ordinal(
    values: pa.ChunkedArray, params: PreprocessingParams, pinned: Pinned
) -> dict[str, Any]:
    categories = list(pinned.categories or ())
    return {"categories": categories, **_scales(_ranks(values.drop_null(), categories), params)}


def _write_ordinal(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    ranks = pa.chunked_array([pa.array(_ranks(values, fitted["categories"]), from_pandas=True)])
    _write_number(ranks, fitted, out)


def _ranks(values: pa.ChunkedArray, categories: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the place of each value in the list, from 0; NaN for a missing one."""
    index = pc.index_in(values, pa.array(categories, pa.string()))
    return np.asarray(pc.fill_null(pc.cast(index, pa.float64()), np.nan).to_numpy())


def _fit_boolean(
    values: pa.ChunkedArray, _params: PreprocessingParams, _pinned: Pinned
) -> dict[str, Any]:
    known = pc.cast(values.drop_null(), pa.float64()).to_numpy()
    return {"fill": float(known.size > 0 and 2 * known.sum() >= known.size)}


def _write_boolean(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    out[:, 0] = pc.fill_null(pc.cast(values, pa.float64()), fitted["fill"]).to_numpy()


def learned_categories(values: pa.ChunkedArray) -> list[str]:
    """Return the different values of a column that are not missing, in order."""
    return sorted(pc.unique(values.drop_null()).to_pylist())


def _fit_categories(
    values: pa.ChunkedArray, _params: PreprocessingParams, pinned: Pinned
) -> dict[str, Any]:
    if pinned.categories is not None:
        return {"categories": list(pinned.categories)}
    return {"categories": learned_categories(values)}


def _write_one_hot(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    categories = fitted["categories"]
    unknown, missing = len(categories), len(categories) + 1
    index = pc.index_in(values, pa.array(categories, pa.string()))
    index = pc.if_else(pc.is_null(values), missing, pc.fill_null(index, unknown))
    out[np.arange(len(values)), index.to_numpy()] = 1


def _fit_hashed_text(
    _values: pa.ChunkedArray, _params: PreprocessingParams, pinned: Pinned
) -> dict[str, Any]:
    return {"columns": pinned.columns}


def _write_hashed_text(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    out[:] = hashed(values, fitted["columns"])


def _scales(known: npt.NDArray[np.float64], params: PreprocessingParams) -> dict[str, float]:
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


def _fit_nothing(
    _values: pa.ChunkedArray, _params: PreprocessingParams, _pinned: Pinned
) -> dict[str, Any]:
    return {}


def _write_as_it_is(values: pa.ChunkedArray, _fitted: Fitted, out: FloatArray) -> None:
    with np.errstate(over="ignore"):
        out[:, 0] = _or_nan(values)


def _write_code(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    ranks = _ranks(values, fitted["categories"])
    unknown = np.isnan(ranks) & ~values.is_null().to_numpy()
    out[:, 0] = np.where(unknown, len(fitted["categories"]), ranks)


def _fit_rank(
    _values: pa.ChunkedArray, _params: PreprocessingParams, pinned: Pinned
) -> dict[str, Any]:
    return {"categories": list(pinned.categories or ())}


def _write_rank(values: pa.ChunkedArray, fitted: Fitted, out: FloatArray) -> None:
    out[:, 0] = _ranks(values, fitted["categories"])


def _write_date_codes(values: pa.ChunkedArray, _fitted: Fitted, out: FloatArray) -> None:
    out[:, 0] = seconds = _or_nan(values)
    for at, codes in enumerate(weekday_and_month(seconds), start=1):
        out[:, at] = np.where(codes < 0, np.nan, codes)


def _or_nan(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(pc.fill_null(pc.cast(values, pa.float64()), np.nan).to_numpy())


_NUMBER = Encoding(_fit_number, _write_number, _one, numbers=1)
_HASHED_TEXT = Encoding(_fit_hashed_text, _write_hashed_text, lambda fitted: int(fitted["columns"]))

#: How features become numbers, by kind. Text for a language model does not.
ENCODINGS: Mapping[str, Encoding] = {
    "numeric": _NUMBER,
    "datetime": _NUMBER,
    "calendar": Encoding(
        _fit_number, _write_calendar, lambda _fitted: 1 + WEEKDAYS + MONTHS, numbers=1
    ),
    "ordinal": Encoding(_fit_ordinal, _write_ordinal, _one, numbers=1),
    "boolean": Encoding(_fit_boolean, _write_boolean, _one),
    # Unknown categories have a column, and missing values have one.
    "categorical": Encoding(
        _fit_categories, _write_one_hot, lambda fitted: len(fitted["categories"]) + 2
    ),
    "hashed_text": _HASHED_TEXT,
    # For models that read categories and missing values, which are no numbers, as they are.
    "number": Encoding(_fit_nothing, _write_as_it_is, _one, numbers=1),
    # All unknown categories are one more.
    "code": Encoding(
        _fit_categories, _write_code, _one, codes=lambda fitted: (len(fitted["categories"]) + 1,)
    ),
    "rank": Encoding(_fit_rank, _write_rank, _one),
    "date_codes": Encoding(
        _fit_nothing,
        _write_date_codes,
        lambda _fitted: 3,
        numbers=1,
        codes=lambda _fitted: (0, WEEKDAYS, MONTHS),
    ),
}

#: The encoding of each kind of feature for models that read values as they are.
AS_THEY_ARE: Mapping[FeatureKind, str] = {
    "numeric": "number",
    "datetime": "number",
    "boolean": "number",
    "calendar": "date_codes",
    "ordinal": "rank",
    "categorical": "code",
    "hashed_text": "hashed_text",
}
