"""How the CSV files of a new project are written: found, or stated by the user."""

from collections.abc import Iterable
from pathlib import Path

from unlearn.cli.csv_options import chosen_csv, csv_files
from unlearn.cli.init.request.request import InitRequest
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.reading.csv_dialect import find_format
from unlearn.stages.reading.csv_text import MARK_NAMES
from unlearn.stages.reading.dataset_files import dataset_files, file_kind


def find_csv(request: InitRequest, columns: Iterable[str]) -> CsvParams | None:
    """Return how the first CSV file of the dataset is written; None if there is none.

    Parameters
    ----------
    request
        The dataset, and what the user chose. The decimal mark is a point if it was not chosen.
    columns
        Columns that the options name.

    Raises
    ------
    InputError
        If there is no CSV file, but an option describes one; or it is not in its encoding.
    """
    source = request.dataset
    if source is None:
        raise AssertionError("the options were checked")
    known = chosen_csv(
        request.delimiter,
        request.decimal,
        request.encoding,
        quote=request.quote,
        columns=request.columns,
    )
    csv = csv_files(source, known)
    if not csv:
        return None
    required = {*columns, *filter(None, [request.subject])}
    # A file of a folder may lack a column: it is its path that has the value.
    named = required if len(csv) == 1 else {request.id or ""}
    first = next((path for path in csv if path.stat().st_size), csv[0])
    return find_format(first, source.name, named, known)


def has_gzip(dataset: Path) -> bool:
    """Return whether a CSV file of the dataset is compressed."""
    files = dataset_files(dataset, dataset.name)
    return any(file_kind(path) == "csv" and path.name.lower().endswith(".gz") for path in files)


_QUOTES = {'"': "double quotes", "'": "single quotes", "none": "no quotes"}


def describe_csv(csv: CsvParams, *, compressed: bool) -> str:
    """Return one line for people."""
    return (
        f"CSV: delimiter {MARK_NAMES[csv.delimiter]}, {_QUOTES[csv.quote]}, "
        f"decimal {MARK_NAMES[csv.decimal]}, encoding {csv.encoding}"
        f"{'' if csv.columns is None else ', no header'}{', gzip' if compressed else ''}"
    )
