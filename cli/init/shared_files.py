"""The files of a new project that may be there before, with what is added to them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from unlearn.cli.init.files import (
    render_dockerignore,
    render_gitattributes,
    render_gitignore,
    render_ledger,
    render_shared_dockerignore,
    render_shared_gitattributes,
    render_shared_gitignore,
)
from unlearn.cli.init.joining import joined_params, joined_pipeline, joins
from unlearn.cli.text_edits import text_of
from unlearn.stages.ledger.history import current_branch, default_branch
from unlearn.stages.project.git import git
from unlearn.stages.project.shared import is_shared

_ORIGIN = "refs/remotes/origin/"

#: Files that may be there before.
SHARED = ("dvc.yaml", "params.yaml", ".gitignore", ".gitattributes", ".dockerignore")


def pattern_files(
    root: Path, exceptions: list[str], hashed: list[str]
) -> list[tuple[str, Callable[[str], bytes]]]:
    """Return .gitignore, .gitattributes and .dockerignore: what makes each of what it holds.

    Parameters
    ----------
    root, exceptions, hashed
        See `write_ignore_files`.
    """
    if is_shared(root) or (joins(root) and not (root / "data/forget_list.txt").is_file()):
        wide = [name for name in ("data", "models", "reports") if _is_ignored(root, name)]
        return [
            (".gitignore", partial(render_shared_gitignore, exceptions=exceptions, wide=wide)),
            (".gitattributes", partial(render_shared_gitattributes, hashed=hashed)),
            (".dockerignore", render_shared_dockerignore),
        ]
    return [
        (".gitignore", partial(render_gitignore, exceptions=exceptions)),
        (".gitattributes", partial(render_gitattributes, hashed=hashed)),
        (".dockerignore", render_dockerignore),
    ]


def _is_ignored(root: Path, folder: str) -> bool:
    """Return whether git ignores whatever is in a folder."""
    name = f"{folder}/unlearn-probe"
    return git(root, "check-ignore", "--quiet", "--no-index", name) is not None


def joined_files(root: Path, settings: dict[str, bytes], pipeline_text: bytes) -> dict[str, bytes]:
    """Return the settings and dvc.yaml by name, added to what is there.

    Raises
    ------
    InputError
        If nothing can be added to a file that is there.
    """
    ledger = render_ledger(default_branch_name(root))
    found = {**settings, "params.yaml": settings["params.yaml"] + ledger, "dvc.yaml": pipeline_text}
    for name, add in (("dvc.yaml", joined_pipeline), ("params.yaml", joined_params)):
        if (root / name).is_file():
            found[name] = add(text_of(root / name), found[name].decode()).encode()
    return found


def default_branch_name(root: Path) -> str | None:
    """Return the name of the default branch, or of the one that is checked out."""
    known = [branch.name for branch in default_branch(root, None)]
    name = known[0] if known else current_branch(root)
    return None if name is None else name.removeprefix("refs/heads/").removeprefix(_ORIGIN)
