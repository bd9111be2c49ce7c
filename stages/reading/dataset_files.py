"""Which files a dataset consists of, what their endings say, and what their folders' names say."""

import gzip
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast
from urllib.parse import unquote

from unlearn.stages.errors import Facts, InputError
from unlearn.stages.project.paths import NONCE
from unlearn.stages.reading.other_formats import table_around, table_of, way_out

#: How the rows of a file are written.
FileKind = Literal["csv", "parquet", "json", "arrow", "npz"]

#: Kind by ending, in lower case. Text formats may be compressed, with `.gz` at the end.
_KINDS: dict[str, FileKind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".npz": "npz",
    ".csv.gz": "csv",
    ".tsv.gz": "csv",
    ".jsonl.gz": "json",
    ".ndjson.gz": "json",
    ".json.gz": "json",
}

#: File endings that are read, in lower case.
FORMATS = tuple(_KINDS)

#: Endings of pictures that a folder can have beside its tables, in lower case.
PICTURE_FORMATS = (".png", ".jpg", ".jpeg")

#: What Spark, Hadoop, Dask and Databricks write beside the rows, and what people write about them.
_NO_ROWS = re.compile(
    r"_success|_metadata|_common_metadata|_temporary|_(started|committed)_.*"
    # What Amazon EMR writes for a folder, macOS and Windows beside files, and DVC in their place.
    r"|.*_\$folder\$|__macosx|thumbs\.db|desktop\.ini|.*\.dvc"
    r"|readme(\.(md|txt|rst|html?))?",
    re.IGNORECASE,
)

#: Where DVC keeps an object below its cache, which files of a dataset may be links to.
_IN_CACHE = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")

#: What Hive writes for a missing value in a folder's name.
_MISSING_VALUE = "__HIVE_DEFAULT_PARTITION__"


def ending(path: Path) -> str | None:
    """Return the ending of a file's name that `FORMATS` has, in lower case; None if none."""
    name = path.name.lower()
    return max((known for known in FORMATS if name.endswith(known)), key=len, default=None)


def file_kind(path: Path) -> FileKind:
    """Return how the rows of a file of `dataset_files` are written."""
    return _KINDS[ending(path) or ""]


def has_types(path: Path) -> bool:
    """Return whether the columns of a file of `dataset_files` have types of their own."""
    return file_kind(path) in ("parquet", "arrow", "npz")


def is_picture(name: str) -> bool:
    """Return whether the name of a file is that of a PNG or JPEG picture."""
    return name.lower().endswith(PICTURE_FORMATS)


def is_object_of_dvc(path: Path) -> bool:
    """Return whether a path is that of an object below a cache of DVC."""
    return _IN_CACHE.search(path.as_posix()) is not None


def label_of(file: Path, path: Path, name: str) -> str:
    """Return what errors call a file of the dataset `path`, which they call `name`."""
    return name if file == path else f"{name}/{file.relative_to(path).as_posix()}"


def is_tab_separated(path: Path) -> bool:
    """Return whether a CSV file's name says that tabs are its delimiters."""
    return (ending(path) or "").startswith(".tsv")


