"""Options that name records and persons by their ids."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.requests.id_file import Wanted, read_ids
from unlearn.stages.rows.tokens import check_raw_id

#: `--ids FILE`.
IdsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of record ids, one on each line. A dash reads standard input.",
        rich_help_panel=panels.DATA,
    ),
]

#: `--id ID`.
IdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="The id of one record. Repeat the option for more records.",
        rich_help_panel=panels.DATA,
    ),
]


def read_wanted(ids: Path | None, one: list[str] | None, subjects: Path | None) -> Wanted:
    """Return the ids that the options `--ids`, `--id` and `--subjects` name.

    Raises
    ------
    InputError
        If a file cannot be read or holds no ids, or an id begins like a token.
    """
    records = [] if ids is None else read_ids(content_of(ids), name_of(ids))
    for raw in one or []:
        check_raw_id(raw, "--id")
        records.append((raw, "--id"))
    people = [] if subjects is None else read_ids(content_of(subjects), name_of(subjects))
    return Wanted(
        tuple(records),
        tuple(people),
        record_file=None if ids is None else name_of(ids),
        subject_file=None if subjects is None else name_of(subjects),
    )


def name_of(path: Path) -> str:
    """Return what errors call a file of ids."""
    return "standard input" if str(path) == "-" else path.name


def content_of(path: Path) -> bytes:
    """Return the bytes of a file of ids; `-` is standard input."""
    if str(path) == "-":
        return sys.stdin.buffer.read()
    if path.is_dir():
        raise InputError(
            f"{path.name} is a directory, not a file of ids", facts=Facts(file=path.name)
        )
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path.name} does not exist", facts=Facts(file=path.name)) from None
    except PermissionError:
        raise InputError(f"{path.name} may not be read", facts=Facts(file=path.name)) from None
