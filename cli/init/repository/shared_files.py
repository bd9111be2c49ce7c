"""The files of a new project that may be there before, with what is added to them."""

from pathlib import Path

from unlearn.cli.init.files.settings import render_ledger
from unlearn.cli.init.repository.joining import joined_params, joined_pipeline
from unlearn.cli.text_edits import text_of
from unlearn.stages.ledger.history import current_branch, default_branch

_ORIGIN = "refs/remotes/origin/"

#: Files that may be there before.
SHARED = ("dvc.yaml", "params.yaml", ".gitignore", ".gitattributes", ".dockerignore")


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
