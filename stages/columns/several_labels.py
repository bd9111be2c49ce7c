"""Targets with several labels in a row, which a model here cannot have."""

from collections.abc import Collection

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError

#: What people write between several labels. A comma is in names as well.
_SEPARATORS = ("|", ";")

#: Fewer different values tell nothing.
_FEWEST = 4


def is_nested(kind: pa.DataType) -> bool:
    """Return whether a column has lists or objects."""
    return bool(pa.types.is_nested(kind))


def separator(labels: Collection[str]) -> str | None:
    """Return what separates the labels in values that are several ones; None if they are not.

    At least half of the different values have it, and their parts are fewer than the values: they
    come back in other combinations.

    Examples
    --------
    >>> separator(["red", "red;blue", "blue", "red;green", "green;blue", "green;blue;red"])
    ';'
    >>> separator(["a", "b", "c;d", "e"]) is None, separator(["a|1", "b|2", "c|3", "d|4"]) is None
    (True, True)
    """
    for mark in _SEPARATORS:
        several = [label for label in labels if mark in label]
        if len(labels) >= _FEWEST and 2 * len(several) >= len(labels):
            parts = {part.strip() for label in labels for part in label.split(mark)}
            if len(parts) < len(labels):
                return mark
    return None


def several_labels(column: str, how: str, *hints: str) -> InputError:
    """Return the error about a target with several labels in a row.

    Parameters
    ----------
    column
        Its name.
    how
        What its values look like.
    *hints
        What else can be done than to make a project for each label.
    """
    return InputError(
        f"column {column!r}: {how}: several labels of a row are not supported, because a model "
        "here has one target",
        "make a project for each label: write a column for each that says whether a row has it, "
        "and name it with --target",
        *hints,
        facts=Facts(column=column),
    )
