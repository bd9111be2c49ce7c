"""Files that git tracks, at a revision or in the working tree."""

import subprocess
from pathlib import Path

from unlearn.stages.errors import InputError, ToolError
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
    command = ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    except FileNotFoundError:
        raise ToolError("git is not installed") from None
    if done.returncode != 0:
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
    done = subprocess.run(
        ["git", "show", f"{revision}:./{name}"], cwd=project.root, capture_output=True, check=False
    )
    return done.stdout if done.returncode == 0 else None
