"""What `unlearn init` says about the files of a dataset."""

from collections.abc import Iterable
from pathlib import Path

from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.output import plural, say
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.dataset_files import find_files, partition_columns
from unlearn.stages.reading.file_columns import lacking
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import file_columns

#: Names in one note; more are counted.
_MOST_NAMES = 3


def check_files(request: InitRequest) -> None:
    """Check the files that were named, and that no folder's name is an id.

    Raises
    ------
    InputError
        If a file is not readable by its ending, or ids are the names of folders.
    """
    for source in _sources(request):
        names = partition_columns(source, source.name)
        for option, column in (("--id", request.id), ("--subject", request.subject)):
            if column in names:
                raise InputError(
                    f"{option}: the ids of column {column!r} are the names of folders in "
                    f"{source.name}, which messages show and which are not removed with the rows",
                    "write the column into the files themselves",
                )


def say_about_files(request: InitRequest, csv: CsvParams | None = None) -> None:
    """Say which files were skipped, what folders' names hold, and which columns files lack.

    `csv` is how CSV files are written.
    """
    for source in _sources(request):
        if skipped := find_files(source, source.name).skipped:
            files = plural(len(skipped), "file")
            say(f"note: {source.name}: {files} without rows skipped: {_list(skipped)}")
        if columns := partition_columns(source, source.name):
            names = ", ".join(repr(column) for column in columns)
            word = "column" if len(columns) == 1 else "columns"
            say(f"note: {source.name}: {word} {names} read from the names of folders")
    if request.pinned_missing_columns == "null":
        _say_what_is_missing(request, csv)


def _say_what_is_missing(request: InitRequest, csv: CsvParams | None) -> None:
    for source in _sources(request):
        reading = Reading(multiline=request.has_line_ends, csv=csv)
        for column, files in lacking(file_columns(source, source.name, None, reading)).items():
            say(
                f"note: column {column!r} is missing in {plural(len(files), 'file')}, whose rows "
                f"have no value there: {_list(files)}"
            )


def _sources(request: InitRequest) -> Iterable[Path]:
    return [source for source in (request.dataset, request.held_out) if source is not None]


def _list(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
