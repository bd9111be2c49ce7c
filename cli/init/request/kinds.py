"""`--kind COLUMN=KIND` of `unlearn init`: what the user says a column is."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import get_args

from unlearn.stages.config.dataset import (
    HASHED_COLUMNS,
    MAX_HASHED_COLUMNS,
    PICTURE_CHANNELS,
    TENSOR_KINDS,
    FeatureKind,
)
from unlearn.stages.config.text import TextRole
from unlearn.stages.errors import InputError

#: The kinds of features of a table.
TABLE_KINDS: tuple[FeatureKind, ...] = tuple(
    kind for kind in get_args(FeatureKind) if kind not in get_args(TextRole)
)

_FORM = "write COLUMN=KIND, such as --kind notes=hashed_text or --kind size=ordinal:small,large"


@dataclass
class ChosenKinds:
    """The kinds that a user chose.

    Attributes
    ----------
    kinds
        Kind by column.
    orders
        The values of each ordinal column, from the least to the greatest.
    hashed_columns
        How many columns of numbers each hashed text becomes.
    shapes
        The shape of each array whose shape the user chose.
    """

    kinds: dict[str, FeatureKind] = field(default_factory=dict)
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hashed_columns: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_kinds(options: Iterable[str]) -> ChosenKinds:
    """Return what the options say.

    Raises
    ------
    InputError
        If one is not `COLUMN=KIND`, with what follows a colon: the values of an ordinal column, or
        the number of columns of a hashed text, or the shape of an array.
    """
    found = ChosenKinds()
    for option in options:
        column, equals, chosen = option.partition("=")
        kind, _, rest = chosen.partition(":")
        if not equals or not column:
            raise InputError(f"--kind: {option!r} is not understood", _FORM)
        if column in found.kinds:
            raise InputError(f"--kind: column {column!r} has two kinds")
        found.kinds[column] = _kind(kind)
        if kind == "ordinal":
            found.orders[column] = _order(column, rest)
        elif kind == "hashed_text":
            found.hashed_columns[column] = _columns(column, rest)
        elif kind in TENSOR_KINDS:
            if rest:
                found.shapes[column] = _shape(column, kind, rest)
        elif rest:
            raise InputError(f"--kind: {kind} of column {column!r} takes nothing after a colon")
    return found


def _kind(name: str) -> FeatureKind:
    for kind in TABLE_KINDS:
        if kind == name:
            return kind
    near = difflib.get_close_matches(name, TABLE_KINDS, n=1)
    raise InputError(
        f"--kind: there is no kind {name!r}",
        *(f"did you mean `{each}`?" for each in near),
        f"kinds: {', '.join(TABLE_KINDS)}",
    )


def _order(column: str, text: str) -> tuple[str, ...]:
    values = tuple(each.strip() for each in text.split(",")) if text else ()
    if len(values) < 2 or len(set(values)) != len(values):  # noqa: PLR2004 - an order needs two
        raise InputError(
            f"--kind: the values of ordinal column {column!r} must be listed once each, from the "
            "least to the greatest",
            f"such as --kind {column}=ordinal:small,medium,large",
        )
    return values


def _columns(column: str, text: str) -> int:
    if not text:
        return HASHED_COLUMNS
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_HASHED_COLUMNS):
        raise InputError(
            f"--kind: column {column!r}: a hashed text becomes 1 to {MAX_HASHED_COLUMNS:,} columns "
            "of numbers",
            f"such as --kind {column}=hashed_text:{HASHED_COLUMNS}",
        )
    return int(text)


#: Dimensions of a picture, and the most of any array.
_PICTURE_DIMENSIONS, _MOST_DIMENSIONS = 3, 4


def _shape(column: str, kind: str, text: str) -> tuple[int, ...]:
    sizes = text.split("x") if re.fullmatch(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8})*", text) else []
    shape = tuple(map(int, sizes))
    if kind == "tensor" and 1 <= len(shape) <= _MOST_DIMENSIONS:
        return shape
    if len(shape) == _PICTURE_DIMENSIONS and shape[0] in PICTURE_CHANNELS:
        return shape
    form = (
        "channels x height x width, with 1, 3 or 4 channels"
        if kind == "image"
        else f"1 to {_MOST_DIMENSIONS} sizes"
    )
    example = "3x32x32" if kind == "image" else "64"
    raise InputError(
        f"--kind: the shape of {kind} column {column!r} must be {form}",
        f"such as --kind {column}={kind}:{example}",
    )
