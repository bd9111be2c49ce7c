""".unlearn/copies.jsonl: models that `unlearn export` wrote, which no command here can delete.

A line for each step of an export, only ever appended: before its first file is written, when it is
complete, before its folder gets its name, and when a person says that it was deleted. A line that a
kill cut short is skipped; the line of the step before is on disk by then.
"""

import json
import os
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.audit.places import Place
from unlearn.stages.audit.status import list_is_applied
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.description import read_description
from unlearn.stages.project.files import digest_file, digest_json
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.applied import read_applied

#: What other commands call all of them.
EXPORTS = "exported models"


class ExportNote(BaseModel):
    """A line of the file.

    Parameters
    ----------
    name
        What people call the export: drawn at random.
    state
        `begun` before the first file, `written` when it is complete, `gone` when a person says that
        no copy of it is left, or it failed and its files were deleted.
    time
        When, in UTC.
    kind
        `shards`, `adapter` or `merged`; `hub`, `onnx` or `mlflow`.
    where, half
        Its file or folder, and the one that it is written to first.
    commit, lock
        The commit of git, if there is one, and the SHA-256 of dvc.lock.
    models
        Digest of the models that it was made of.
    forget_list
        Digest of the forget list that these honour.
    files
        SHA-256 of each file, when it is complete.
    is_replaced
        Whether a later export has its folder, which was deleted or moved before; in no file.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[0-9a-f]{8}$")
    state: Literal["begun", "written", "gone"]
    time: str
    kind: str
    where: str
    half: str
    commit: str | None
    lock: str | None
    models: str | None
    forget_list: str | None
    files: dict[str, str] = Field(default_factory=dict)
    is_replaced: bool = Field(default=False, exclude=True)

    def now(self, state: Literal["written", "gone"], files: dict[str, str]) -> "ExportNote":
        """Return the next line about the same export."""
        update = {"state": state, "time": utc_now(), "files": files}
        return self.model_copy(update=update)

    @property
    def is_there(self) -> bool:
        """Whether its folder, or a half of it, is where it was written."""
        return self.is_half or (not self.is_replaced and Path(self.where).exists())

    @property
    def is_half(self) -> bool:
        """Whether its files are where they are written first: it is not complete, or was killed."""
        return Path(self.half).exists()


def utc_now() -> str:
    """Return the present time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def copies_file(project: Project) -> Path:
    """Return the file of a project's exports."""
    return project.private / "copies.jsonl"


def append_note(project: Project, note: ExportNote) -> None:
    """Append a line, and sync it, before anything that it is about is done."""
    path = copies_file(project)
    line = json.dumps(note.model_dump(mode="json"), sort_keys=True).encode() + b"\n"
    with exclusive(project.lock_file("copies"), "another run of `unlearn`"):
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # A line that was cut short ends here, or this one would be lost with it.
            cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" + line if cut else line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def read_exports(project: Project) -> list[ExportNote]:
    """Return what is known of each export that may still exist, oldest first.

    One that was begun and left no file is not returned. One whose folder a later export has is:
    nothing says whether that folder was deleted or moved.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return [
        note
        for note in _last_notes(project).values()
        if note.state == "written" or (note.state == "begun" and note.is_there)
    ]


def _last_notes(project: Project) -> dict[str, ExportNote]:
    """Return the last line of each export by its name; see `read_exports` for errors."""
    found: dict[str, ExportNote] = {}
    for note in _notes(project):
        found.pop(note.name, None)
        found[note.name] = note
    # An export is made where nothing is: each folder has the last one.
    last = {note.where: note.name for note in found.values() if note.state == "written"}
    return {
        name: note.model_copy(update={"is_replaced": last.get(note.where, name) != name})
        for name, note in found.items()
    }


def _notes(project: Project) -> Iterator[ExportNote]:
    """Yield all lines that are whole; see `read_exports` for errors."""
    try:
        lines = copies_file(project).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f".unlearn/copies.jsonl cannot be read: {error.strerror}") from None
    for line in lines:
        try:
            yield ExportNote.model_validate_json(line)
        except ValidationError:
            continue


def models_digest(project: Project) -> str | None:
    """Return the digest of the models that the final model is made of; None if there is none."""
    try:
        members = read_description(project.final_model).members
    except InputError:
        return None
    return digest_json([[entry.shard, entry.digest] for entry in members])


def honoured_list(project: Project) -> str | None:
    """Return the digest of the forget list that was applied last."""
    applied = read_applied(project)
    return None if applied is None else applied.digest


def old_exports(project: Project, params: Params, *, retrained: bool = False) -> list[ExportNote]:
    """Return the exports that may hold what the forget list, as it stands, is to remove.

    An export of the same models as now is not old, once the list is applied. In a project of shards
    nor is one of other models that honour the same list, which are exact. What an approximate
    method makes does not count as free of the rows that its original saw.

    Parameters
    ----------
    project, params
        The project.
    retrained
        Whether the models of a post-hoc project are about to be trained again, without the rows.
    """
    exports = read_exports(project)
    if not exports:
        return []
    applied, models = list_is_applied(project), models_digest(project)
    listed = digest_file(project.forget_list) if project.forget_list.is_file() else None

    def is_old(note: ExportNote) -> bool:
        if params.kind == "exact" and note.forget_list == listed:
            return False
        is_replaced = retrained and params.kind == "posthoc"
        return is_replaced or not applied or models is None or note.models != models

    return [note for note in exports if is_old(note)]


def place_name(note: ExportNote) -> str:
    """Return what an erasure calls an export: git has the name, so no path is in it."""
    return f"the export {note.name} ({note.kind})"


def check_gone(project: Project, names: Collection[str]) -> list[ExportNote]:
    """Return the exports of these names, of which a person says that no copy is left.

    Parameters
    ----------
    project
        The project.
    names
        Names of exports; others are left to the caller.

    Raises
    ------
    InputError
        If the folder of one of them is there.
    """
    found = {name: note for name, note in _last_notes(project).items() if name in names}
    for note in found.values():
        if note.state != "gone" and note.is_there:
            place = note.half if note.is_half else note.where
            raise InputError(
                f"the export {note.name} is not gone: {place} is there", "delete it first"
            )
    return list(found.values())


def exports_place(project: Project, params: Params) -> tuple[Place, list[str]]:
    """Return the exports as a place with findings, and notes on those that are not there.

    Parameters
    ----------
    project, params
        The project.
    """
    old = {note.name for note in old_exports(project, params)}
    findings, notes = [], []
    exports = read_exports(project)
    for note in exports:
        place = note.half if note.is_half else note.where
        said = f"the export {note.name} ({note.kind}) of {note.time[:10]}, {place},"
        gone = f"`unlearn erase --gone {note.name}` says that no copy is left"
        if note.name in old:
            where = "" if note.is_there else " and is not there any more"
            findings.append(
                f"{said} is older than the last request{where}: export again, and delete it and "
                f"its copies; {gone}"
            )
        elif note.is_half:
            findings.append(f"{said} is being written, or was interrupted: then delete this folder")
        elif not note.is_there:
            notes.append(f"{said} is not there any more: {gone}")
    return Place(EXPORTS, objects=len(exports), findings=tuple(findings)), notes
