"""What is left of rows in files that do not have the rows: dictionaries, summaries and sums.

Writers of categories put the dictionary of a whole table into each of its files, so that a file
can have the ids and texts of people whose rows are in other files.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.erasure.dataset.arrow_rewriting import arrow_batches
from unlearn.stages.erasure.dataset.kept_values import (
    comparable,
    dictionary_columns,
    joined_values,
    one_dictionary,
    taken,
    used_values,
)
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers, RowSearch, numbers_between
from unlearn.stages.erasure.dataset.parquet_rewriting import open_parquet
from unlearn.stages.reading.dataset_files import file_kind
from unlearn.stages.rows.roles import RoleReader, role_columns

#: Of Spark and Dask: the statistics of all Parquet files below its folder.
_SUMMARY = "_metadata"


class StaleValues:
    """Values of dictionaries that only listed rows have.

    Parameters
    ----------
    search
        What finds listed rows.
    dataset
        The columns of ids.
    """

    def __init__(self, search: RowSearch, dataset: DatasetParams) -> None:
        self._search, self._dataset = search, dataset
        self._going: dict[str, list[pa.Array]] = {}

    def see(self, path: Path, listed: RowNumbers) -> None:
        """Take the values of listed rows of a file into account."""
        first = 0
        for columns in _dictionaries(path):
            count = len(next(iter(columns.values())))
            rows = numbers_between(listed, first, count)
            first += count
            for name, column in columns.items() if rows.size else ():
                self._going.setdefault(name, []).append(used_values(taken(column, rows)))

    def are_in(self, path: Path) -> bool:
        """Return whether a dictionary of a file has such a value, and no row of the file has it.

        Of ids, all that the forget list names count, whether there is a row or not.
        """
        found: dict[str, pa.Array] = {}
        seen: dict[str, pa.Array] = {}
        for columns in _dictionaries(path):
            for name, column in columns.items():
                if name not in seen or not seen[name].equals(column.dictionary):
                    seen[name] = column.dictionary
                    stale = self._stale(name, column.dictionary)
                    if len(stale):
                        found[name] = _joined([*filter(None, [found.get(name)]), stale])
        if not found:
            return False
        for columns in _dictionaries(path):
            for name, values in found.items():
                is_used = pc.is_in(values, value_set=used_values(columns[name]))
                found[name] = values.filter(pc.invert(is_used))
        return any(len(values) for values in found.values())

    def _stale(self, name: str, dictionary: pa.Array) -> pa.Array:
        """Return the values of a dictionary that listed rows have, or that are listed ids."""
        values = comparable(dictionary)
        mask = pa.array([False]).take(pa.array([0] * len(values), pa.int64()))
        going = [part for part in self._going.get(name, []) if part.type == values.type]
        if going:
            mask = pc.or_(mask, pc.is_in(values, value_set=_joined(going)))
        for kind, column in role_columns(self._dataset):
            if column == name:
                reader = RoleReader(kind, column, self._search.tokenizer.rules)
                texts = reader.texts(pa.table({name: values}), name, 1)
                mask = pc.or_(mask, self._search.names_ids(kind, texts))
        return values.filter(mask).drop_null()


def _joined(parts: list[pa.Array]) -> pa.Array:
    found = joined_values(parts)
    return parts[0] if found is None else found


def _dictionaries(path: Path) -> Iterator[dict[str, pa.DictionaryArray]]:
    """Yield the columns of a file that have dictionaries, some rows at a time; none if none has."""
    if file_kind(path) == "arrow":
        for batch, _ in arrow_batches(path):
            names = dictionary_columns(batch.schema)
            if not names:
                return
            yield {name: batch.column(name) for name in names}
    elif file_kind(path) == "parquet":
        with open_parquet(path) as file:
            names = dictionary_columns(file.schema_arrow)
            for group in range(file.metadata.num_row_groups) if names else ():
                rows = file.read_row_group(group, columns=names)
                yield {name: one_dictionary(rows[name]) for name in names}


def stale_siblings(files: Iterable[Path], folder: Path) -> list[Path]:
    """Return files that describe what is in these: summaries of Parquet files, and checksums.

    Parameters
    ----------
    files
        Files of a dataset.
    folder
        The folder of the dataset, or the dataset itself if it is one file.
    """
    found = []
    for file in files:
        found.append(file.with_name(f".{file.name}.crc"))  # of Hadoop
        if file_kind(file) == "parquet":
            above = (parent for parent in file.parents if parent.is_relative_to(folder))
            found += [parent / _SUMMARY for parent in above]
    return [path for path in dict.fromkeys(found) if path.is_file()]
