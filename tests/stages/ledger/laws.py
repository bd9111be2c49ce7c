"""The driver of the ledger's laws: operations on a repository, one after another, and a check."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from unlearn.stages.errors import InputError

from tests.stages.ledger.repositories import IDS, GitProject

OPERATIONS = (
    "forget",
    "commit",
    "branch",
    "switch",
    "detach",
    "revert",
    "reset",
    "amend",
    "rebase",
    "stash",
    "pop",
    "cherry-pick",
    "merge",
    "merge ours",
    "squash",
    "old list",
    "delete branch",
)

#: The records that are asked for before any sequence begins.
FIRST = tuple(IDS[:2])

Steps = list[tuple[str, int]]
Built = TypeVar("Built", bound=GitProject)


def forget_first(project: GitProject) -> None:
    """Ask for the first records, in a commit each."""
    for raw in FIRST:
        project.forget(raw)


def run_law(
    built: Built,
    steps: Steps,
    operate: Callable[[Built, str, int, list[str]], None],
    check: Callable[[Built, list[str]], None],
) -> None:
    """Run a sequence of operations in a copy of a project, and insist on what the law says.

    Parameters
    ----------
    built
        The project, after `forget_first`; only copied.
    steps
        The names of operations, each with a number that the operation chooses by.
    operate
        Does one operation, and adds to the last argument what it asked for.
    check
        Fails where the law is broken; gets all records that were asked for.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = built.copy(Path(folder) / "project")
        wanted = [*FIRST]
        for operation, number in steps:
            operate(project, operation, number, wanted)
        check(project, wanted)


def operate(project: GitProject, operation: str, number: int, wanted: list[str]) -> None:
    """Do one thing to the repository; what git refuses is taken back."""
    try_git, branch = project.try_git, f"b{number % 3}"
    if operation == "forget":
        raw = IDS[number % 3]
        try:
            project.forget(raw, commit=number % 2 == 0)
        except InputError:
            return  # a list in conflict
        if raw not in wanted:
            wanted.append(raw)
    elif operation == "commit":
        try_git("add", "-A")
        try_git("commit", "--quiet", "--allow-empty", "-m", "work")
    else:
        words = {
            "branch": ("checkout", "--quiet", "-b", branch),
            "switch": ("checkout", "--quiet", "main" if number % 2 else branch),
            "detach": ("checkout", "--quiet", "--detach", f"HEAD~{number % 2}"),
            "revert": ("revert", "--no-edit", f"HEAD~{number % 2}"),
            "reset": ("reset", "--quiet", "--hard", f"HEAD~{number % 3}"),
            "amend": ("commit", "--quiet", "--amend", "-a", "--allow-empty", "-m", "amended"),
            "rebase": ("rebase", "--quiet", "--onto", "HEAD~2", "HEAD~1"),
            "stash": ("stash", "--quiet", *(("-u",) if number % 2 else ())),
            "pop": ("stash", "pop", "--quiet"),
            "cherry-pick": ("cherry-pick", branch),
            "merge": ("merge", "--quiet", "--no-edit", branch),
            "merge ours": ("merge", "--quiet", "--no-edit", "-s", "ours", branch),
            "squash": ("merge", "--quiet", "--squash", branch),
            "old list": ("checkout", "HEAD~1", "--", "data/forget_list.txt"),
            "delete branch": ("branch", "--quiet", "-D", branch),
        }[operation]
        if try_git(*words).returncode:
            for undo in ("rebase", "merge", "cherry-pick", "revert"):
                try_git(undo, "--abort")
