"""Files that git tracks, at a revision or in the working tree."""

from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.project.git import commit_of, git
from unlearn.stages.project.paths import Project


def check_revision(root: Path, revision: str) -> None:
    """Make sure that git knows a revision.

    Raises
    ------
    InputError
        If it does not.
    ToolError
        If git is not installed.
    """
    if commit_of(root, revision) is None:
        raise InputError(f"git knows no revision {revision!r} here")


def read_tracked(project: Project, revision: str | None, name: str) -> bytes | None:
    """Return a file's content; None where it is not there.

    Parameters
    ----------
    project
        The project.
    revision
        A git revision; None for the working tree.
    name
        Its path in the project.
    """
    if revision is None:
        path = project.root / name
        return path.read_bytes() if path.is_file() else None
    return git(project.root, "show", f"{revision}:./{name}")
