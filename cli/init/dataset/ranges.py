"""The grids of numbers that `init` pins for models that may learn none from their rows."""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import NUMBER_KINDS
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.row_sets.grids import find_ends
from unlearn.stages.estimators.spec import RowSetTraining

#: Ends until the rows have been read.
PROVISIONAL = (0.0, 1.0)


def columns_with_ranges(model: str, features: Mapping[str, str]) -> list[str]:
    """Return the features whose ends a model needs to have pinned."""
    if not isinstance(find_spec(model).training, RowSetTraining):
        return []
    return [name for name, kind in features.items() if kind in NUMBER_KINDS]


def find_ranges(tables: Iterable[pa.Table], names: Sequence[str]) -> dict[str, list[float]]:
    """Return the ends of the grid of each number, from the 20th smallest and largest value.

    Parameters
    ----------
    tables
        All rows, with these columns as shard files have them.
    names
        Which columns.
    """
    parts = list(tables)
    found = {}
    for name in names:
        chunks = [chunk for part in parts for chunk in part[name].chunks]
        values = pc.drop_null(pa.chunked_array(chunks, pa.float64()))
        found[name] = list(find_ends(values.to_numpy()))
    return found
