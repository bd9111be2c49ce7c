"""Columns as they are, for estimators that prepare their rows themselves.

The dtypes follow from schema.yaml, and not from the rows: a shard, a slice and a file of new rows
have the same ones. Categories are those that schema.yaml pins, or those that the first slice has
where it pins none, as for `Preprocessor`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DATE_KINDS, RESERVED_COLUMN_PREFIX, FeatureKind
from unlearn.stages.estimators.column_encoding import learned_categories
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    import pandas as pd

#: The category of values that are none of the known ones. No column of a dataset begins so.
OTHER = f"{RESERVED_COLUMN_PREFIX}other"

#: Dtype by kind of feature; a missing value is NaN, NA or NaT, and of texts the empty text.
DTYPES: Mapping[FeatureKind, str] = {
    "numeric": "float64",
    "boolean": "float64",
    "categorical": "category",
    "datetime": "datetime64[us]",
    "calendar": "datetime64[us]",
    "ordinal": "category",
    "hashed_text": "str",
}

_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class RawColumns:
    """Turns rows into a pandas DataFrame of the features.

    Parameters
    ----------
    columns
        By feature, in order: `{"kind": ...}`; of categorical and ordinal ones also `categories`.
    """

    columns: Mapping[str, Mapping[str, Any]]

    @property
    def width(self) -> int:
        """Number of columns that `transform` returns."""
        return len(self.columns)

    @property
    def categories(self) -> tuple[int, ...]:
        """Nothing: a column of categories says itself what they are."""
        return ()

    def transform(self, rows: pa.Table, _dtype: Any = None) -> "pd.DataFrame":
        """Return the features of rows as a DataFrame with the dtypes of `DTYPES`."""
        import pandas as pd

        return pd.DataFrame(
            {name: _series(rows[name], column) for name, column in self.columns.items()}
        )

    def as_json(self) -> list[list[Any]]:
        """Return the state as JSON values, in the order of the features."""
        return [[name, dict(column)] for name, column in self.columns.items()]

    @classmethod
    def from_json(cls, value: list[list[Any]]) -> Self:
        """Return the columns that `as_json` described."""
        return cls(dict(value))


def raw_columns(rows: pa.Table, layout: Layout) -> RawColumns:
    """Return the columns of a layout.

    Parameters
    ----------
    rows
        Rows of the first slice: categories that the layout does not pin are theirs.
    layout
        The features.
    """
    columns: dict[str, dict[str, Any]] = {}
    for name, kind in layout.features.items():
        columns[name] = {"kind": kind}
        if kind == "categorical":
            pinned = layout.categories.get(name)
            known = learned_categories(rows[name]) if pinned is None else list(pinned)
            columns[name]["categories"] = known
        elif kind == "ordinal":
            columns[name]["categories"] = list(layout.categories[name])
    return RawColumns(columns)


def _series(values: pa.ChunkedArray, column: Mapping[str, Any]) -> Any:
    import pandas as pd

    kind = column["kind"]
    if kind == "categorical":
        known = pa.array(column["categories"], pa.string())
        codes = pc.fill_null(pc.index_in(values, known), len(known))
        codes = pc.if_else(pc.is_null(values), -1, codes).to_numpy()
        return pd.Categorical.from_codes(
            codes, categories=pd.Index([*column["categories"], OTHER], dtype=object)
        )
    if kind == "ordinal":
        known = pa.array(column["categories"], pa.string())
        codes = pc.fill_null(pc.index_in(values, known), -1).to_numpy()
        return pd.Categorical.from_codes(
            codes, categories=pd.Index(column["categories"], dtype=object), ordered=True
        )
    if kind == "hashed_text":
        return pd.array(pc.fill_null(values, "").to_pylist(), dtype="str")
    numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    if kind not in DATE_KINDS:
        return numbers
    missing = ~np.isfinite(numbers)
    micro = np.where(missing, 0, np.round(numbers * _MICROSECONDS)).astype("datetime64[us]")
    micro[missing] = np.datetime64("NaT")
    return micro
