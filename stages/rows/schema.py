"""From values as written to typed columns, by the schema that schema.yaml pins."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import (
    DATE_KINDS,
    LONGEST_CATEGORY,
    TENSOR_KINDS,
    DatasetParams,
    DateFormat,
    FeatureKind,
)
from unlearn.stages.config.text import TextRole
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.datetimes import seconds_of_column, seconds_of_text
from unlearn.stages.reading.decimals import other_mark
from unlearn.stages.reading.needed_columns import require_column, require_columns
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.records import RowPlace, place_of_row
from unlearn.stages.rows.array_features import ArrayFeature
from unlearn.stages.rows.beside_chats import refuse_beside
from unlearn.stages.rows.chat_tools import tools_column
from unlearn.stages.rows.chats import BrokenChatsError, chat_column
from unlearn.stages.rows.keyed_categories import keyed_column
from unlearn.stages.rows.texts import as_text
from unlearn.stages.rows.token_arrays import joined_texts

_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})

_NO_BOOLEAN = " is boolean: a value is neither true nor false"

#: Categories are looked at one by one where each has so many rows.
_REPEATED = 8

#: Texts of a boolean feature, in lower case, and what they mean.
BOOLEAN_TEXTS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}


#: What dates and times of a format are called in errors; without one, they are as ISO 8601 says.
_FORMAT_NAMES: dict[DateFormat | None, str] = {
    None: "in ISO 8601",
    "day_first": "with the day first, such as 31/12/2024",
    "month_first": "with the month first, such as 12/31/2024",
    "year_first": "with the year first, such as 2024/12/31",
    "time": "of day, such as 12:30",
}


def feature_column(
    column: pa.ChunkedArray,
    name: str,
    kind: FeatureKind,
    missing: Iterable[str],
    first_row: int,
    date_format: DateFormat | None = None,
    listed: Sequence[str] | None = None,
) -> pa.ChunkedArray:
    """Return one feature as float64, bool or string, with nulls for missing values.

    The same value is read as the same from every type that a file can have for it: a text and the
    number that it writes, a decimal, a dictionary. A number or a date that equals one of the texts
    for missing values is missing as well, however it is written.

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
    date_format
        How texts that are dates or times are written; by default as ISO 8601 says.
    listed
        All values that an ordinal feature may have.

    Raises
    ------
    InputError
        If a value is not of that kind, or is too long for a category. It is named by its row,
        never quoted.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "messages":
        return chat_column(column, name, first_row)
    if kind == "tools":
        return tools_column(column, name, first_row)
    if kind in get_args(TextRole):
        return _text_column(column, name, kind, first_row)
    missing = list(missing)
    values = _typed(column, name, kind, missing, first_row)
    if values is None:
        values = _parsed(column, name, kind, missing, first_row, date_format)
    if kind == "ordinal":
        known = pc.is_in(values, pa.array(listed or (), pa.string()))
        bad = pc.and_(pc.is_valid(values), pc.invert(known))
        _refuse(bad, name, " is ordinal: a value is not listed under categories", first_row)
    if kind in DATE_KINDS:
        return _without(values, (seconds_of_text(text, date_format) for text in missing))
    if kind == "numeric":
        values = _without(values, (float(text) for text in missing if is_float(text)))
        finite = pc.fill_null(pc.is_finite(values), fill_value=True)
        _refuse(pc.invert(finite), name, ": a value is not a finite number", first_row)
    return values


def _typed(
    column: pa.ChunkedArray, name: str, kind: FeatureKind, missing: list[str], first_row: int
) -> pa.ChunkedArray | None:
    """Return a feature whose column has a type of its kind; None if it is read as text."""
    if kind == "numeric" and is_number(column.type):
        return _floats(column)
    if kind in DATE_KINDS and pa.types.is_temporal(column.type):
        return seconds_of_column(column)
    if kind != "boolean":
        return None
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return _booleans_of_numbers(_floats(column), name, first_row)
    named = BOOLEAN_TEXTS.keys() & {text.lower() for text in missing}
    return column if pa.types.is_boolean(column.type) and not named else None


