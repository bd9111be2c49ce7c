"""Arrow columns without the values of some rows: none is left in a buffer or a dictionary.

Most functions of Arrow that leave rows out copy the values of the others. Those on views share the
old buffers instead, and a dictionary keeps values that no row has any more. Writers would write
them.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers, numbers_between
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.rows.token_arrays import integer_array

#: Values of dictionaries by column.
Values = dict[str, pa.Array]

_PLAIN: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_null,
    pa.types.is_primitive,
    pa.types.is_interval,
    pa.types.is_decimal,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)

_LISTS: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
)


def _is_copied(kind: pa.DataType) -> bool:
    """Return whether taking rows of a column copies their values, and no others."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_copied(kind.storage_type)
    if pa.types.is_map(kind):
        return _is_copied(kind.key_type) and _is_copied(kind.item_type)
    if pa.types.is_struct(kind):
        return all(_is_copied(kind.field(index).type) for index in range(kind.num_fields))
    if any(matches(kind) for matches in _LISTS):
        return _is_copied(kind.value_type)
    return any(matches(kind) for matches in _PLAIN)


def _plain_view(kind: pa.DataType) -> pa.DataType | None:
    """Return the type without views of a type of views; None if it is no such type."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else None


def check_columns(schema: pa.Schema, name: str) -> None:
    """Raise an InputError if rows cannot be taken out of a column with all of their values.

    Parameters
    ----------
    schema, name
        The columns of a file, and what errors call it.
    """
    for column in schema:
        kind = column.type
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        if not _is_copied(kind) and _plain_view(kind) is None:
            raise InputError(
                f"{name}: column {column.name!r} has type {column.type}, from which values cannot "
                "be removed",
                "write the column with another type, or leave it out",
                facts=Facts(file=name, column=column.name),
            )


def taken(column: pa.Array, rows: RowNumbers) -> pa.Array:
    """Return some rows of a column, with the whole dictionary where it has one."""
    indices, kind = integer_array(rows), column.type
    if (plain := _plain_view(kind)) is not None:
        return column.cast(plain).take(indices).cast(kind)
    if pa.types.is_run_end_encoded(kind):
        values = taken(pc.run_end_decode(column), rows)
        return pc.run_end_encode(values, run_end_type=kind.run_end_type)
    return column.take(indices)


def rows_taken(rows: pa.Table, numbers: RowNumbers) -> pa.Table:
    """Return some rows of a table; each column that has dictionaries is in one piece.

    Other columns stay in the pieces that they are in: one array has at most 2 GiB of text.
    """
    columns = [_of_column(column, numbers) for column in rows.columns]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def _of_column(column: pa.ChunkedArray, numbers: RowNumbers) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([taken(one_dictionary(column), numbers)])
    parts, first = [], 0
    for chunk in column.chunks:
        parts.append(taken(chunk, numbers_between(numbers, first, len(chunk))))
        first += len(chunk)
    return pa.chunked_array(parts, column.type)


def one_dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column that has dictionaries in one piece, with one dictionary."""
    found = column.unify_dictionaries().combine_chunks()
    if isinstance(found, pa.ChunkedArray):  # without a piece
        found = pa.array([], column.type)
    return found


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Return the names of columns that have dictionaries."""
    return [column.name for column in schema if pa.types.is_dictionary(column.type)]


def used_values(column: pa.DictionaryArray) -> pa.Array:
    """Return the values of a column that a row has, without missing ones."""
    used = pc.unique(column.indices).drop_null()
    values = comparable(column.dictionary.take(used))
    return values.drop_null()


def joined_values(parts: Iterable[pa.Array]) -> pa.Array | None:
    """Return all values of several columns of one type; None if there is no column."""
    found = list(parts)
    return pc.unique(pa.chunked_array(found)) if found else None


def with_values(column: pa.DictionaryArray, values: pa.Array) -> pa.DictionaryArray:
    """Return a column whose dictionary has only these values, in the order that it had them in."""
    dictionary = column.dictionary
    stays = pc.is_in(comparable(dictionary), value_set=values)
    new_places = np.cumsum(stays.to_numpy(zero_copy_only=False)) - 1
    places = integer_array(np.maximum(new_places, 0).astype(np.int64))
    # A value that stays is in `values`; the index of any other stands in no row.
    indices = places.take(column.indices).cast(column.type.index_type)
    return pa.DictionaryArray.from_arrays(
        indices, dictionary.take(pc.indices_nonzero(stays)), ordered=column.type.ordered
    )


def comparable(values: pa.Array) -> pa.Array:
    """Return values, those of views with a type that functions of Arrow compare."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    plain = _plain_view(values.type)
    return values if plain is None else values.cast(plain)
