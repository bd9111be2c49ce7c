"""Files that are something else than their names say, found from their first bytes."""

from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.dataset_files import has_types

_START_BYTES = 512


@dataclass(frozen=True)
class _Content:
    """What a file is, and what to do about it."""

    what: str
    hint: str


_EXPORT = "export the table as CSV in UTF-8, or as Parquet"

#: What text files never begin with.
_BINARY: dict[bytes, _Content] = {
    b"\x1f\x8b": _Content("compressed with gzip", "add .gz to its name"),
    b"PK\x03\x04": _Content("an Excel workbook or a zip archive", _EXPORT),
    b"\xd0\xcf\x11\xe0": _Content("an Excel workbook", _EXPORT),
    b"PAR1": _Content("a Parquet file", "name it .parquet"),
    b"ARROW1": _Content("an Arrow file", "name it .arrow"),
    b"\x28\xb5\x2f\xfd": _Content("compressed with zstd", "decompress it"),
    b"BZh": _Content("compressed with bzip2", "decompress it"),
    b"\xfd7zXZ": _Content("compressed with xz", "decompress it"),
    b"SQLite format 3": _Content("an SQLite database", _EXPORT),
    b"%PDF-": _Content("a PDF document", _EXPORT),
}

#: What tables in text never begin with, in lower case.
_TEXT: dict[bytes, _Content] = {
    b"<!doctype": _Content("a web page", "is it the page that asks for a login? download it again"),
    b"<html": _Content("a web page", f"download it again, or open it and {_EXPORT}"),
    b"<?xml": _Content("XML", _EXPORT),
    b"version https://git-lfs": _Content(
        "a pointer of Git LFS, without the rows", "`git lfs pull` fetches the file"
    ),
}


def refuse_other_content(path: Path, name: str) -> None:
    """Raise an InputError if a file cannot be opened, or is something else than its name says.

    Parameters
    ----------
    path, name
        A file of a dataset, and what errors call it.
    """
    with path.open("rb") as handle:
        start = handle.read(_START_BYTES)
    if path.name.lower().endswith(".gz"):
        return
    known = [found for first, found in _BINARY.items() if start.startswith(first)]
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    known += [found for first, found in _TEXT.items() if text.startswith(first)]
    # Formats with types check their first bytes themselves.
    if known and (not has_types(path) or known[0].what.startswith("a pointer")):
        raise InputError(
            f"{name} is {known[0].what}, not what its name says",
            known[0].hint,
            facts=Facts(file=name),
        )
