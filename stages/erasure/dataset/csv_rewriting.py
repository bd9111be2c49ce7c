"""CSV without some of its rows: all other bytes stay as they are."""

import codecs
import sys
from collections.abc import Callable
from pathlib import Path

from unlearn.stages.config.dataset import Encoding
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers, numbers_between
from unlearn.stages.erasure.dataset.text_files import cut, new_text_file
from unlearn.stages.reading.csv_reading import csv_pieces
from unlearn.stages.reading.csv_text import format_of
from unlearn.stages.reading.dataset_files import open_file
from unlearn.stages.reading.reading import Reading

_MARK = "\ufeff"
_MOST_MARK_BYTES = 4


def write_csv_without(
    path: Path, name: str, reading: Reading, gone: RowNumbers, target: Path
) -> None:
    """Write a CSV file without some of its rows.

    Every other byte is kept: the header, blank lines, a byte order mark, quotes and line ends. A
    row goes with its line end.

    Parameters
    ----------
    path, name
        A file that `read_batches` reads, and what errors call it.
    reading
        How it is read.
    gone
        The rows to leave out.
    target
        The new file; its name ends as that of the old one.
    """
    csv = format_of(path, reading)
    with open_file(path) as source:
        mark, encoded = _written_as(source.read(_MOST_MARK_BYTES), csv.encoding)
    # Without a header, the first record is the first row.
    first = 0 if csv.columns is not None else -1
    with new_text_file(target) as sink:
        sink.write(mark)
        for piece in csv_pieces(path, name, csv, multiline=reading.multiline):
            rows = numbers_between(gone, first, piece.records)
            spans = ((piece.start_of(row), piece.end_of(row) + 1) for row in rows.tolist())
            sink.write(encoded(cut(piece.text[: piece.end], spans)))
            first += piece.records


def _written_as(start: bytes, encoding: Encoding) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return the marks that a file begins with and readers skip, and what encodes the rest.

    Parameters
    ----------
    start
        The first bytes of the file.
    encoding
        Its encoding. Text in any of these has one encoding only.
    """
    if encoding == "utf-8":
        return start[: len(codecs.BOM_UTF8) * start.startswith(codecs.BOM_UTF8)], lambda text: text
    name: str = encoding
    mark = b""
    if encoding == "utf-16":
        name = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"
        for order, first in (
            ("utf-16-le", codecs.BOM_UTF16_LE),
            ("utf-16-be", codecs.BOM_UTF16_BE),
        ):
            if start.startswith(first):
                name, mark = order, first
    if name.startswith("utf-16"):
        # Of two marks, readers skip the second as well.
        another = _MARK.encode(name)
        mark += another if start[len(mark) :].startswith(another) else b""
    return mark, lambda text: text.decode().encode(name)
