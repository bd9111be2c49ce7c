"""The text of CSV files: their encoding and compression, and the fields of a record."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from unlearn.stages.config.dataset import CsvParams, Encoding
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.dataset_files import is_tab_separated, open_file
from unlearn.stages.reading.reading import Reading

#: What messages call delimiters and decimal marks.
MARK_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", ".": "point"}

_CHUNK_BYTES = 1 << 20


def format_of(path: Path, reading: Reading) -> CsvParams:
    """Return how a file is written."""
    found = reading.csv or CsvParams()
    if found.delimiter == "," and is_tab_separated(path):
        return found.model_copy(update={"delimiter": "\t"})
    return found


def not_utf8(name: str, *why: str) -> InputError:
    """Return the error for bytes that are no UTF-8."""
    hint = "if it has another encoding: --encoding of `unlearn init` or `predict`, such as cp1252"
    return InputError(f"{name} is not UTF-8 text", *why, hint, facts=Facts(file=name))


def read_text(path: Path, name: str, encoding: Encoding, size: int) -> Iterator[bytes]:
    """Yield a file's text as UTF-8, without a byte order mark; gzip is decompressed.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    encoding
        Its encoding. UTF-8 is passed on as it is, valid or not.
    size
        How many bytes to read at a time.

    Raises
    ------
    InputError
        If the file is not in this encoding, or its compression is damaged.
    """
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    is_first = True
    try:
        with open_file(path) as source:
            while chunk := source.read(size):
                text = chunk if decoder is None else decoder.decode(chunk).encode()
                if is_first and text:
                    text, is_first = text.removeprefix(codecs.BOM_UTF8), False
                if text:
                    yield text
            if decoder is not None:
                decoder.decode(b"", final=True)
    except UnicodeError:
        raise InputError(f"{name} is not {encoding} text", facts=Facts(file=name)) from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{name} is not readable as gzip", facts=Facts(file=name)) from None


def is_other_utf8(path: Path) -> bool:
    """Return whether a file is UTF-8 text with characters that are not ASCII.

    Text in an encoding of one byte a character is hardly ever valid UTF-8 by chance.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_ascii = True
    try:
        with open_file(path) as source:
            while chunk := source.read(_CHUNK_BYTES):
                decoder.decode(chunk)
                is_ascii = is_ascii and chunk.isascii()
            decoder.decode(b"", final=True)
    except (UnicodeError, gzip.BadGzipFile, EOFError, zlib.error):
        return False
    return not is_ascii


def fields_of(record: str, delimiter: str, quote: str = '"') -> list[str]:
    """Return the values of a record whose quotes are in their places.

    Parameters
    ----------
    record
        The record, with or without its line end.
    delimiter, quote
        The fields of `CsvParams`.
    """
    if quote == "none":
        return record.rstrip("\r\n").split(delimiter)
    values: list[str] = []
    part = ""
    for field in record.rstrip("\r\n").split(delimiter):
        part += field
        if part.count(quote) % 2:
            part += delimiter  # the delimiter is in quotes
            continue
        is_quoted = part.startswith(quote)
        values.append(part[1:-1].replace(quote * 2, quote) if is_quoted else part)
        part = ""
    return values
