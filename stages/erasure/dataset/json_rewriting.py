"""JSON without some of its rows: the text of all others stays as it is."""

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers, numbers_between
from unlearn.stages.erasure.dataset.text_files import cut, new_text_file
from unlearn.stages.reading.dataset_files import open_file
from unlearn.stages.reading.json_rows import array_parts, is_array_file, line_pieces

#: Which bytes are no spaces of JSON.
_VISIBLE = np.ones(256, np.bool_)
_VISIBLE[list(b" \t\r\n")] = False
_FEED = ord("\n")


def write_json_without(path: Path, name: str, gone: RowNumbers, target: Path) -> None:
    """Write a JSON file without some of its rows.

    Of lines, every other byte is kept. Of an array, every other item is kept with what is between
    it and the item before.

    Parameters
    ----------
    path, name
        A file that `read_batches` reads, and what errors call it.
    gone
        The rows to leave out.
    target
        The new file; its name ends as that of the old one.
    """
    with open_file(path) as source:
        mark = source.read(len(codecs.BOM_UTF8))
    parts = _items_left if is_array_file(path) else _lines_left
    with new_text_file(target) as sink:
        if mark == codecs.BOM_UTF8:
            sink.write(mark)
        for text in parts(path, name, gone):
            sink.write(text)


def _lines_left(path: Path, name: str, gone: RowNumbers) -> Iterator[bytes]:
    first = 0
    for piece in line_pieces(path, name):
        starts, ends = _rows(piece.text)
        rows = numbers_between(gone, first, starts.size)
        yield cut(piece.text, zip(starts[rows].tolist(), ends[rows].tolist(), strict=True))
        first += starts.size


def _rows(text: bytes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where rows begin, and where their lines end; blank lines are no rows."""
    octets = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(octets == _FEED) + 1
    if not ends.size or ends[-1] != octets.size:
        ends = np.append(ends, octets.size)
    starts = np.append(0, ends[:-1])
    # The number of visible bytes before each byte, and before the end.
    before = np.append(0, np.cumsum(_VISIBLE[octets], dtype=np.int64))
    is_row = before[ends] > before[starts]
    return starts[is_row], ends[is_row]


def _items_left(path: Path, name: str, gone: RowNumbers) -> Iterator[bytes]:
    """Yield the text of an array, each item with what is before it."""
    leaving = set(gone.tolist())
    opening = ""
    nothing_left = True
    with open_file(path) as handle:
        for number, (before, item) in enumerate(array_parts(handle, name)):
            if number == 0:
                opening = before
            if item is None:
                yield (opening + before if nothing_left and number else before).encode()
            elif number not in leaving:
                # What is between items has a comma, which the first one left has not before it.
                yield ((opening if nothing_left else before) + item).encode()
                nothing_left = False