def _parsed(
    column: pa.ChunkedArray,
    name: str,
    kind: FeatureKind,
    missing: list[str],
    first_row: int,
    date_format: DateFormat | None,
) -> pa.ChunkedArray:
    """Return a feature from the text of its values."""
    if pa.types.is_nested(column.type):
        _refuse(pc.is_valid(column), name, ": a value is a list or an object", first_row)
    text = as_text(column, name)
    if kind == "numeric" and (numbers := _plain_numbers(text)) is not None:
        return numbers
    if kind == "categorical" and _are_plain_categories(text, missing):
        return text
    text = pc.if_else(
        pc.is_in(pc.utf8_trim_whitespace(text), pa.array(missing, pa.string())),
        pa.scalar(None, pa.string()),
        text,
    )
    if kind in DATE_KINDS:
        return _datetimes(text, name, first_row, date_format)
    if kind == "hashed_text":
        return text
    parse = {"boolean": _booleans, "categorical": _categories, "ordinal": _categories}
    return parse.get(kind, _numbers)(text, name, first_row)


def _text_column(
    column: pa.ChunkedArray, name: str, role: FeatureKind, first_row: int
) -> pa.ChunkedArray:
    """Return text as it was written; what is trained on may not be empty."""
    text = as_text(column, name)
    if role in ("completion", "body"):
        empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(text, ""))), 0)
        _refuse(empty, name, f": a {role} is empty", first_row)
    return pc.fill_null(text, "") if role in ("prompt", "input") else text


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers as float64, the nearest to each; NaN is missing."""
    if pa.types.is_decimal(column.type):
        # Not a cast to float64: Arrow's is off by the last digit for many decimals.
        column = pc.cast(column, pa.string())
    values = pc.cast(column, pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def _without(values: pa.ChunkedArray, missing: Iterable[float | None]) -> pa.ChunkedArray:
    """Return numbers with nulls for those that mean a missing value."""
    gone = [number for number in missing if number is not None and math.isfinite(number)]
    if not gone:
        return values
    is_missing = pc.is_in(values, pa.array(gone, pa.float64()))
    return pc.if_else(is_missing, pa.scalar(None, pa.float64()), values)


def _booleans_of_numbers(values: pa.ChunkedArray, name: str, first_row: int) -> pa.ChunkedArray:
    """Return 1 as true and 0 as false: pandas writes them so, once a value is missing."""
    true, false = pc.equal(values, 1.0), pc.equal(values, 0.0)
    bad = pc.fill_null(pc.invert(pc.or_(true, false)), fill_value=False)
    _refuse(bad, name, _NO_BOOLEAN, first_row)
    return true


def is_number(kind: pa.DataType) -> bool:
    """Return whether a numeric feature can have values of this type."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _plain_numbers(text: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return what `_parsed` does for texts that are all finite numbers, several times faster.

    Those that mean a missing value are removed as numbers.
    """
    try:
        numbers = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        return None
    return numbers if pc.all(pc.is_finite(numbers)).as_py() else None


def _are_plain_categories(text: pa.ChunkedArray, missing: list[str]) -> bool:
    """Return whether `_parsed` would return categories as they are: told by the different ones."""
    try:
        different = pc.unique(text)
    except pa.ArrowInvalid:
        return False
    if len(different) * _REPEATED > len(text):
        return False  # to look at all of them is faster
    trimmed = pc.utf8_trim_whitespace(different)
    if pc.any(pc.is_in(trimmed, pa.array(missing, pa.string()))).as_py():
        return False
    texts = [each for each in different.to_pylist() if each is not None]
    return not any(len(each) > LONGEST_CATEGORY or "\n" in each or "\r" in each for each in texts)


def _numbers(
    text: pa.ChunkedArray, name: str, first_row: int, kind: str = " is numeric"
) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(text)
    try:
        return pc.cast(trimmed, pa.float64())
    except pa.ArrowInvalid:
        bad = pa.array([value is not None and not is_float(value) for value in trimmed.to_pylist()])
        try:
            _refuse(bad, name, f"{kind}: a value is not a number", first_row)
        except InputError as error:
            value = trimmed[pc.index(bad, value=True).as_py()].as_py()
            facts = replace(error.facts or Facts(), decimal=other_mark(value))
            raise InputError(error.message, facts=facts) from None
        # Python reads a few forms that Arrow does not, such as +1; they are numbers too.
        return pa.chunked_array(
            [pa.array([None if v is None else float(v) for v in trimmed.to_pylist()], pa.float64())]
        )


def _categories(text: pa.ChunkedArray, name: str, first_row: int) -> pa.ChunkedArray:
    """Return categories; what is too long or has a line end is text, as `init` would say."""
    hint = f"remove {name!r} from features in schema.yaml if it is text"
    # A character is a byte or more, and to look for few values with a fault is slower.
    if (pc.max(pc.binary_length(text)).as_py() or 0) > LONGEST_CATEGORY:
        long = pc.greater(pc.utf8_length(text), LONGEST_CATEGORY)
        problem = f" is categorical: a value has more than {LONGEST_CATEGORY} characters"
        _refuse(long, name, problem, first_row, hint)
    joined = joined_texts(text)
    if b"\n" in joined or b"\r" in joined:
        line_end = pc.match_substring_regex(text, "[\r\n]")
        _refuse(line_end, name, " is categorical: a value has a line end", first_row, hint)
    return text


def _datetimes(
    text: pa.ChunkedArray, name: str, first_row: int, date_format: DateFormat | None
) -> pa.ChunkedArray:
    encoded = pc.utf8_trim_whitespace(text).combine_chunks().dictionary_encode()
    found = [seconds_of_text(value, date_format) for value in encoded.dictionary.to_pylist()]
    values = pa.array(found, pa.float64()).take(encoded.indices)
    bad = pc.and_(pc.is_valid(encoded), pc.is_null(values))
    problem = f" is a date or time: a value is not one {_FORMAT_NAMES[date_format]}"
    _refuse(bad, name, problem, first_row)
    return pa.chunked_array([values])


def is_float(text: str) -> bool:
    """Return whether text is a number as Python reads it, but for 1_000: no file means that so."""
    if "_" in text:
        return False
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
    _refuse(bad, name, _NO_BOOLEAN, first_row)
    return pc.if_else(pc.is_valid(lower), true, pa.scalar(None, pa.bool_()))


def _refuse(
    bad: pa.ChunkedArray | pa.Array, column: str, problem: str, first_row: int, *hints: str
) -> None:
    position = pc.index(bad, value=True).as_py()
    if position >= 0:
        row = first_row + position
        raise InputError(
            f"column {column!r}{problem} (data row {row})",
            *hints,
            facts=Facts(row=row, column=column),
        )


@contextmanager
def _in_file(place: RowPlace) -> Iterator[None]:
    """Name the file in an InputError of the block, which names a column."""
    try:
        yield
    except BrokenChatsError as error:
        raise error.in_file(place.file) from None
    except InputError as error:
        facts = replace(error.facts or Facts(), file=place.file)
        raise InputError(f"{place.file}: {error.message}", *error.hints, facts=facts) from None


def feature_columns(
    batch: pa.Table,
    dataset: DatasetParams,
    name: str,
    first_row: int,
    pictures: PictureFolder | None = None,
) -> dict[str, pa.ChunkedArray]:
    """Return all pinned features of a batch, typed; see `feature_column` and `ArrayFeature`.

    Parameters
    ----------
    batch, dataset
        Rows as read, and the pinned schema.
    name, first_row
        What the rows are from, and the number of the first one there, for rows made elsewhere.
    pictures
        The files that rows can name; None for rows that are in no file.

    Raises
    ------
    InputError
        If a pinned column is not there.
    """
    require_columns(batch, dataset.features, name)
    place = place_of_row(batch, 0, name, first_row)
    found = {}
    for feature, kind in dataset.features.items():
        if kind in TENSOR_KINDS:
            array = ArrayFeature.of(feature, dataset, place, pictures)
            found[feature] = array.typed(batch[feature])
            continue
        with _in_file(place):
            if kind == "messages":
                refuse_beside(batch, dataset, place.row)
            found[feature] = feature_column(
                batch[feature],
                feature,
                kind,
                dataset.missing,
                place.row,
                (dataset.date_formats or {}).get(feature),
                (dataset.categories or {}).get(feature),
            )
        if kind == "categorical" and dataset.keys_categories:
            found[feature] = keyed_column(found[feature], dataset.category_key, feature)
    return found


def target_column(
    batch: pa.Table, dataset: DatasetParams, name: str, first_row: int
) -> pa.ChunkedArray:
    """Return the target of every row: a label of the pinned list as text, or a number as float64.

    Where rows without a target are dropped, these have none.

    Raises
    ------
    InputError
        If the column is not there, a target is missing, a label is not pinned, or a target of a
        regression is no number.
    """
    if dataset.target is None:
        raise AssertionError("rows of text have no target")
    require_column(batch, dataset.target, name)
    place = place_of_row(batch, 0, name, first_row)
    with _in_file(place):
        if dataset.task == "regression":
            return _target_numbers(batch[dataset.target], dataset.target, dataset, place.row)
        return _target_labels(batch[dataset.target], dataset.target, dataset, place.row)


def weight_column(
    batch: pa.Table, column: str, dataset: DatasetParams, name: str, first_row: int
) -> pa.ChunkedArray:
    """Return the weight of every row as float64.

    Raises
    ------
    InputError
        If the column is not there, or a weight is missing, no finite number, or not above 0.
    """
    require_column(batch, column, name)
    place = place_of_row(batch, 0, name, first_row)
    with _in_file(place):
        values = target_values(batch[column], column, dataset.missing, place.row)
        above = pc.and_(pc.is_finite(values), pc.greater(values, 0.0))
        bad = pc.invert(pc.fill_null(above, fill_value=False))
        _refuse(bad, column, ": a weight is missing, not finite, or not above 0", place.row)
    return values


_DROP = "`dataset.drop_unlabelled: true` in params.yaml leaves such rows out"


def _target_labels(
    column: pa.ChunkedArray, target: str, dataset: DatasetParams, first_row: int
) -> pa.ChunkedArray:
    """Return class labels; see `target_column`."""
    labels = as_text(column, target)
    known = pc.is_in(labels, pa.array(dataset.classes, pa.string()))
    unlabelled = pc.and_(pc.invert(known), is_unlabelled(labels, dataset.missing))
    if not dataset.drop_unlabelled:
        _refuse(unlabelled, target, ": a class is missing", first_row, _DROP)
    _refuse(
        pc.invert(pc.or_(known, unlabelled)),
        target,
        ": a class is not listed in schema.yaml under classes",
        first_row,
    )
    return pc.if_else(unlabelled, pa.scalar(None, pa.string()), labels)


def _target_numbers(
    column: pa.ChunkedArray, target: str, dataset: DatasetParams, first_row: int
) -> pa.ChunkedArray:
    """Return the numbers of a regression's target; see `target_column`."""
    values = target_values(column, target, dataset.missing, first_row)
    finite = pc.fill_null(pc.is_finite(values), fill_value=False)
    if not dataset.drop_unlabelled:
        problem = ": a target is missing or not a finite number"
        _refuse(pc.invert(finite), target, problem, first_row, _DROP)
    return pc.if_else(finite, values, pa.scalar(None, pa.float64()))


