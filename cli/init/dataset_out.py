"""An output of DVC in the repository around a new project, which it takes as its dataset."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.stages.dvc.command import dvc_folder
from unlearn.stages.erasure.dataset.origins import Pipelines
from unlearn.stages.errors import InputError
from unlearn.stages.project.git import git_line
from unlearn.stages.project.paths import Project

DatasetOut = Annotated[
    Path | None,
    typer.Option(
        "--dataset-out",
        metavar="PATH",
        help="The dataset: an output of a DVC stage, or of a .dvc file, in this repository. It "
        "stays where it is, and what changes it reruns the pipeline.",
        rich_help_panel=panels.DATA,
    ),
]

Into = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="FOLDER",
        help="A folder below the first one that the project is put into, with a dvc.yaml and a "
        "params.yaml of its own: for repositories that have a pipeline.",
        rich_help_panel=panels.OUTPUT,
    ),
]


def project_folder(directory: Path, into: Path | None) -> Path:
    """Return the folder of the new project.

    Raises
    ------
    InputError
        If `--into` leads out of the first folder.
    """
    top = directory.resolve()
    if into is None:
        return top
    root = (top / into).resolve()
    if into.is_absolute() or root == top or not root.is_relative_to(top):
        raise InputError(
            f"--into {into} is not a folder below {directory}",
            "name a folder that is relative to the first argument, such as --into unlearn",
        )
    return root


def find_output(top: Path, root: Path, given: Path) -> Path:
    """Return where an output of DVC is, whole; a link of DVC to its cache is not followed.

    Parameters
    ----------
    top
        A folder of the repository that is there.
    root
        The folder of the new project.
    given
        The path as the user gave it.

    Raises
    ------
    InputError
        If it is not there, or not an output of a stage or a .dvc file of the same repository.
    """
    whole = Path(os.path.abspath(given))  # noqa: PTH100 - the last link is not to be followed
    path = whole.parent.resolve() / whole.name
    around = git_line(top, "rev-parse", "--show-toplevel")
    if around is None or not path.is_relative_to(Path(around).resolve()):
        raise InputError(
            f"--dataset-out: {given} is not in the git repository of the project",
            "--dataset FILE copies a dataset from anywhere",
        )
    output = Pipelines.of(Project(top)).output_of(path)
    if output is None:
        raise InputError(
            f"--dataset-out: {given} is no output of DVC: no stage names it under `outs`, and no "
            ".dvc file tracks it",
            f"`dvc add {given}` lets DVC track it; or add it to the `outs` of the stage that "
            "writes it",
            f"--dataset {given} copies it into the project, without a link in DVC's graph",
        )
    if dvc_folder(path.parent) != dvc_folder(there(root)):
        raise InputError(
            f"--dataset-out: {given} is in another DVC repository, that of "
            f"{dvc_folder(path.parent).parent.name}/, and DVC's graph ends there",
            "--into FOLDER with a folder of that repository puts the project there",
        )
    if not path.exists():
        raise InputError(
            f"--dataset-out: {given}, an output of {output}, is not here",
            "`dvc pull` fetches it, or `dvc repro` makes it",
        )
    return path


def outputs_around(root: Path, written: Iterable[str]) -> list[str]:
    """Return a sentence for each output of DVC that a new project would write into, or over.

    DVC refuses every command where two outputs overlap, also for the stages that were there.

    Parameters
    ----------
    root
        The folder of the new project.
    written
        What the project writes in it, relative to the folder.

    Raises
    ------
    InputError
        If a file of DVC in the repository is not readable.
    """
    folders = [(root / name).resolve() for name in ("data", "models", "reports")]
    others = [(root / name).resolve() for name in written]
    found = []
    for words, out in Pipelines.of(Project(there(root))).outputs():
        place = out.resolve()
        if any(folder.is_relative_to(place) for folder in folders) or any(
            place.is_relative_to(other) for other in others
        ):
            if root.resolve().is_relative_to(place):
                found.append(f"the folder is in {place.name}/, an output of {words}")
                continue
            name = place.relative_to(root.resolve()).as_posix()
            found.append(f"{name} is an output of {words}, and the project would write there")
    return list(dict.fromkeys(found))


def there(folder: Path) -> Path:
    """Return the folder itself, or the first one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
