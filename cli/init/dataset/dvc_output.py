"""An output of DVC in the repository around a new project, which it takes as its dataset."""

import os
from pathlib import Path

from unlearn.cli.init.request.folders import there
from unlearn.stages.dvc.command import dvc_folder
from unlearn.stages.erasure.dataset.origins import Pipelines
from unlearn.stages.errors import InputError
from unlearn.stages.project.git import git_line
from unlearn.stages.project.paths import Project


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
