"""Entries of the log that were deleted from data/requests, as git's history has them."""

from collections.abc import Mapping
from pathlib import Path

from unlearn.stages.ledger.log import Log, is_entry, read_log, with_entries
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import read_objects
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.tokens import Key


def deleted_entries(root: Path, missing: Mapping[str, list[str]]) -> dict[str, bytes]:
    """Return the files of entries; those that git has no whole version of are left out.

    Parameters
    ----------
    root
        The project's folder.
    missing
        By the name of each entry, the git objects that its file has been.
    """
    contents = read_objects(root, [one for objects in missing.values() for one in objects])
    return {
        name: contents[one]
        for name, objects in missing.items()
        for one in objects
        if one in contents and is_entry(contents[one], name)
    }


def log_with_deleted(
    project: Project, missing: Mapping[str, list[str]], key: Key | None = None
) -> Log:
    """Return the log as it was before entries were deleted."""
    return with_entries(read_log(project, key), deleted_entries(project.root, missing).values())


def put_back_entries(project: Project, missing: Mapping[str, list[str]]) -> None:
    """Write entries that were deleted, as they were."""
    for name, content in deleted_entries(project.root, missing).items():
        write_bytes(project.request_file(name), content)
