"""Columns of less common Arrow types as columns of common ones, with the same values."""

import uuid

import pyarrow as pa
import pyarrow.compute as pc


def with_common_types(table: pa.Table) -> pa.Table:
    """Return a table whose columns have types that all functions of Arrow take.

    Run-end encoded columns are decoded, and so are dictionaries of anything but text. UUIDs and
    JSON become text; other types of extensions become what they are stored as, but tensors of one
    shape, whose type has the shape. Lists, objects and binary values stay as they are.
    """
    for index, column in enumerate(table.columns):
        plain = _common(column)
        if plain is not column:
            table = table.set_column(index, table.column_names[index], plain)
    return table


def _common(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return column
    if isinstance(kind, pa.BaseExtensionType):
        return _stored(column)
    if pa.types.is_run_end_encoded(kind):
        return _common(pc.run_end_decode(column))
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_dictionary(kind):
        return _decoded(column)
    return column


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.UuidType):
        values = [None if value is None else str(value) for value in _uuids(column)]
        return pa.chunked_array([pa.array(values, pa.string())])
    if isinstance(column.type, pa.Bool8Type):
        return column.cast(pa.bool_())
    stored = [chunk.storage for chunk in column.chunks]
    return _common(pa.chunked_array(stored, column.type.storage_type))


def _uuids(column: pa.ChunkedArray) -> list[uuid.UUID | None]:
    values: list[uuid.UUID | None] = column.to_pylist()
    return values


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of a dictionary, decoded unless its values are text."""
    kind = column.type.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    chunks = []
    for chunk in column.chunks:
        values = _common(pa.chunked_array([chunk.dictionary])).combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # without a chunk
            values = pa.array([], kind)
        chunks.append(values.take(chunk.indices))
    return _common(pa.chunked_array(chunks)) if chunks else pa.chunked_array([], pa.null())
