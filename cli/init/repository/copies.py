"""The rows of a new project: which files are copied, and where to."""

import os
import re
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.output import say
from unlearn.stages.erasure.dataset.nonce import write_nonce
from unlearn.stages.project.files import write_bytes, write_folder_through, write_through
from unlearn.stages.reading.dataset_files import ending, find_files


def copied_to(name: str, source: Path, *, in_folder: bool = False) -> str:
    """Return where a file or folder of rows is copied to in the project.

    Parameters
    ----------
    name, source
        What it is called there, without its ending, and where it is.
    in_folder
        Whether a file is put into a folder of its own.
    """
    if in_folder or source.is_dir():
        return f"data/{name}"
    return f"data/{name}{ending(source) or source.suffix}"


def copies_of(request: InitRequest) -> dict[str, Path]:
    """Return the files or folders of rows, by where they are in the project, or are copied to."""
    sources = {"dataset": request.dataset, "held_out": request.held_out}
    kept: dict[str, Path] = {}
    if request.is_output and request.dataset is not None:
        del sources["dataset"]
        kept = {Path(os.path.relpath(request.dataset, request.root)).as_posix(): request.dataset}
    return kept | {
        copied_to(name, source, in_folder=request.in_folder): source
        for name, source in sources.items()
        if source is not None
    }


def outputs_of(request: InitRequest) -> list[str]:
    """Return what of `copies_of` is an output of DVC, and stays where it is."""
    return list(copies_of(request))[:1] if request.is_output else []


def copy_dataset(source: Path, path: Path) -> None:
    """Copy a file or folder of rows, with a nonce in a folder; what is there stays."""
    if path.exists():
        if path.is_dir():
            write_nonce(path)
        return
    if ending(path) is not None:
        write_through(path, partial(_copy, source))
        return

    def copy(folder: Path) -> None:
        if not source.is_dir():
            _copy(source, folder / _name_in_folder(source))
        if source.is_dir():
            _copy_files(source, folder)
        write_nonce(folder)

    write_folder_through(path, copy)


def write_dataset(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write the files of a dataset.

    Parameters
    ----------
    path
        A file, or a folder that is not there.
    files
        Name in the folder, and content; the name is empty for a file.
    """

    def fill(folder: Path) -> None:
        for name, content in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        write_nonce(folder)

    if ending(path) is None:
        write_folder_through(path, fill)
        return
    for _, content in files:
        write_bytes(path, content)


def _copy_files(source: Path, folder: Path) -> None:
    """Copy the files of a dataset: those with rows, and the pictures beside them."""
    found = find_files(source, source.name)
    made: set[Path] = set()
    for file in [*found.rows, *(source / name for name in found.pictures)]:
        target = folder / file.relative_to(source)
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        _copy(file, target)


def _name_in_folder(source: Path) -> str:
    """Return what a file is called in a folder of rows, where some names mean no rows."""
    is_read = source.name[:1] not in (".", "_")
    return source.name if is_read else f"dataset{ending(source)}"


def _copy(source: Path, path: Path) -> None:
    shutil.copy(source, path)  # its mode too: a private file stays private


def keep_out(root: Path, source: Path, copy: Path) -> list[str]:
    """Return the ignore pattern of the original file if it is in the repository."""
    if source == copy.resolve() or not source.is_relative_to(root):
        return []
    name = source.relative_to(root).as_posix()
    say(
        f"note: {name} was copied to data/; git now ignores the original, and requests do not "
        "change it: delete it"
    )
    return ["/" + re.sub(r"([\\*?\[\]!#])", r"\\\1", name)]
