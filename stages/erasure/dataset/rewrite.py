"""Dropping forgotten rows from the dataset's own files."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE

from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.context import Context
from unlearn.stages.erasure.dataset.arrow_rewriting import check_arrow, write_arrow_without
from unlearn.stages.erasure.dataset.csv_rewriting import write_csv_without
from unlearn.stages.erasure.dataset.json_rewriting import write_json_without
from unlearn.stages.erasure.dataset.listed_rows import FileRows, RowNumbers, RowSearch
from unlearn.stages.erasure.dataset.npz_rewriting import check_npz, write_npz_without
from unlearn.stages.erasure.dataset.origins import (
    Pipelines,
    check_files,
    check_origin,
    check_present,
    has_been_in_git,
)
from unlearn.stages.erasure.dataset.parquet_rewriting import check_parquet, write_parquet_without
from unlearn.stages.erasure.dataset.picture_files import (
    PictureNames,
    delete_pictures,
    picture_folder,
)
from unlearn.stages.erasure.dataset.stale_values import StaleValues, stale_siblings
from unlearn.stages.errors import Facts, InputError, ToolError
from unlearn.stages.project.files import move_through, scratch_folder
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.arrow_rows import DAMAGE
from unlearn.stages.reading.dataset_files import file_kind, label_of
from unlearn.stages.reading.reading import Reading
from unlearn.stages.rows.forget_list import ForgetList


@dataclass(frozen=True)
class RowFiles:
    """Files of rows that params.yaml names.

    Parameters
    ----------
    name
        The file or folder, relative to the project.
    dataset
        How its rows are read.
    """

    name: str
    dataset: DatasetParams


def row_files(context: Context) -> list[RowFiles]:
    """Return the dataset, the held-out rows and the canaries, as far as there are any."""
    dataset = context.params.dataset
    found = [RowFiles(dataset.path, dataset)]
    if dataset.held_out is not None:
        held_out = dataset.model_copy(update={"path": dataset.held_out})
        found.append(RowFiles(dataset.held_out, held_out))
    if dataset.canaries is not None:
        found.append(RowFiles(dataset.canaries, dataset.of_canaries(dataset.canaries)))
    return found


@dataclass(frozen=True)
class Rewritable:
    """What has to be known before files are rewritten.

    Parameters
    ----------
    in_git
        Files or folders of rows that git tracks or has in its history, which keeps them.
    """

    in_git: tuple[str, ...] = ()


def rows_of_others(context: Context) -> dict[str, InputError]:
    """Return the files and folders of rows that something else than this project makes.

    Rows that are dropped from them would come back.

    Returns
    -------
    dict
        By name, what `check_origin` says about them.
    """
    pipelines = Pipelines.of(context.project)
    found = {}
    for rows in row_files(context):
        try:
            check_origin(pipelines, rows.name)
        except InputError as error:
            if error.facts is None or error.facts.file != rows.name:
                raise  # a pipeline that cannot be read
            found[rows.name] = error
    return found


def check_rewritable(context: Context, kept: Collection[str] = ()) -> Rewritable:
    """Check that listed rows can be dropped from the files that params.yaml names.

    Parameters
    ----------
    context
        The project.
    kept
        Files and folders of rows that stay as they are; see `rows_of_others`.

    Raises
    ------
    InputError
        If the rows are another stage's out or were imported, a file is not here, is a link, or
        cannot be written again with its schema. It says what to do.
    """
    pipelines = Pipelines.of(context.project)
    in_git = []
    for rows in row_files(context):
        if rows.name in kept:
            check_present(context.project, rows.name)
            if has_been_in_git(context.project, rows.name):
                in_git.append(rows.name)  # an output with `cache: false`
            continue
        check_origin(pipelines, rows.name)
        path = context.project.root / rows.name
        for file in check_files(context.project, rows.name):
            label = label_of(file, path, rows.name)
            if not os.access(file.parent, os.W_OK):
                raise InputError(f"{label} cannot be replaced: its folder is read-only")
            check = _CHECKS.get(file_kind(file))
            if check is not None:
                _check_format(check, file, label)
        if has_been_in_git(context.project, rows.name):
            in_git.append(rows.name)
    return Rewritable(tuple(in_git))


#: Formats that cannot hold each file's rows again in any case.
_CHECKS = {"parquet": check_parquet, "arrow": check_arrow, "npz": check_npz}


def _check_format(check: Callable[[Path, str], None], file: Path, label: str) -> None:
    try:
        check(file, label)
    except DAMAGE:
        raise InputError(f"{label} is not readable", facts=Facts(file=label)) from None


@dataclass(frozen=True)
class RewrittenFile:
    """A file from which rows were dropped.

    Parameters
    ----------
    name
        The file, relative to the project.
    dropped, left
        How many rows were dropped, and how many are left. None is dropped where only what was left
        of rows in a dictionary was removed.
    """

    name: str
    dropped: int
    left: int


@dataclass(frozen=True)
class Rewritten:
    """What was changed.

    Parameters
    ----------
    files
        The files that were replaced, in order.
    removed
        Files that described rows of other files, and were deleted: summaries of Parquet, sums.
    pictures
        How many files of pictures were deleted, since only dropped rows named them.
    in_git
        See `Rewritable`.
    """

    files: tuple[RewrittenFile, ...] = ()
    removed: tuple[str, ...] = ()
    in_git: tuple[str, ...] = ()
    pictures: int = 0

    @property
    def dropped(self) -> int:
        """The number of rows that were dropped."""
        return sum(file.dropped for file in self.files)


@dataclass(frozen=True)
class _Change:
    """A file to replace: its rows as they are, of which the listed ones go."""

    path: Path
    name: str
    dataset: DatasetParams
    rows: FileRows = field(default_factory=FileRows)


def rewrite_dataset(
    context: Context,
    advance: Callable[[int], None] = lambda _rows: None,
    forget_list: ForgetList | None = None,
    kept: Collection[str] = (),
) -> Rewritten:
    """Drop all rows that a forget list names from the files that params.yaml names.

    Every other row keeps its bytes in CSV and JSON, and its values and place in Parquet, Arrow and
    NPZ.
    A file without a listed row is not touched. Each new file is read again and checked before it
    replaces the old one, whole or not at all. A picture in a file of its own is deleted if only
    listed rows name it. A second call finds nothing to do; after a kill, it does the rest.

    Parameters
    ----------
    context
        The project.
    advance
        Called with numbers of rows that were read.
    forget_list
        The list; None for the project's, as it is now.
    kept
        Files and folders of rows that stay as they are, and their pictures; see `rows_of_others`.

    Raises
    ------
    InputError
        See `check_rewritable`; or if a file cannot be read, or no row would be left. Nothing was
        changed.
    ToolError
        If a new file is not as it has to be. It did not replace the old one.
    """
    rewritable = check_rewritable(context, kept)
    search = RowSearch(context.tokenizer, forget_list or context.read_list())
    changes = _changes(context, search, advance, kept)
    names = picture_names(context, search, advance)
    # Tables that stay go on naming their pictures.
    going = set() if kept else names.of_listed_rows_alone()
    # Pictures first: a run after a kill does not know any more which rows named them.
    pictures = delete_pictures(context.project.root, _folders(context), going)
    # First: a run after a kill does not know any more which files they are about.
    removed = tuple(_remove_stale(context.project, changes))
    files = []
    with scratch_folder(context.project.scratch("erase-dataset")) as scratch:
        for change in changes:
            new = scratch / change.path.name
            _write(change, new)
            left = _check(change, new, search, advance)
            _replace(change.path, new)
            files.append(RewrittenFile(change.name, change.rows.listed.size, left))
    return Rewritten(tuple(files), removed, rewritable.in_git, pictures)


def picture_names(
    context: Context, search: RowSearch, advance: Callable[[int], None] = lambda _rows: None
) -> PictureNames:
    """Return the names of pictures in the tables that params.yaml names."""
    tables = [(rows.name, rows.dataset) for rows in row_files(context)]
    return PictureNames(context.project.root, search, tables, advance)


def _folders(context: Context) -> list[Path]:
    root = context.project.root
    return [picture_folder(root / rows.name) for rows in row_files(context)]


def _changes(
    context: Context, search: RowSearch, advance: Callable[[int], None], kept: Collection[str]
) -> list[_Change]:
    """Return the files to replace, those without a listed row first.

    What such a file holds is only known while the rows are there.
    """
    with_rows: list[_Change] = []
    others: list[_Change] = []
    for rows in row_files(context):
        if rows.name in kept:
            continue
        path = context.project.root / rows.name
        found = search.rows_by_file(path, rows.dataset, rows.name, advance)
        if rows.name == context.params.dataset.path:
            _refuse_nothing_left(found, rows.name)
        for file in check_files(context.project, rows.name):
            label = label_of(file, path, rows.name)
            change = _Change(file, label, rows.dataset, found.get(label, FileRows()))
            (with_rows if change.rows.listed.size else others).append(change)
    stale = StaleValues(search, context.params.dataset)
    for change in with_rows:
        stale.see(change.path, change.rows.listed)
    return [change for change in others if stale.are_in(change.path)] + with_rows


def _refuse_nothing_left(found: dict[str, FileRows], name: str) -> None:
    rows = sum(file.rows for file in found.values())
    if rows and rows == sum(file.listed.size for file in found.values()):
        raise InputError(
            f"the forget list names all rows of {name}: no row would be left to train on",
            "delete the project, its remotes and its copies instead",
        )


def _write(change: _Change, new: Path) -> None:
    """Write the rows that stay to a new file."""
    gone: RowNumbers = change.rows.listed
    path, name = change.path, change.name
    match file_kind(path):
        case "csv":
            write_csv_without(path, name, Reading.of(change.dataset), gone, new)
        case "json":
            write_json_without(path, name, gone, new)
        case "parquet":
            write_parquet_without(path, name, gone, new)
        case "arrow":
            write_arrow_without(path, name, gone, new)
        case "npz":
            write_npz_without(path, name, gone, new)


def _check(change: _Change, new: Path, search: RowSearch, advance: Callable[[int], None]) -> int:
    """Read a new file, and return its number of rows.

    Raises
    ------
    ToolError
        If it has not the rows of the old one without the listed ones, in their order.
    """
    found = search.rows_by_file(new, change.dataset, change.name, advance)
    rows = next(iter(found.values()), FileRows())
    expected = change.rows.rows - change.rows.listed.size
    if rows.rows != expected or rows.listed.size or rows.others != change.rows.others:
        raise ToolError(
            f"{change.name} was to have {expected:,} rows, and was written with others; it was "
            "left as it is"
        )
    return expected


def _replace(path: Path, new: Path) -> None:
    """Put a new file in the place of a file, or of a link to DVC's cache."""
    old = path.stat()
    new.chmod(S_IMODE(old.st_mode))
    with suppress(PermissionError):
        os.chown(new, old.st_uid, old.st_gid)
    move_through(new, path, S_IMODE(old.st_mode))


def _remove_stale(project: Project, changes: list[_Change]) -> Iterator[str]:
    for change in changes:
        for path in stale_siblings([change.path], project.root / change.dataset.path):
            path.unlink()
            yield path.relative_to(project.root).as_posix()
