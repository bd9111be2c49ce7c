"""Columns of lists of one length, such as embeddings, as that many columns of numbers.

The column `vector` of lists of three numbers becomes `vector[0]`, `vector[1]` and `vector[2]`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

#: Longer lists are no embeddings, and stay lists.
LONGEST = 8_192


@dataclass(frozen=True)
class SpreadColumns:
    """The columns of a file once its lists of one length are columns.

    Parameters
    ----------
    names
        Names of the columns; one may be there twice in a damaged file.
    sources
        By name of a column: the column of the file, and the place in its lists; None for a column
        that stays as it is.
    """

    names: list[str]
    sources: dict[str, tuple[str, int | None]]

    @classmethod
    def of(cls, schema: pa.Schema, whole: Collection[str] = ()) -> "SpreadColumns":
        """Return the columns of a file; lists whose new names other columns have stay lists.

        Parameters
        ----------
        schema
            The columns as the file has them.
        whole
            Columns that stay as they are: a feature of tensors reads each as one.
        """
        taken, names = set(schema.names), list[str]()
        sources: dict[str, tuple[str, int | None]] = {}
        for column in schema:
            spread = column.name not in whole and _is_spread(column.type)
            own = _spread_names(column) if spread else []
            if own and not taken.intersection(own):
                names += own
                sources |= {name: (column.name, place) for place, name in enumerate(own)}
            else:
                names.append(column.name)
                sources[column.name] = (column.name, None)
        return cls(names, sources)

    def columns_of_file(self, names: Collection[str]) -> list[str]:
        """Return the columns of the file that these columns are from, each once."""
        return list(dict.fromkeys(self.sources[name][0] for name in names))

    def select(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """Return columns of rows of the file; where a row has no list, they have no value."""
        if all(self.sources[name][1] is None for name in names):
            return table.select(names)
        columns = []
        for name in names:
            column, place = self.sources[name]
            found = table[column]
            columns.append(found if place is None else pc.list_element(found, place))
        return pa.table(columns, names=list(names))


def _spread_names(column: pa.Field) -> list[str]:
    return [f"{column.name}[{place}]" for place in range(column.type.list_size)]


def list_of(name: str) -> str:
    """Return the column of lists that a column with this name would be from."""
    return name.rpartition("[")[0] if name.endswith("]") else name


def _is_spread(kind: pa.DataType) -> bool:
    if not pa.types.is_fixed_size_list(kind) or not 0 < kind.list_size <= LONGEST:
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
