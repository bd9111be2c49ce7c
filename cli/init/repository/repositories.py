"""The git and DVC repositories of a new project."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.errors import InputError, ToolError


def start_repositories(root: Path) -> None:
    """Make the folder a git and a DVC repository where it is none."""
    above = (root, *root.parents)
    if not any((folder / ".git").exists() for folder in above):
        _git(root, "init", "--quiet")
    if not any((folder / ".dvc").is_dir() for folder in above):
        top = Path(_git(root, "rev-parse", "--show-toplevel").strip()).resolve()
        run_dvc(root, "init", *(() if top == root else ("--subdir",)))


def refuse_tracked(root: Path, names: Iterable[str]) -> None:
    """Refuse files or folders that git tracks, before anything is written: DVC cannot add them."""
    if not root.is_dir() or not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return
    for name in names:
        if _git(root, "ls-files", "--", f":(literal){name}"):
            raise InputError(
                f"git tracks {name}, which is for DVC to keep; nothing was changed",
                f"`git rm -r --cached {name}` removes it from git and keeps the file",
            )


def add_to_dvc(root: Path, paths: Iterable[str]) -> None:
    """Have DVC keep files or folders that git is not to have."""
    run_dvc(root, "add", *paths)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, text=True, capture_output=True, check=True
        )
    except FileNotFoundError:
        raise ToolError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        raise ToolError(f"`git {arguments[0]}` failed: {error.stderr.strip()}") from None
    return done.stdout
