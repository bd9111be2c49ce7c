"""The text of CSV files: their encoding, and their format as `init` finds it."""

import codecs
import gzip
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import cast, get_args

from unlearn.stages.config.dataset import CsvParams, Delimiter, Encoding
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.rows.dataset_files import is_tab_separated, open_file
from unlearn.stages.rows.reading import Reading

_SAMPLE_BYTES = 1 << 20


def format_of(path: Path, reading: Reading) -> CsvParams:
    """Return how a file is written."""
    found = reading.csv or CsvParams()
    if found.delimiter == "," and is_tab_separated(path):
        return found.model_copy(update={"delimiter": "\t"})
    return found


def not_utf8(name: str, *why: str) -> InputError:
    """Return the error for bytes that are no UTF-8."""
    hint = "if it has another encoding: --encoding of `unlearn init`, such as cp1252 or utf-16"
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


def find_format(
    path: Path, name: str, columns: Collection[str], known: Mapping[str, str]
) -> CsvParams:
    """Return how a file is written, from its first row.

    Parameters
    ----------
    path, name
        The file, and what errors call it.
    columns
        Columns that it must have. The delimiter is the one by which the first row names them.
    known
        Fields of `CsvParams` that the user chose.

    Raises
    ------
    InputError
        If the file is not readable in its encoding.
    """
    encoding = cast("Encoding", known.get("encoding") or _encoding(path))
    head = next(read_text(path, name, encoding, _SAMPLE_BYTES), b"").decode(errors="replace")
    first = next((line for line in head.splitlines() if line), "")
    found = {mark: fields_of(first, mark) for mark in get_args(Delimiter)}
    fitting = [mark for mark, fields in found.items() if set(columns) <= set(fields)]
    # With none, the error about a missing column lists what most likely are the columns.
    delimiter = known.get("delimiter") or (
        fitting[0] if fitting else max(found, key=lambda mark: len(found[mark]))
    )
    return CsvParams.model_validate({**known, "delimiter": delimiter, "encoding": encoding})


def _encoding(path: Path) -> Encoding:
    try:
        with open_file(path) as source:
            start = source.read(2)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        start = b""
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"


def fields_of(record: str, delimiter: str) -> list[str]:
    """Return the values of a record whose quotes are in their places."""
    values: list[str] = []
    part = ""
    for field in record.rstrip("\r\n").split(delimiter):
        part += field
        if part.count('"') % 2:
            part += delimiter  # the delimiter is in quotes
            continue
        values.append(part[1:-1].replace('""', '"') if part.startswith('"') else part)
        part = ""
    return values
