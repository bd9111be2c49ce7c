"""How the arrays and the numbers of a row become one array of bytes, and what networks get of it.

A network that reads pictures or other arrays gets its rows as one array of bytes, so that all that
handles rows of numbers can handle them: batches, guards and attacks call `module(inputs)`. A hook
on the module takes the bytes apart before the module's own `forward`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

#: Name of the numbers of all features that are no arrays, which networks read together.
COLUMNS = "columns"

#: Bytes of one number, by kind of part.
_ITEM_BYTES = {"image": 1, "tensor": 4, "columns": 4}

#: What a network is built for: the shape of its one array, or shapes by the names of its parts.
InputShape = tuple[int, ...] | dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Part:
    """Some bytes of each row.

    Parameters
    ----------
    name
        The feature, or `COLUMNS`.
    kind
        `image`: bytes from 0 to 255, channels first; `tensor` and `columns`: float32.
    shape
        Without the rows.
    start
        The first byte.
    """

    name: str
    kind: Literal["image", "tensor", "columns"]
    shape: tuple[int, ...]
    start: int

    @property
    def end(self) -> int:
        """The byte after the last one."""
        return self.start + prod(self.shape) * _ITEM_BYTES[self.kind]


@dataclass(frozen=True)
class Packing:
    """The parts of a row, one after another.

    Examples
    --------
    >>> packing = packing_of({"photo": ("image", (3, 8, 8))}, columns=0)
    >>> packing.width, packing.shape
    (192, (3, 8, 8))
    >>> packing_of({"photo": ("image", (3, 8, 8))}, columns=2).shape
    {'photo': (3, 8, 8), 'columns': (2,)}
    """

    parts: tuple[Part, ...]

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return self.parts[-1].end

    @property
    def shape(self) -> InputShape:
        """What a network is built for: one shape, or shapes by name if there are several parts."""
        if len(self.parts) == 1:
            return self.parts[0].shape
        return {part.name: part.shape for part in self.parts}

    @property
    def images(self) -> tuple[Part, ...]:
        """The parts that are pictures."""
        return tuple(part for part in self.parts if part.kind == "image")


def packing_of(
    arrays: Mapping[str, tuple[Literal["image", "tensor"], tuple[int, ...]]], columns: int
) -> Packing:
    """Return the packing of a row.

    Parameters
    ----------
    arrays
        Kind and shape of each feature that is an array, in order.
    columns
        How many numbers the other features become.
    """
    parts: list[Part] = []
    start = 0
    for name, (kind, shape) in arrays.items():
        parts.append(Part(name, kind, shape, start))
        start = parts[-1].end
    if columns:
        parts.append(Part(COLUMNS, "columns", (columns,), start))
    return Packing(tuple(parts))
