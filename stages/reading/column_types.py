"""Which types a column may have in the files of one dataset, and which differ in what they mean."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.errors import Facts, InputError

#: What the values of a column are used as, which decides how much its type matters. `id`: whole
#: numbers are their digits, so only digits with leading zeros differ from them. `label`: the text
#: counts, so 1 and 1.0 differ. `value`: 1 and 1.0 are one number. `none`: nobody reads the column,
#: or all of its types are read the same.
ColumnUse = Literal["id", "label", "value", "none"]

#: What a column of CSV or JSON is: text, whose type its values decide.
_UNTYPED = "text without a type"

#: What ids are in two files that cannot be joined: is 007 the 7 of the other one?
_NUMBERS, _ZEROS = "numbers", "text, some of it digits with leading zeros"
_LEADING_ZEROS = r"^-?0[0-9]+$"

#: Labels that are the same in a file with types and in one without.
_SAME_LABELS = frozenset({"text", "whole numbers"})


@dataclass(frozen=True)
class ColumnUses:
    """How the columns of a dataset are used.

    Attributes
    ----------
    named
        The use by column.
    others
        The use of all other columns.
    """

    named: Mapping[str, ColumnUse] = field(default_factory=dict)
    others: ColumnUse = "none"

    def of(self, column: str) -> ColumnUse:
        """Return the use of a column."""
        return self.named.get(column, self.others)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _has_zone(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.tz is not None)


#: Types whose values are of one kind.
_FAMILIES: dict[str, Callable[[pa.DataType], bool]] = {
    "numbers": _is_number,
    "true or false": pa.types.is_boolean,
    "times with a zone": _has_zone,
    "dates and times without a zone": lambda kind: bool(
        pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    ),
    "times of day": pa.types.is_time,
    "durations": pa.types.is_duration,
    "lists or objects": pa.types.is_nested,
}


def _family(kind: pa.DataType) -> str:
    """Return the name of all types whose values are of one kind."""
    return next((name for name, has in _FAMILIES.items() if has(kind)), str(kind))


def form(kind: pa.DataType, use: ColumnUse) -> str | None:
    """Return what a type is for values or labels: types of one form are read the same.

    None if the type goes with all others, as that of a column without values does.
    """
    if pa.types.is_null(kind):
        return None
    if pa.types.is_dictionary(kind):
        return form(kind.value_type, use)
    if is_text(kind):
        return "text"
    if use == "value":
        return _family(kind)
    return "whole numbers" if pa.types.is_integer(kind) else str(kind)


def _id_form(column: pa.ChunkedArray) -> str | None:
    """Return what a column of ids is; None if it goes with all others."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if _is_number(kind):
        return _NUMBERS
    if not is_text(kind):
        return None
    zeros = pc.match_substring_regex(column.cast(pa.string()), _LEADING_ZEROS)
    return _ZEROS if pc.any(zeros).as_py() else None


def _shown(kind: pa.DataType) -> str:
    """Return a type for messages: with one name for all types of text."""
    if pa.types.is_dictionary(kind):
        return _shown(kind.value_type)
    return "type string" if is_text(kind) else f"type {kind}"


def _is_readable(kind: pa.DataType) -> bool:
    """Return whether a column of this type has text or numbers."""
    if pa.types.is_dictionary(kind):
        return _is_readable(kind.value_type)
    return bool(
        pa.types.is_null(kind)
        or is_text(kind)
        or _is_number(kind)
        or pa.types.is_boolean(kind)
        or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind))
    )


def _refuse_unreadable(column: pa.Field, file: str) -> None:
    if not _is_readable(column.type):
        raise InputError(
            f"{file}: column {column.name!r} has {_shown(column.type)}, which is neither a number "
            "nor text",
            "write the column as text or numbers",
            facts=Facts(file=file, column=column.name),
        )


def _agree(one: str, other: str, use: ColumnUse) -> bool:
    if one == other:
        return True
    if use == "id" or _UNTYPED not in (one, other):
        return False
    typed = one if other == _UNTYPED else other
    if use == "value":
        return True  # the values of the file without types decide
    return typed == "text" or (use == "label" and typed in _SAME_LABELS)


@dataclass(frozen=True)
class _Seen:
    """A type of a column, and the first file that has it."""

    form: str
    type: str
    file: str


class TypeCheck:
    """Compares the columns' types of a dataset's files.

    Parameters
    ----------
    uses
        How the columns are used.
    """

    def __init__(self, uses: ColumnUses) -> None:
        self._uses = uses
        self._seen: dict[str, list[_Seen]] = {}
        self._last: tuple[str, pa.Schema] | None = None
        self._ids = [name for name, use in uses.named.items() if use == "id"]

    def see(self, batch: pa.Table, file: str, *, is_typed: bool, named: Collection[str]) -> None:
        """Take a batch's columns into account.

        Parameters
        ----------
        batch
            Rows of the file.
        file
            What errors call it.
        is_typed
            Whether its columns have types of their own; those of CSV and JSON have none.
        named
            Columns that only the names of its folders have.

        Raises
        ------
        InputError
            If a column has a type that means something else than in a file before, or a column that
            is needed has lists, objects or binary values.
        """
        for name in self._ids:
            if name in batch.column_names and (ids := _id_form(batch[name])) is not None:
                self._compare(name, _Seen(ids, ids, file))
        if self._last is not None and self._last[0] == file and self._last[1].equals(batch.schema):
            return
        self._last = (file, batch.schema)
        for column in batch.schema:
            use = self._uses.of(column.name)
            if use in ("label", "value") and column.name in self._uses.named:
                _refuse_unreadable(column, file)
            found = form(column.type, use) if is_typed else _UNTYPED
            if found is not None and use in ("label", "value"):
                self._compare(column.name, _Seen(found, _shown(column.type), file))
        for name in named:
            if self._uses.of(name) in ("label", "value"):
                self._compare(name, _Seen(_UNTYPED, "text", file))

    def _compare(self, column: str, found: _Seen) -> None:
        use = self._uses.of(column)
        seen = self._seen.setdefault(column, [])
        if any(found.form == before.form for before in seen):
            return
        for before in seen:
            if not _agree(before.form, found.form, use):
                raise _other_type(column, before, found)
        seen.append(found)


def _other_type(column: str, before: _Seen, found: _Seen) -> InputError:
    one, other = ("text" if seen.form == _UNTYPED else seen.type for seen in (found, before))
    hints = ["write the column with one type in all files"]
    if _ZEROS in (one, other):
        hints = ["write all ids as text, with the zeros, or all as numbers"]
    return InputError(
        f"{found.file}: column {column!r} has {one}, but in {before.file} it has {other}",
        *hints,
        facts=Facts(file=found.file, column=column),
    )
