"""The search of one file: its bytes, and whatever can be opened in it."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.scan.array_copies import ForgottenArrays
from unlearn.stages.scan.containers import (
    UnreadableError,
    chunks,
    closed_format,
    database_values,
    head,
    is_database,
    members,
    seekable,
    table,
)
from unlearn.stages.scan.patterns import Patterns
from unlearn.stages.scan.search import Found, Search

#: What findings call a picture, or another array, by its content.
ARRAY = "a picture or array of a forgotten record"
_CONTENT = "its content"

#: The form of a value that a file's name has.
ITS_NAME = "its name"

#: Archives within archives are opened so deep.
_MOST_LEVELS = 6


@dataclass
class FileSearch:
    """Searches files; made once for a scan.

    Parameters
    ----------
    patterns
        What is searched for.
    scratch
        A folder for copies of members of archives; the caller deletes it.
    holds_rows
        Tells whether a file is a table with rows that are searched for; None if it may be one, and
        cannot be read.
    arrays
        Pictures and arrays that are searched for by their content.
    """

    patterns: Patterns
    scratch: Path
    holds_rows: Callable[[Path], bool | None] = lambda _path: False
    arrays: ForgottenArrays = field(default_factory=ForgottenArrays)
    _bytes: Search = field(init=False)
    _cells: Search = field(init=False)

    def __post_init__(self) -> None:
        self._bytes = Search(self.patterns.in_bytes)
        self._cells = Search(self.patterns.in_cells)

    def search(self, source: IO[bytes], name: str, path: Path | None = None) -> "FileResult":
        """Search a file, and what is in it.

        Parameters
        ----------
        source
            The file. It must be possible to seek in it.
        name
            What the result calls it.
        path
            Where it is; None for the content of something else.
        """
        result = FileResult()
        if path is not None:
            # Names of members are in the bytes of their archive, and git's of files in its trees.
            values = self._bytes.stream([name.encode("utf-8", "surrogateescape")])
            result.add(name, Counter({(what, ITS_NAME): n for (what, _), n in values.items()}))
        self._search(source, name, result, level=0, path=path)
        return result

    def _search(
        self,
        source: IO[bytes],
        name: str,
        result: "FileResult",
        level: int,
        path: Path | None = None,
    ) -> None:
        start = head(source)
        if (kind := closed_format(start)) is not None:
            result.unread[name] = f"{kind} cannot be opened"
        try:
            result.add(name, self._bytes.stream(chunks(source)))
            self._search_rows(source, name, result, path)
            result.add_arrays(name, self.arrays.in_file(source, start))
            source.seek(0)
            self._search_inside(source, name, start, result, level)
        except UnreadableError as error:
            result.unread[name] = str(error)
        except Exception as error:  # noqa: BLE001 - of a hostile file: it is named, others go on
            result.unread[name] = f"it cannot be read to its end ({type(error).__name__})"

    def _search_rows(
        self, source: IO[bytes], name: str, result: "FileResult", path: Path | None
    ) -> None:
        if path is None:
            copy = self.scratch / "content"
            source.seek(0)
            with copy.open("wb") as out:
                shutil.copyfileobj(source, out)
            holds = self.holds_rows(copy)
            copy.unlink()
        else:
            holds = self.holds_rows(path)
        if holds:
            result.rows.append(name)
        elif holds is None:
            result.unread[name] = "it may be an older dataset, and cannot be read"

    def _search_inside(
        self, source: IO[bytes], name: str, start: bytes, result: "FileResult", level: int
    ) -> None:
        if (batches := table(source, start)) is not None:
            for batch in batches:
                for column in batch.columns:
                    result.add(name, self._search_column(column))
                    result.add_arrays(name, self.arrays.in_column(column))
        elif is_database(start):
            for value in database_values(source, self.scratch):
                result.add(name, self._bytes.stream([value]))
                result.add_arrays(name, self.arrays.in_value(value))
        else:
            for member, opened in members(source, start):
                inside = f"{name}/{member}"
                if level == _MOST_LEVELS:
                    raise UnreadableError(f"an archive within {_MOST_LEVELS} others")
                try:
                    with opened() as stream, seekable(stream, self.scratch) as copy:
                        self._search(copy, inside, result, level + 1)
                except UnreadableError as error:
                    result.unread[inside] = str(error)

    def _search_column(self, column: pa.Array) -> Found:
        found: Found = Counter()
        for array in _leaves(column):
            if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
                found.update(self._search_numbers(array))
            elif (cells := _cells(array)) is not None:
                found.update(self._cells.cells(*cells))
        return found

    def _search_numbers(self, array: pa.Array) -> Found:
        found: Found = Counter()
        for number, name in self.patterns.numbers.items():
            try:
                same = pc.equal(array, pa.scalar(number).cast(array.type))
            except pa.ArrowInvalid:
                continue  # no number of this type
            if count := pc.sum(same).as_py():
                found[name, "a number"] += count
        return found


@dataclass
class FileResult:
    """What the search of a file came to.

    Parameters
    ----------
    found
        What was found, by the file or the member of it. A member's name begins with the file's.
    unread
        Why a file or a member could not be opened.
    rows
        Files or members that hold rows that are searched for.
    """

    found: dict[str, Found] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)

    def add(self, name: str, found: Found) -> None:
        """Add what was found in a file or a member."""
        if found:
            self.found.setdefault(name, Counter()).update(found)

    def add_arrays(self, name: str, count: int) -> None:
        """Add how many pictures or arrays were found in a file or a member by their content."""
        self.add(name, Counter({(ARRAY, _CONTENT): count} if count else {}))


def _leaves(array: pa.Array) -> Iterator[pa.Array]:
    """Yield the arrays of plain values within an array."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        yield from _leaves(array.storage)
    elif pa.types.is_dictionary(kind):
        yield from _leaves(array.dictionary)
    elif pa.types.is_run_end_encoded(kind):
        yield from _leaves(array.values)
    elif pa.types.is_struct(kind) or pa.types.is_union(kind):
        for number in range(kind.num_fields):
            yield from _leaves(array.field(number))
    elif pa.types.is_map(kind):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif pa.types.is_nested(kind) and hasattr(array, "flatten"):
        yield from _leaves(array.flatten())
    else:
        yield array


def _cells(array: pa.Array) -> tuple[bytes, npt.NDArray[np.int64]] | None:
    """Return the bytes of all cells, and where each begins; None for cells of other types."""
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        width, data = kind.byte_width, array.buffers()[1]
        begin, size = array.offset * width, len(array) * width
        bounds = np.arange(len(array) + 1, dtype=np.int64) * width
        return bytes(memoryview(data)[begin : begin + size]) if size else b"", bounds
    if pa.types.is_string_view(kind) or pa.types.is_string(kind):
        array = array.cast(pa.large_string())
    elif pa.types.is_binary_view(kind) or pa.types.is_binary(kind):
        array = array.cast(pa.large_binary())
    if not (pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)):
        return None
    _, ends, data = array.buffers()
    if data is None or len(array) == 0:
        return None
    bounds = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    first, last = int(bounds[0]), int(bounds[-1])
    return bytes(memoryview(data)[first:last]), bounds - first
