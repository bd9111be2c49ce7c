"""What the categories of a final model are keyed with, where it is at hand."""

import hmac
import os
from pathlib import Path

from unlearn.stages.context import load_params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.description import Description
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.rows.keyed_categories import PURPOSE, key_check
from unlearn.stages.rows.tokens import has_key, load_key

#: Holds the key of categories, in hex, on machines that have no project key.
CATEGORY_KEY_VARIABLE = "UNLEARN_CATEGORY_KEY"


def category_key_of(project: Project) -> str:
    """Return what the categories of a project are keyed with, in hex.

    It follows from the project key, and reveals nothing else that does.

    Raises
    ------
    InputError
        If the categories are not keyed, or the project key is not at hand.
    """
    params = load_params(project.params)
    if not params.dataset.keys_categories:
        raise InputError("the categories of this project are not keyed: dataset.category_texts")
    return load_key(project, params.key_check).subkey(PURPOSE).hex()


def find_category_key(description: Description, root: Path | None, given: str | None) -> bytes:
    """Return what the categories of a final model are keyed with.

    Parameters
    ----------
    description
        What the final model says of itself.
    root
        The folder of the project, if it is known.
    given
        The key in hex, if the caller has it. Else it is that of the environment, or the project's.

    Raises
    ------
    InputError
        If there is none, or it is another one.
    """
    text = given or os.environ.get(CATEGORY_KEY_VARIABLE, "").strip() or _of_project(root)
    if not text:
        raise InputError(
            "the categories of this final model are keyed, and the key is not at hand",
            f"set {CATEGORY_KEY_VARIABLE}, in Python category_key=...; "
            "`unlearn.Project.open(...).category_key` is that key, where the project key is",
        )
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if not hmac.compare_digest(key_check(key), description.category_check or ""):
        raise InputError(
            "the key of the categories is not the one that this final model was made with",
            f"it is that of {CATEGORY_KEY_VARIABLE}, of category_key=..., or of the project key",
        )
    return key


def _of_project(root: Path | None) -> str | None:
    try:
        project = find_project(root or Path())
    except InputError:
        return None  # a copy of a final model is in no project
    check = load_params(project.params).key_check
    return load_key(project, check).subkey(PURPOSE).hex() if has_key(project, check) else None
