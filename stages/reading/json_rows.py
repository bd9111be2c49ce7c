"""Reading JSON: one object a line, or an array of objects."""

import codecs
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.dataset_files import open_file

#: Rows of a batch.
_BATCH_ROWS = 16_384

#: Bytes of an array that are read at a time.
_CHUNK_BYTES = 1 << 20

#: A longer row is not read: a small compressed file can have one that fills the memory.
_MOST_ROW_BYTES = 16 << 20

#: Stands for a list or an object, which no column that is read may have.
_NESTED: Final = ("nested",)

_Value = str | tuple[str] | None
_Row = dict[str, _Value]


class _Item(Facts):
    """An item of an array, which messages call so."""

    @property
    def _row(self) -> str:
        return f"item {self.row}"


def read_json(
    path: Path, name: str, choose: Callable[[Collection[str]], list[str]]
) -> Iterator[pa.Table]:
    """Yield the rows of a JSON file: one object a line, or an array of objects.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    choose
        Returns the columns to read, of all those that there are.

    Returns
    -------
    iterator of pyarrow.Table
        String columns: numbers are the text that was written. A column of a batch that has lists or
        objects is a list column, without their content.

    Raises
    ------
    InputError
        If the file is not readable; the error names the line or the item.
    """
    # A first pass for the columns: writers leave fields out where they have no value.
    columns: dict[str, None] = {}
    count, nested = 0, 0
    for row in _rows(path, name):
        columns.update(dict.fromkeys(row))
        count += 1
        nested += bool(row) and all(value is _NESTED for value in row.values())
    if count == 0:
        return
    if count == nested == 1:
        raise InputError(
            f"{name} has one object, whose fields are lists or objects",
            "write an array of objects, one a row: to_json(orient='records') of pandas does",
            facts=Facts(file=name),
        )
    chosen = choose(columns)
    rows = _rows(path, name)
    while batch := list(itertools.islice(rows, _BATCH_ROWS)):
        yield _table(batch, chosen, name)


def _rows(path: Path, name: str) -> Iterator[_Row]:
    try:
        with open_file(path) as handle:
            if _is_array(path, handle):
                for number, item in enumerate(_items(handle, name), start=1):
                    yield _row(item, _Item(file=name, row=number))
                return
        with open_file(path) as handle:
            for number, line in enumerate(_lines(handle, name), start=1):
                if line.strip(" \t\r\n"):
                    where = Facts(file=name, line=number)
                    yield _row(_parse(line, where), where)
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text", facts=Facts(file=name)) from None
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{name} is not readable", facts=Facts(file=name)) from None


def _is_array(path: Path, handle: BinaryIO) -> bool:
    """Return whether a .json file begins with a bracket; the others have objects line by line."""
    if ".json" not in path.suffixes[-2:]:
        return False
    start = handle.read(_CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
    handle.seek(0)
    return start.startswith(b"[")


def _lines(handle: BinaryIO, name: str) -> Iterator[str]:
    # Not text mode: an unusual line separator inside a JSON string is no line end.
    index = 0
    while line := handle.readline(_MOST_ROW_BYTES + 1):
        if len(line) > _MOST_ROW_BYTES:
            raise _too_long(Facts(file=name, line=index + 1))
        yield line.decode("utf-8" if index else "utf-8-sig")
        index += 1


def _too_long(where: Facts) -> InputError:
    return InputError(f"{where}: a row has more than {_MOST_ROW_BYTES >> 20} MB", facts=where)


def _decoder(where: Facts) -> json.JSONDecoder:
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) != len(pairs):
            raise InputError(f"{where}: a field stands twice", facts=where)
        return row

    # Numbers stay the text that was written.
    return json.JSONDecoder(parse_int=str, parse_float=str, object_pairs_hook=no_repeats)


def _parse(line: str, where: Facts) -> Any:
    try:
        return _decoder(where).decode(line)
    except (json.JSONDecodeError, RecursionError):
        raise _unreadable(where) from None


def _unreadable(where: Facts) -> InputError:
    return InputError(
        f"{where}: not readable as JSON",
        "write each object on one line, or an array of objects into a .json file",
        facts=where,
    )


def _items(handle: BinaryIO, name: str) -> Iterator[Any]:
    """Yield the items of an array, some of the file at a time."""
    text = _Text(handle)
    text.expect("[", Facts(file=name))
    for number in itertools.count(1):
        where = _Item(file=name, row=number)
        if number == 1 and text.next() == "]":
            break
        yield text.value(where)
        if text.next() == "]":
            break
        text.expect(",", where)
    text.expect("]", Facts(file=name))
    if text.next():
        raise InputError(
            f"{name}: there is text after the end of the array", facts=Facts(file=name)
        )


class _Text:
    """The text of a JSON file that was not parsed yet."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0

    def _more(self) -> bool:
        # As much again as there is: a long value is not parsed at every megabyte of it.
        rest = len(self._text) - self._at
        chunk = self._handle.read(max(_CHUNK_BYTES, rest))
        self._text = self._text[self._at :] + self._decode.decode(chunk, final=not chunk)
        self._at = 0
        return bool(chunk)

    def next(self) -> str:
        """Return the next character that is no space, without taking it; empty at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in " \t\r\n":
                    return character
                self._at += 1
            if not self._more():
                return ""

    def expect(self, character: str, where: Facts) -> None:
        """Take a character that must be there."""
        if self.next() != character:
            raise _unreadable(where)
        self._at += 1

    def value(self, where: Facts) -> Any:
        """Take an object."""
        if self.next() != "{":
            raise InputError(f"{where}: not a JSON object", facts=where)
        while True:
            try:
                found, self._at = _decoder(where).raw_decode(self._text, self._at)
            except RecursionError:
                raise _unreadable(where) from None
            except json.JSONDecodeError:
                if len(self._text) - self._at > _MOST_ROW_BYTES:
                    raise _too_long(where) from None
                if not self._more():
                    raise _unreadable(where) from None
            else:
                return found


def _row(value: Any, where: Facts) -> _Row:
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object", facts=where)
    return {field: _value(item) for field, item in value.items()}


def _value(value: Any) -> _Value:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):  # NaN and Infinity, which parse_float does not see
        return None if value != value else str(value)  # noqa: PLR0124 - the NaN test itself
    return value if isinstance(value, str) else _NESTED


def _table(rows: Collection[_Row], columns: list[str], name: str) -> pa.Table:
    try:
        return pa.table({column: _array([row.get(column) for row in rows]) for column in columns})
    except (pa.ArrowInvalid, UnicodeEncodeError):
        raise InputError(
            f"{name}: a text value is not valid Unicode", facts=Facts(file=name)
        ) from None


def _array(values: list[_Value]) -> pa.Array:
    if _NESTED in values:
        return pa.array([[] if value is _NESTED else None for value in values], pa.list_(pa.null()))
    return pa.array(values, pa.string())
