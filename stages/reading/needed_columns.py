"""The columns that rows must have: an error names those that are missing, and the nearest ones."""

import difflib
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.csv_text import MARK_NAMES

#: How many columns an error names.
_COLUMNS_SHOWN = 20


def nearest_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name that is most like `name`; None if none is like it.

    Case, spaces and underscores count least.

    >>> nearest_name("sign_up", ["id", "Sign up", "sign_off"])
    'Sign up'
    """
    plain = {_plain(other): other for other in reversed(names)}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()


def require_column(batch: pa.Table, column: str, name: str) -> None:
    """Raise an InputError if `batch` has no such column; see `require_columns`."""
    require_columns(batch, [column], name)


def require_columns(batch: pa.Table, needed: Iterable[str], name: str) -> None:
    """Raise an InputError if `batch` lacks columns; see `require_names`."""
    require_names(batch.column_names, needed, name)


def require_names(columns: Sequence[str], needed: Iterable[str], name: str) -> None:
    """Raise an InputError if rows lack columns, with those that they have.

    The error names all that are missing, and for each the one whose name is most like it.
    """
    there = set(columns)
    missing = [column for column in needed if column not in there]
    if not missing:
        return
    hints = [f"its columns: {_listed(columns)}"]
    others = [column for column in columns if column not in set(needed)]
    nearest = {column: nearest_name(column, others) for column in missing[:_COLUMNS_SHOWN]}
    found = [(column, near) for column, near in nearest.items() if near is not None]
    if len(missing) == 1 and found:
        hints.insert(0, f"did you mean {found[0][1]!r}?")
    elif found:
        pairs = ", ".join(f"{near!r} for {column!r}" for column, near in found)
        hints.insert(0, f"did you mean {pairs}?")
    mark = next((m for m in ";\t|," if m in columns[0]), None) if len(columns) == 1 else None
    if mark is not None:
        hints.append(f"one column only: is the delimiter a {MARK_NAMES[mark]}?")
    facts = Facts(
        file=name,
        column=missing[0],
        missing=tuple(missing) if len(missing) > 1 else (),
        columns=tuple(columns),
        nearest=nearest[missing[0]],
        separator=mark,
    )
    noun = "column" if len(missing) == 1 else "columns"
    raise InputError(f"{name} has no {noun} {_listed(missing)}", *hints, facts=facts)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(map(repr, columns[:_COLUMNS_SHOWN]))
    return f"{shown}{', ...' if len(columns) > _COLUMNS_SHOWN else ''}"
