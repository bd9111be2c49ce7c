"""Options that say how CSV files are written, shared by the commands that read some."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from unlearn.cli import panels
from unlearn.stages.errors import InputError
from unlearn.stages.reading.csv_text import fields_of
from unlearn.stages.reading.dataset_files import dataset_files, file_kind


class DelimiterName(StrEnum):
    """What separates the fields of a row, as it is written on a command line."""

    COMMA = ","
    SEMICOLON = ";"
    TAB = "tab"
    PIPE = "|"


class QuoteName(StrEnum):
    """What is around values that have delimiters in them, as it is written on a command line."""

    DOUBLE = '"'
    SINGLE = "'"
    NONE = "none"


class DecimalMark(StrEnum):
    """What separates the whole part of a number from its fraction."""

    POINT = "."
    COMMA = ","


class EncodingName(StrEnum):
    """Encodings of text."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    CP1252 = "cp1252"
    LATIN_1 = "latin-1"


def delimiter_option(default: str) -> Any:
    """Return the option of what separates fields; `default` says what it is otherwise."""
    return _option(f"What separates the fields of CSV files. The default is {default}.")


def quote_option(default: str) -> Any:
    """Return the option of what is around values; see `delimiter_option`."""
    return _option(
        "What is around values with delimiters in CSV files; none if quotes are ordinary "
        f"characters. The default is {default}."
    )


def columns_option() -> Any:
    """Return the option of the names of columns."""
    return _option(
        "The names of all columns, separated by commas, for CSV files without a header.",
        metavar="NAMES",
    )


def decimal_option(default: str) -> Any:
    """Return the option of the decimal mark; see `delimiter_option`."""
    return _option(f"The decimal mark of numbers in CSV files. The default is {default}.")


def encoding_option(default: str) -> Any:
    """Return the option of the encoding; see `delimiter_option`."""
    return _option(f"The encoding of CSV files. The default is {default}.")


def _option(text: str, **more: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=panels.DATA, **more)


def chosen_csv(
    delimiter: DelimiterName | None,
    decimal: DecimalMark | None,
    encoding: EncodingName | None,
    *,
    quote: QuoteName | None,
    columns: str | None,
) -> dict[str, Any]:
    """Return the fields of `CsvParams` that the options choose."""
    known: dict[str, Any] = {}
    if delimiter is not None:
        known["delimiter"] = "\t" if delimiter is DelimiterName.TAB else delimiter.value
    if quote is not None:
        known["quote"] = quote.value
    if columns is not None:
        known["columns"] = _names(columns)
    if decimal is not None:
        known["decimal"] = decimal.value
    if encoding is not None:
        known["encoding"] = encoding.value
    return known


def _names(columns: str) -> list[str]:
    names = [name.strip() for name in fields_of(columns, ",")]
    if len(set(names)) != len(names) or "" in names:
        raise InputError("--columns: a name is empty, or stands twice")
    return names


def csv_files(source: Path, known: Iterable[str]) -> list[Path]:
    """Return the CSV files of a dataset.

    Raises
    ------
    InputError
        If there is none, but an option describes one.
    """
    found = [path for path in dataset_files(source, source.name) if file_kind(path) == "csv"]
    option = next(iter(known), None)
    if not found and option is not None:
        raise InputError(f"{source.name} has no CSV file: --{option} would have no effect")
    return found
