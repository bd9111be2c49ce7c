"""A change of the forget list and its entry in the request log: both, or neither.

A journal in .unlearn names the change before the two files are written. After a kill in between,
the next command completes the change. data/suppressed.txt follows from both, and is written last.
"""

import contextlib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import Entry, read_log
from unlearn.stages.ledger.suppressed import changes_suppression, settle_suppressed
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import render, text_lines


class Change(BaseModel):
    """A change of the list, as the journal holds it.

    Parameters
    ----------
    added, removed
        Lines of the list. Lines by hand that are replaced are among `removed`, as they were
        written: the journal is in no repository, and is deleted with the change.
    entry
        The entry of the log.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    added: tuple[str, ...] = Field(strict=False)
    removed: tuple[str, ...] = Field(default=(), strict=False)
    entry: Entry


def apply_change(project: Project, change: Change) -> None:
    """Write the list and the log; the caller holds the lock of the list.

    If one of the two cannot be written, neither is changed.
    """
    journal, entry = project.journal, project.request_file(change.entry.name)
    before = _read_list(project)
    try:
        write_bytes(journal, json_bytes(change.model_dump(mode="json", by_alias=True)), 0o600)
        write_bytes(entry, change.entry.content)
        _write_list(project, change)
    except BaseException:
        # An error after the list was written leaves the journal, which completes the change.
        with contextlib.suppress(OSError):
            if project.forget_list.read_bytes() == before:
                if entry.is_file():  # not where something else is in its place
                    entry.unlink()
                journal.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):
        journal.unlink()


def unfinished_change(project: Project) -> Change | None:
    """Return the change that a kill interrupted; None if there is none.

    A journal that was cut short belongs to a change that had not begun.
    """
    try:
        return Change.model_validate_json(project.journal.read_bytes(), by_alias=True, by_name=True)
    except (FileNotFoundError, ValidationError):
        return None


def complete_change(project: Project) -> bool:
    """Complete a change that a kill interrupted; the caller holds the lock of the list.

    Returns
    -------
    bool
        Whether there was one.
    """
    change = unfinished_change(project)
    if change is not None:
        write_bytes(project.request_file(change.entry.name), change.entry.content)
        _write_list(project, change)
    project.journal.unlink(missing_ok=True)
    return change is not None


def lines_of(content: bytes) -> set[str]:
    """Return the lines of a list as they are written, without empty ones."""
    return set(text_lines(content, "data/forget_list.txt")) - {""}


def changed_list(content: bytes, added: Iterable[str], removed: Iterable[str]) -> bytes:
    """Return the bytes of a list with a change: sorted, unique."""
    return render((lines_of(content) - set(removed)) | set(added))


def _read_list(project: Project) -> bytes:
    try:
        return project.forget_list.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"data/{project.forget_list.name} is missing",
            "restore it from git; an empty file means that there is no request",
        ) from None


def _write_list(project: Project, change: Change) -> None:
    content = _read_list(project)
    write_bytes(project.forget_list, changed_list(content, change.added, change.removed))
    if changes_suppression(change.entry):
        settle_suppressed(project, read_log(project))
