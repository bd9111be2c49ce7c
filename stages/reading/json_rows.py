"""Reading JSON: one object a line, or an array of objects."""

import codecs
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.project.side_by_side import results_in_order
from unlearn.stages.reading.dataset_files import open_file
from unlearn.stages.reading.plain_json import PlainLines

#: Rows of a batch.
_BATCH_ROWS = 16_384

#: Bytes that are read at a time.
_CHUNK_BYTES = 1 << 20

#: A longer row is not read: a small compressed file can have one that fills the memory.
_MOST_ROW_BYTES = 16 << 20

#: Stands for a list or an object, which no column that is read may have.
_NESTED: Final = ("nested",)

_Value = str | tuple[str] | None
_Row = dict[str, _Value]

#: Returns the columns to read, of all those that there are.
Choose = Callable[[Collection[str]], list[str]]


class _Item(Facts):
    """An item of an array, which messages call so."""

    @property
    def _row(self) -> str:
        return f"item {self.row}"


def read_json(
    path: Path, name: str, choose: Choose, nested: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield the rows of a JSON file: one object a line, or an array of objects.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    choose
        Returns the columns to read, of all those that there are.
    nested
        Columns whose lists and objects are read, as JSON text.

    Returns
    -------
    iterator of pyarrow.Table
        String columns: numbers are the text that was written. Any other column of a batch that has
        lists or objects is a list column, without their content.

    Raises
    ------
    InputError
        If the file is not readable; the error names the line or the item.
    """
    with _readable(name):
        read = _items_of if is_array_file(path) else _lines_of
        yield from read(path, name, choose, frozenset(nested))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text", facts=Facts(file=name)) from None
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{name} is not readable", facts=Facts(file=name)) from None


class _Columns:
    """The columns of all rows: writers leave fields out where they have no value."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self.rows = self._nested = 0

    def see(self, row: _Row) -> None:
        self._names.update(dict.fromkeys(row))
        self.rows += 1
        self._nested += bool(row) and all(value is _NESTED for value in row.values())

    def see_plain(self, names: list[str], rows: int) -> None:
        self._names.update(dict.fromkeys(names))
        self.rows += rows

    def chosen(self, name: str, choose: Choose) -> list[str]:
        if self.rows == self._nested == 1:
            raise InputError(
                f"{name} has one object, whose fields are lists or objects",
                "write an array of objects, one a row: to_json(orient='records') of pandas does",
                facts=Facts(file=name),
            )
        return choose(self._names)


def _items_of(path: Path, name: str, choose: Choose, nested: frozenset[str]) -> Iterator[pa.Table]:
    """Yield the rows of an array."""

    def rows() -> Iterator[_Row]:
        with open_file(path) as handle:
            for number, item in enumerate(_items(handle, name), start=1):
                yield _row(item, _Item(file=name, row=number), nested)

    # A first pass for the columns.
    columns = _Columns()
    for row in rows():
        columns.see(row)
    if columns.rows:
        yield from _tables(rows(), columns.chosen(name, choose), name)


def _lines_of(path: Path, name: str, choose: Choose, nested: frozenset[str]) -> Iterator[pa.Table]:
    """Yield the rows of a file with one object a line."""
    columns = _Columns()
    plain: list[list[str] | None] = []
    for piece in line_pieces(path, name):
        plain.append(fields := piece.plain().fields)
        if fields is not None:
            columns.see_plain(fields, piece.plain().rows)
        else:
            for row in piece.rows(nested):
                columns.see(row)
    if columns.rows == 0:
        return
    chosen = columns.chosen(name, choose)

    def tables(item: tuple[_Piece, list[str] | None]) -> list[pa.Table]:
        piece, fields = item
        found = None if fields is None else piece.plain(fields).table(chosen)
        return list(_tables(piece.rows(nested), chosen, name)) if found is None else [found]

    # A file that changes meanwhile is refused when it was read.
    for some in results_in_order(tables, zip(line_pieces(path, name), plain, strict=False)):
        yield from some


@dataclass(frozen=True)
class _Piece:
    """Some lines of a file.

    Parameters
    ----------
    text
        Whole lines; the file's last one may have no line feed.
    name, first
        The file, and the number of the first line in it.
    """

    text: bytes
    name: str
    first: int

    def plain(self, known_fields: list[str] | None = None) -> PlainLines:
        """Return the lines, if they are plain; none of them, if a row may be too long."""
        text = self.text if self.text.endswith(b"\n") else self.text + b"\n"
        return PlainLines(b"" if len(text) > _MOST_ROW_BYTES else text, known_fields)

    def rows(self, nested: frozenset[str]) -> Iterator[_Row]:
        """Yield the rows as Python parses them."""
        # Not splitlines: an unusual line separator inside a JSON string is no line end.
        for number, line in enumerate(self.text.split(b"\n"), start=self.first):
            where = Facts(file=self.name, line=number)
            if len(line) >= _MOST_ROW_BYTES:
                raise _too_long(where)
            text = line.decode()
            if text.strip(" \t\r\n"):
                yield _row(_parse(text, where), where, nested)


def line_pieces(path: Path, name: str) -> Iterator[_Piece]:
    """Yield the text of a file in pieces of whole lines, without a byte order mark."""
    first = 1
    with open_file(path) as handle:
        while text := handle.read(_CHUNK_BYTES):
            if not text.endswith(b"\n"):
                text += handle.readline(_MOST_ROW_BYTES + 1)
            yield _Piece(text.removeprefix(codecs.BOM_UTF8) if first == 1 else text, name, first)
            first += text.count(b"\n")


def _tables(rows: Iterator[_Row], columns: list[str], name: str) -> Iterator[pa.Table]:
    while batch := list(itertools.islice(rows, _BATCH_ROWS)):
        yield _table(batch, columns, name)


def is_array_file(path: Path) -> bool:
    """Return whether a .json file begins with a bracket; the others have objects line by line."""
    if ".json" not in path.suffixes[-2:]:
        return False
    with open_file(path) as handle:
        start = handle.read(_CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith(b"[")


def _too_long(where: Facts) -> InputError:
    return InputError(f"{where}: a row has more than {_MOST_ROW_BYTES >> 20} MB", facts=where)


class _RepeatedFieldError(Exception):
    """A field stands twice in an object."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise _RepeatedFieldError
    return row


class _Number(str):
    """A number as it was written, which is no text within a list or an object."""

    __slots__ = ()


#: Numbers stay the text that was written.
_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, object_pairs_hook=_no_repeats)


def _repeated(where: Facts) -> InputError:
    return InputError(f"{where}: a field stands twice", facts=where)


def _parse(line: str, where: Facts) -> Any:
    try:
        return _DECODER.decode(line)
    except _RepeatedFieldError:
        raise _repeated(where) from None
    except (json.JSONDecodeError, RecursionError):
        raise _unreadable(where) from None


def _unreadable(where: Facts) -> InputError:
    return InputError(
        f"{where}: not readable as JSON",
        "write each object on one line, or an array of objects into a .json file",
        facts=where,
    )


def array_parts(handle: BinaryIO, name: str) -> Iterator[tuple[str, str | None]]:
    """Yield the text of an array in parts, some of the file at a time.

    Parameters
    ----------
    handle, name
        The file, and what errors call it.

    Returns
    -------
    iterator of tuple
        For each item, what is between the item before and it, and its own text. At last, what is
        after all items, and None. A byte order mark is left out.

    Raises
    ------
    InputError
        If the file is not an array of objects.
    """
    text = _Text(handle, keep=True)
    for _ in _parsed(text, name):
        before, item = text.between, text.taken()
        yield before, item
    yield text.taken(), None


def _items(handle: BinaryIO, name: str) -> Iterator[Any]:
    """Yield the items of an array, some of the file at a time."""
    return _parsed(_Text(handle), name)


def _parsed(text: "_Text", name: str) -> Iterator[Any]:
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
    """The text of a JSON file that was not parsed yet, and with `keep` what was not taken yet."""

    def __init__(self, handle: BinaryIO, *, keep: bool = False) -> None:
        self._handle, self._keep = handle, keep
        #: What was between the item before and this one.
        self.between = ""
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._from, self._at = "", 0, 0

    def _more(self) -> bool:
        # As much again as there is: a long value is not parsed at every megabyte of it.
        rest = len(self._text) - self._at
        chunk = self._handle.read(max(_CHUNK_BYTES, rest))
        self._from = self._from if self._keep else self._at
        self._text = self._text[self._from :] + self._decode.decode(chunk, final=not chunk)
        self._from, self._at = 0, self._at - self._from
        return bool(chunk)

    def taken(self) -> str:
        """Return the text that was parsed or passed over since the last call, if it is kept."""
        found = self._text[self._from : self._at]
        self._from = self._at
        return found

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
        self.between = self.taken() if self._keep else ""
        while True:
            try:
                found, self._at = _DECODER.raw_decode(self._text, self._at)
            except _RepeatedFieldError:
                raise _repeated(where) from None
            except RecursionError:
                raise _unreadable(where) from None
            except json.JSONDecodeError:
                if len(self._text) - self._at > _MOST_ROW_BYTES:
                    raise _too_long(where) from None
                if not self._more():
                    raise _unreadable(where) from None
            else:
                return found


def _row(value: Any, where: Facts, nested: frozenset[str]) -> _Row:
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object", facts=where)
    return {
        field: _json_text(item)
        if field in nested and isinstance(item, (list, dict))
        else _value(item)
        for field, item in value.items()
    }


def _json_text(value: Any) -> str:
    """Return a list or an object as JSON text, with its numbers as they were written."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)}:{_json_text(item)}" for key, item in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_json_text, value))}]"
    return value if isinstance(value, _Number) else json.dumps(value)


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
