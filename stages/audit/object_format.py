"""The format of an object of DVC's cache or a remote, which has no name with an ending."""

import codecs
import gzip
import itertools
import json
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc
from unlearn.stages.config.dataset import CsvParams, Delimiter, Quote
from unlearn.stages.reading.csv_text import fields_of

_PARQUET_START = b"PAR1"
_ARROW_START = b"ARROW1"
#: The length of the first message of an Arrow stream follows these bytes.
_STREAM_START = b"\xff\xff\xff\xff"
_GZIP_START = b"\x1f\x8b"
_ZIP_START = b"PK\x03\x04"
_PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_SNIFF_BYTES = 1 << 16


def ending_of_object(path: Path, id_column: str, csv: CsvParams | None = None) -> str | None:
    """Return the ending that a file of this content would have as a dataset.

    Parameters
    ----------
    path
        The object.
    id_column
        The column of record ids, which any version of the dataset has.
    csv
        How the dataset's CSV files are written; other formats are tried as well.

    Returns
    -------
    str or None
        One of `unlearn.stages.reading.dataset_files.FORMATS`; `.parquet` for every Parquet file;
        None if it cannot be a version of the dataset.
    """
    csv = csv or CsvParams()
    with path.open("rb") as handle:
        head = handle.read(_SNIFF_BYTES)
    if head.startswith(_PICTURE_STARTS):
        return None  # a dataset can have very many
    if head.startswith(_PARQUET_START):
        return ".parquet"
    if head.startswith((_ARROW_START, _STREAM_START)):
        return ".arrow" if id_column in _arrow_columns(path) else None
    if head.startswith(_ZIP_START):
        return ".npz" if f"{id_column}.npy" in _names_in_zip(path) else None
    if head.startswith(_GZIP_START):
        ending = _ending_of_text(_decompressed(path), id_column, csv)
        return None if ending is None else f"{ending}.gz"
    return _ending_of_text(head, id_column, csv)


def has_column(path: Path, column: str) -> bool:
    """Return whether a Parquet file has a column; False if it is not readable."""
    try:
        return column in pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        return False


def _arrow_columns(path: Path) -> list[str]:
    with pa.memory_map(str(path)) as source:
        try:
            return list(ipc.open_file(source).schema.names)
        except (pa.ArrowInvalid, OSError):
            source.seek(0)
        try:
            return list(ipc.open_stream(source).schema.names)
        except (pa.ArrowInvalid, OSError):
            return []


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def _decompressed(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as handle:
            return handle.read(_SNIFF_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def _ending_of_text(head: bytes, id_column: str, csv: CsvParams) -> str | None:
    is_wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    wide = "utf-16" if is_wide else csv.encoding
    for name in dict.fromkeys(("utf-8-sig", wide)):
        found = _ending_of_line(head.decode(name, "replace"), id_column, csv)
        if found is not None:
            return found
    return None


def _ending_of_line(text: str, id_column: str, csv: CsvParams) -> str | None:
    if text.lstrip().startswith("["):
        item = text.lstrip()[1:].lstrip()
        return ".json" if id_column in _fields_of_item(item) else None
    line = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    if id_column in _json_fields(line):
        return ".jsonl"
    headers = itertools.product(get_args(Delimiter), get_args(Quote))
    if any(id_column in fields_of(line, delimiter, quote) for delimiter, quote in headers):
        return ".csv"
    # Without a header, the number of fields is all that is known.
    fields = fields_of(line, csv.delimiter, csv.quote)
    return ".csv" if csv.columns is not None and len(fields) == len(csv.columns) else None


def _fields_of_item(text: str) -> Collection[str]:
    """Return the fields of the first item of an array, if it is an object."""
    try:
        row, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return ()
    return row if isinstance(row, dict) else ()


def _json_fields(line: str) -> Collection[str]:
    """Return the fields of the first line, if it is a JSON object as in JSONL."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    return row if isinstance(row, dict) else ()
