"""Formats that are not read, and what to do about each."""

from dataclasses import dataclass
from pathlib import Path, PurePath

_EXPORT = "export the table as CSV in UTF-8, or write it as Parquet"
_DECOMPRESS = "decompress it, or compress it with gzip"
_RENAME = "if it is a table in text, rename it to .csv: `unlearn init` finds the delimiter"

#: What to do about a file, by the ending of its name.
_WAYS_OUT: dict[str, str] = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), _EXPORT),
    **dict.fromkeys((".zst", ".zstd", ".bz2", ".xz", ".lz4", ".br", ".snappy"), _DECOMPRESS),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), "unpack it"),
    **dict.fromkeys((".txt", ".dat", ".data", ".psv", ".tab", ".asc"), _RENAME),
    **dict.fromkeys(
        (".sas7bdat", ".xpt", ".sav", ".dta", ".rds", ".rdata", ".mat", ".pkl", ".pickle"),
        "write it as Parquet with the program that it is from, or with pandas",
    ),
    **dict.fromkeys(
        (".orc", ".avro", ".h5", ".hdf5", ".lance"),
        "write it as Parquet, for example with pandas",
    ),
    ".npy": "write it as .npz, with a name for each array: numpy.savez(path, x=x, id=ids)",
    **dict.fromkeys(
        (".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".ppm", ".svg"),
        "of pictures, PNG and JPEG are read: convert it to PNG",
    ),
    **dict.fromkeys((".sql", ".db", ".sqlite", ".sqlite3", ".duckdb", ".mdb"), _EXPORT),
    **dict.fromkeys((".xml", ".html", ".htm", ".pdf", ".md"), _EXPORT),
}

#: A table whose folder can hold files with rows that are no longer in it, by what it has.
_TABLES = {
    "_delta_log": "a Delta table",
    ".hoodie": "a Hudi table",
    "_spark_metadata": "the output of a Spark stream",
}


def way_out(name: str, *, in_folder: bool) -> list[str]:
    """Return what to do about a file that is not read, as hints.

    Parameters
    ----------
    name
        The file's name.
    in_folder
        Whether other files of the dataset may be read without it.
    """
    ending = PurePath(name).suffix.lower()
    hints = [_WAYS_OUT[ending]] if ending in _WAYS_OUT else []
    if in_folder:
        hints.append("if it has no rows of the dataset, move it to another folder")
    return hints


@dataclass(frozen=True)
class TableFolder:
    """A folder whose files can have rows that are no longer in its table.

    Attributes
    ----------
    kind
        What kind of table it is.
    parts
        The names of the folders that lead to it.
    """

    kind: str
    parts: tuple[str, ...]


def table_of(parts: tuple[str, ...]) -> TableFolder | None:
    """Return the table that a file or folder belongs to, by the names that lead to it."""
    for index, part in enumerate(parts):
        if part in _TABLES:
            return TableFolder(_TABLES[part], parts[:index])
    if parts[-2:-1] == ("metadata",) and parts[-1].endswith(".metadata.json"):
        return TableFolder("an Iceberg table", parts[:-2])
    return None


def table_around(folder: Path) -> str | None:
    """Return the kind of table that a folder is a part of, such as one of its partitions."""
    while "=" in folder.name or folder.name == "data":
        folder = folder.parent
        for marker, kind in _TABLES.items():
            if (folder / marker).is_dir():
                return kind
        if any(folder.glob("metadata/*.metadata.json")):
            return "an Iceberg table"
    return None
