"""Ids, subjects and targets as text."""

import math

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError


def as_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return ids, subjects or targets as the text that represents them everywhere.

    Text stays as it is, an integer becomes its digits, a float Python's shortest text, a boolean
    `true` or `false`. Missing values stay missing.

    Raises
    ------
    InputError
        If the column's type has no such text.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type), name)
    if pa.types.is_string(kind):
        return column
    if pa.types.is_floating(kind):
        values = [
            None if value is None or math.isnan(value) else repr(value)
            for value in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(values, pa.string())])
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or pa.types.is_temporal(kind)
        or pa.types.is_decimal(kind)
    ):
        return column.cast(pa.string())
    raise InputError(
        f"column {name!r} has type {kind}, which is neither a number nor text",
        facts=Facts(column=name),
    )