def open_file(path: Path) -> BinaryIO:
    """Open a file of a text format for reading, decompressed."""
    if path.name.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a dataset.

    Attributes
    ----------
    rows
        Files with rows, in the order of their names.
    skipped
        Names of files that have no rows, relative to the dataset's folder; without our nonce.
    pictures
        Names of pictures, relative to the dataset's folder, in order. They are no files with rows:
        rows name them in a column.
    """

    rows: list[Path]
    skipped: list[str]
    pictures: list[str] = field(default_factory=list)


def dataset_files(path: Path, name: str) -> list[Path]:
    """Return the files of a dataset with rows; see `find_files`."""
    return find_files(path, name).rows


def find_files(path: Path, name: str) -> DatasetFiles:
    """Return the files of a dataset.

    Parameters
    ----------
    path
        A file, or a directory whose files have one of `FORMATS` or of `PICTURE_FORMATS`. Hidden
        files and folders, files that Spark, Hadoop and Dask write beside the rows, and README files
        have no rows.
    name
        What errors call it.

    Raises
    ------
    InputError
        If there is no file with rows, a file of another format, a link to a folder, a picture that
        is a link out of the folder, or a folder whose files can have rows that were deleted.
    """
    _check_name(name)
    if path.is_file():
        _check_format(path, name)
        return DatasetFiles([path], [])
    if not path.is_dir():
        raise InputError(f"{name} does not exist", facts=Facts(file=name))
    if kind := table_around(path.absolute()):
        raise _old_rows(name, kind)
    found = DatasetFiles([], [])
    pictures, everything = _walk(path, name)
    found.pictures.extend(pictures)
    catalogs = _catalogs(everything)
    for file in everything:
        relative = file.relative_to(path)
        table = table_of(relative.parts)
        if table is not None:
            raise _old_rows("/".join((name, *table.parts)), table.kind)
        if any(map(_has_no_rows, relative.parts)) or file in catalogs:
            if not file.is_dir() and file.name != NONCE:
                found.skipped.append(relative.as_posix())
        elif _is_file(file, f"{name}/{relative.as_posix()}"):
            found.rows.append(file)
    if not found.rows:
        raise _without_rows(name, has_pictures=bool(found.pictures))
    return found


def _without_rows(name: str, *, has_pictures: bool) -> InputError:
    if not has_pictures:
        return InputError(f"{name} is a directory without files", facts=Facts(file=name))
    return InputError(
        f"{name} has pictures, but no table that names them",
        "put a table into the folder, such as labels.csv, with a row for each picture: an id, the "
        "path of its file, and its class",
        facts=Facts(file=name),
    )


def refuse_pictures(files: DatasetFiles, name: str) -> None:
    """Raise the InputError about pictures in a dataset that reads none."""
    label = f"{name}/{files.pictures[0]}"
    raise InputError(
        f"{label} is a picture, and no feature in schema.yaml is an image",
        "move pictures that are no part of the dataset to another folder",
        facts=Facts(file=label),
    )


def _walk(path: Path, name: str) -> tuple[list[str], list[Path]]:
    """Return the names of a folder's pictures, and the paths of everything else, both in order.

    A folder may have very many pictures, so no path is made for each.
    """
    pictures: list[str] = []
    others: list[Path] = []
    folders = [("", False)]
    while folders:
        above, is_skipped = folders.pop()
        try:
            with os.scandir(path / above) as entries:
                for entry in entries:
                    place = f"{above}{entry.name}"
                    skipped = is_skipped or _has_no_rows(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((f"{place}/", skipped))
                    elif is_picture(entry.name) and not skipped and entry.is_file():
                        _check_picture(path, entry, f"{name}/{place}")
                        pictures.append(place)
                        continue
                    others.append(path / place)
        except OSError as error:
            label = f"{name}/{above}".removesuffix("/")
            raise InputError(
                f"{label} cannot be read: {error.strerror or 'an error of the file system'}",
                facts=Facts(file=label),
            ) from None
    return sorted(pictures), sorted(others)


def _check_picture(path: Path, entry: "os.DirEntry[str]", label: str) -> None:
    """Raise an InputError if a picture has no readable name, or is a link out of its folder."""
    if not label.isascii():
        _check_name(label)
    if not entry.is_symlink():
        return
    target = Path(entry.path).resolve()
    if not target.is_relative_to(path.resolve()) and not is_object_of_dvc(target):
        raise InputError(
            f"{label} is a link to a file that is not in the folder",
            "put the picture itself into the folder",
            facts=Facts(file=label),
        )


def _is_file(file: Path, label: str) -> bool:
    """Return whether a path of a directory is a file to read, and not a folder.

    Raises
    ------
    InputError
        If it is of another format, or would be passed over: a link to a folder or to nothing.
    """
    _refuse_links(file, label)
    if file.is_dir():
        return False
    _check_name(label)
    _check_format(file, label, in_folder=True)
    return True


def _catalogs(everything: list[Path]) -> set[Path]:
    """Return the files that the library `datasets` writes beside the rows."""
    names = ("dataset_info.json", "state.json")
    found = {file for file in everything if file.name in names}
    return {file for file in found if all(file.with_name(name) in found for name in names)}


def _old_rows(name: str, table: str) -> InputError:
    return InputError(
        f"{name} is of {table}, whose folder can have files with rows that were deleted from it",
        "write the rows of its present version to Parquet files in another folder",
        facts=Facts(file=name),
    )


def _check_name(label: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError:
        shown = label.encode("ascii", "backslashreplace").decode()
        raise InputError(
            f"the name {shown} is not UTF-8", "rename it", facts=Facts(file=shown)
        ) from None


def _refuse_links(file: Path, label: str) -> None:
    """Refuse what would be passed over: links to folders and to nothing, pipes and sockets."""
    if file.is_symlink() and not file.is_file():
        what = "folder, which is not followed" if file.is_dir() else "file that is not there"
        raise InputError(
            f"{label} is a link to a {what}",
            "put the files themselves into the folder",
            facts=Facts(file=label),
        )
    if not file.is_file() and not file.is_dir():
        raise InputError(f"{label} is no regular file", facts=Facts(file=label))


def _has_no_rows(name: str) -> bool:
    """Return whether a file or folder with this name has no rows, whatever is in it."""
    return name.startswith(".") or _NO_ROWS.fullmatch(name) is not None


def _check_format(file: Path, label: str, *, in_folder: bool = False) -> None:
    if ending(file) is None:
        raise InputError(
            f"{label} is not one of {', '.join(FORMATS)}",
            *way_out(file.name, in_folder=in_folder),
            facts=Facts(file=label),
        )


def partition_values(file: Path, path: Path, name: str) -> dict[str, str | None]:
    """Return the columns that folders' names say, as Hive writes them: `site=east/`.

    Parameters
    ----------
    file
        A file of the dataset.
    path, name
        The dataset, and what errors call it.

    Returns
    -------
    dict
        The value of all rows of the file by column, from the outer to the inner folder; None for a
        missing value.

    Raises
    ------
    InputError
        If two folders say the same column.
    """
    values: dict[str, str | None] = {}
    if not path.is_dir():
        return values
    for part in file.relative_to(path).parts[:-1]:
        column, equals, value = part.partition("=")
        column = unquote(column)
        if not equals or not column:
            continue
        if column in values:
            raise InputError(
                f"{name}: two folders of one file say the column {column!r}",
                facts=Facts(file=name, column=column),
            )
        values[column] = None if value == _MISSING_VALUE else unquote(value)
    return values


def partition_columns(path: Path, name: str) -> list[str]:
    """Return the columns of a dataset that only the names of its folders have."""
    columns: dict[str, None] = {}
    for file in dataset_files(path, name):
        columns.update(dict.fromkeys(partition_values(file, path, name)))
    return list(columns)