def target_values(
    column: pa.ChunkedArray, target: str, missing: Iterable[str], first_row: int
) -> pa.ChunkedArray:
    """Return a target as float64 numbers, infinite ones among them, with nulls for missing values.

    Parameters
    ----------
    column, target
        Values as read, and the column's name.
    missing
        Texts that mean a missing value.
    first_row
        Number of the first value's data row, for errors.

    Raises
    ------
    InputError
        If a value is not a number. It is named by its row, never quoted.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = list(missing)
    if is_number(column.type) and not pa.types.is_boolean(column.type):
        values = _floats(column)
    else:
        text = as_text(column, target)
        is_missing = pc.is_in(pc.utf8_trim_whitespace(text), pa.array(["", *missing], pa.string()))
        text = pc.if_else(is_missing, pa.scalar(None, pa.string()), text)
        values = _numbers(text, target, first_row, " is the target of a regression")
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    return _without(values, (float(text) for text in missing if is_float(text)))


def is_unlabelled(labels: pa.ChunkedArray, missing: Iterable[str]) -> pa.ChunkedArray:
    """Return which labels are null, blank, or one of the texts that mean a missing value."""
    trimmed = pc.fill_null(pc.utf8_trim_whitespace(labels), "")
    return pc.is_in(trimmed, pa.array(["", *missing], pa.string()))
