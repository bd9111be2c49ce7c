"""From values as written to typed columns, by the schema that params.yaml pins."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import (
    DEFAULT_MISSING,
    MAX_FEATURES,
    DatasetParams,
    Decimal,
    FeatureKind,
)
from unlearn.stages.config.text import TextRole
from unlearn.stages.errors import InputError
from unlearn.stages.rows.decimals import DecimalFacts, find_decimal

_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})
#: Words that make `init` read a text column as boolean; 0 and 1 stay numbers there.
_BOOLEAN_WORDS = frozenset({"true", "false"})

#: More distinct values than this in a text column look like names or free text.
MANY_CATEGORIES = 200
#: More distinct targets than this are no classes.
MAX_CLASSES = 10_000


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
    raise InputError(f"column {name!r} has type {kind}, which is neither a number nor text")


def feature_column(
    column: pa.ChunkedArray, name: str, kind: FeatureKind, missing: Iterable[str], first_row: int
) -> pa.ChunkedArray:
    """Return one feature as float64, bool or string, with nulls for missing values.

    Parameters
    ----------
    column
        Values as read.
    name, kind
        The feature and its pinned kind.
    missing
        Texts that mean a missing value.
    first_row
        Number of the first value's data row in the dataset, for errors.

    Raises
    ------
    InputError
        If a value is not of that kind; it is named by its row, never quoted.
    """
    if kind in get_args(TextRole):
        return _text_column(column, name, kind, first_row)
    if kind == "numeric" and _is_number(column.type):
        values = pc.cast(column, pa.float64(), safe=False)
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    elif kind == "boolean" and pa.types.is_boolean(column.type):
        return column
    else:
        text = as_text(column, name)
        text = pc.if_else(
            pc.is_in(pc.utf8_trim_whitespace(text), pa.array(list(missing), pa.string())),
            pa.scalar(None, pa.string()),
            text,
        )
        if kind == "categorical":
            return text
        if kind == "boolean":
            return _booleans(text, name, first_row)
        values = _numbers(text, name, first_row)
    finite = pc.fill_null(pc.is_finite(values), fill_value=True)
    _refuse(pc.invert(finite), f"column {name!r}: a value is not a finite number", first_row)
    return values


def _text_column(
    column: pa.ChunkedArray, name: str, role: FeatureKind, first_row: int
) -> pa.ChunkedArray:
    """Return text as it was written; what is trained on may not be empty."""
    text = as_text(column, name)
    if role in ("completion", "body"):
        empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(text, ""))), 0)
        _refuse(empty, f"column {name!r}: a {role} is empty", first_row)
    return pc.fill_null(text, "") if role == "prompt" else text


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _numbers(text: pa.ChunkedArray, name: str, first_row: int) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(text)
    try:
        return pc.cast(trimmed, pa.float64())
    except pa.ArrowInvalid:
        bad = pa.array(
            [value is not None and not _is_float(value) for value in trimmed.to_pylist()]
        )
        _refuse(bad, f"column {name!r} is numeric: a value is not a number", first_row)
        # Python reads a few forms that Arrow does not, such as 1_000; they are numbers too.
        return pa.chunked_array(
            [pa.array([None if v is None else float(v) for v in trimmed.to_pylist()], pa.float64())]
        )


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _booleans(text: pa.ChunkedArray, name: str, first_row: int) -> pa.ChunkedArray:
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    true = pc.is_in(lower, pa.array(sorted(_TRUE)))
    false = pc.is_in(lower, pa.array(sorted(_FALSE)))
    bad = pc.and_(pc.is_valid(lower), pc.invert(pc.or_(true, false)))
    _refuse(bad, f"column {name!r} is boolean: a value is neither true nor false", first_row)
    return pc.if_else(pc.is_valid(lower), true, pa.scalar(None, pa.bool_()))


def _refuse(bad: pa.ChunkedArray | pa.Array, message: str, first_row: int) -> None:
    position = pc.index(bad, value=True).as_py()
    if position >= 0:
        raise InputError(f"{message} (data row {first_row + position})")


def feature_columns(
    batch: pa.Table, dataset: DatasetParams, name: str, first_row: int
) -> dict[str, pa.ChunkedArray]:
    """Return all pinned features of a batch, typed; see `feature_column`.

    Raises
    ------
    InputError
        If a pinned column is not there.
    """
    for feature in dataset.features:
        require_column(batch, feature, name)
    return {
        feature: feature_column(batch[feature], feature, kind, dataset.missing, first_row)
        for feature, kind in dataset.features.items()
    }


def target_column(
    batch: pa.Table, dataset: DatasetParams, name: str, first_row: int
) -> pa.ChunkedArray:
    """Return the class label of every row, as text from the pinned list.

    Raises
    ------
    InputError
        If the column is not there, or a label is missing or not pinned.
    """
    if dataset.target is None:
        raise AssertionError("rows of text have no class")
    require_column(batch, dataset.target, name)
    labels = as_text(batch[dataset.target], dataset.target)
    known = pc.is_in(labels, pa.array(dataset.classes, pa.string()))
    _refuse(
        pc.invert(known),
        f"{name}: column {dataset.target!r}: a class is missing or not listed in "
        "params.yaml under dataset.classes",
        first_row,
    )
    return labels


def require_column(batch: pa.Table, column: str, name: str) -> None:
    """Raise an InputError if `batch` has no such column."""
    if column not in batch.column_names:
        raise InputError(f"{name} has no column {column!r}")


@dataclass
class _ColumnFacts:
    """What a pass over the data found about one column."""

    kind: FeatureKind | None = None
    text: bool = False
    distinct: set[str] = field(default_factory=set)
    decimals: DecimalFacts = field(default_factory=DecimalFacts)


@dataclass
class SchemaFinder:
    """Finds the schema that `init` pins, batch by batch.

    Parameters
    ----------
    id_column, target_column, subject_column
        The columns that are no features.
    missing
        Texts that mean a missing value.
    is_csv, known_decimal
        Whether numbers may have a decimal comma, and the decimal mark if the user chose it.
    """

    id_column: str
    target_column: str
    subject_column: str | None
    missing: tuple[str, ...] = DEFAULT_MISSING
    is_csv: bool = False
    known_decimal: Decimal | None = None
    rows: int = 0
    _facts: dict[str, _ColumnFacts] = field(default_factory=dict)
    _classes: set[str] = field(default_factory=set)

    def see(self, batch: pa.Table, name: str) -> None:
        """Take a batch into account."""
        roles = {self.id_column, self.target_column, self.subject_column} - {None}
        for role in sorted(str(role) for role in roles):
            require_column(batch, role, name)
        if batch.num_columns - len(roles) > MAX_FEATURES:
            raise InputError(
                f"{name} has {batch.num_columns:,} columns, and at most {MAX_FEATURES:,} can be "
                "features"
            )
        for column in batch.column_names:
            if column not in roles:
                self._see_feature(batch[column], column)
        labels = as_text(batch[self.target_column], self.target_column)
        found = pc.unique(labels).to_pylist()
        if None in found or "" in found:
            raise InputError(f"{name}: column {self.target_column!r} has rows without a class")
        self._classes.update(found)
        if len(self._classes) > MAX_CLASSES:
            raise InputError(
                f"{name}: column {self.target_column!r} has more than {MAX_CLASSES} different "
                "values; a classifier's target has few"
            )
        self.rows += batch.num_rows

    def _see_feature(self, column: pa.ChunkedArray, name: str) -> None:
        facts = self._facts.setdefault(name, _ColumnFacts())
        if pa.types.is_boolean(column.type):
            facts.kind = facts.kind or "boolean"
            return
        if _is_number(column.type):
            facts.kind = facts.kind or "numeric"
            return
        facts.text = True
        values = pc.unique(as_text(column, name)).drop_null()
        values = values.filter(
            pc.invert(pc.is_in(pc.utf8_trim_whitespace(values), pa.array(list(self.missing))))
        )
        if len(values) == 0:
            return
        if self.is_csv:
            facts.decimals.see(values)
        facts.kind = _wider(facts.kind, _text_kind(values.to_pylist()))
        if facts.kind == "categorical" and len(facts.distinct) <= MANY_CATEGORIES:
            facts.distinct.update(values.to_pylist())

    @property
    def classes(self) -> list[str]:
        """The class labels, numbers in numeric order, else in text order."""
        if all(_is_float(label) for label in self._classes):
            return sorted(self._classes, key=lambda label: (float(label), label))
        return sorted(self._classes)

    @property
    def features(self) -> dict[str, FeatureKind]:
        """Kind by column; a column that is always missing counts as categorical."""
        if self.decimal == ".":
            return {name: facts.kind or "categorical" for name, facts in self._facts.items()}
        return {name: _kind_with_comma(facts) for name, facts in self._facts.items()}

    @property
    def decimal(self) -> Decimal:
        """The decimal mark of numbers; see `find_decimal` for errors."""
        facts = self._facts.items()
        columns = [(name, each.kind == "numeric", each.decimals) for name, each in facts]
        return find_decimal(columns, self.known_decimal)

    @property
    def many_categories(self) -> list[str]:
        """Text columns with many different values, which may be names or free text."""
        return [
            name
            for name, facts in self._facts.items()
            if self.features[name] == "categorical" and len(facts.distinct) > MANY_CATEGORIES
        ]


def _kind_with_comma(facts: _ColumnFacts) -> FeatureKind:
    if facts.decimals.is_comma:
        return "numeric"
    if facts.kind == "numeric" and facts.text and not facts.decimals.all_commas:
        return "categorical"  # numbers with a point, which is no decimal mark here
    return facts.kind or "categorical"


def _text_kind(values: list[str]) -> FeatureKind:
    if all(value.strip().lower() in _BOOLEAN_WORDS for value in values):
        return "boolean"
    if all(_is_float(value) and math.isfinite(float(value)) for value in values):
        return "numeric"
    return "categorical"


def _wider(old: FeatureKind | None, new: FeatureKind) -> FeatureKind:
    return new if old in (None, new) else "categorical"
