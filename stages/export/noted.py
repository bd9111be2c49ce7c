"""Writing an export whole or not at all, after it was noted in .unlearn/copies.jsonl."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from unlearn.stages.audit.exports import ExportNote, append_note, honoured_list, utc_now
from unlearn.stages.errors import InputError
from unlearn.stages.export.record import CARD_NAME, FILE_NAME, ExportRecord, Generation
from unlearn.stages.final_model.published import published_files
from unlearn.stages.project.files import digest_file, json_bytes
from unlearn.stages.project.paths import Project


def write_noted(
    project: Project,
    whole: Path,
    kind: str,
    generation: Generation,
    write: Callable[[Path], None],
) -> ExportNote:
    """Write a file or a folder, and return the note of it.

    Parameters
    ----------
    project
        The project that notes it.
    whole
        Where it is to be; nothing is there.
    kind
        What the note calls it.
    generation
        The state that it is of.
    write
        Makes the file or the folder, at a path beside `whole`.

    Raises
    ------
    InputError
        If something is at `whole` meanwhile. Nothing was written.
    """
    name = secrets.token_hex(4)
    half = whole.parent / f".{whole.name}.{name}"
    note = ExportNote(
        name=name,
        state="begun",
        time=utc_now(),
        kind=kind,
        where=str(whole),
        half=str(half),
        commit=generation.commit,
        lock=generation.lock,
        models=generation.models,
        forget_list=honoured_list(project),
    )
    append_note(project, note)
    done = None
    try:
        write(half)
        if whole.exists():
            raise InputError(f"{whole.name} was made by another process meanwhile")
        # Before it has its name: a kill leaves no export that is on no list.
        done = note.now("written", digests(half))
        append_note(project, done)
        half.rename(whole)
    except BaseException:
        if half.exists():
            if half.is_dir():
                shutil.rmtree(half)
            else:
                half.unlink()
            if done is not None:
                append_note(project, done.now("gone", {}))
        raise
    return done


def digests(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder, by its path in it; of a file, by its name."""
    if path.is_file():
        return {path.name.removeprefix(".").rpartition(".")[0]: digest_file(path)}
    return {
        file.relative_to(path).as_posix(): digest_file(file)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def write_record(
    half: Path, record: ExportRecord, card: Callable[[ExportRecord], str]
) -> ExportRecord:
    """Write export.json and the model card into an export; return the record with its files.

    Parameters
    ----------
    half
        The folder, with all other files.
    record
        What the export says of itself, without files.
    card
        Returns the model card.
    """
    whole = record.model_copy(update={"files": digests(half)})
    (half / FILE_NAME).write_bytes(json_bytes(whole.model_dump(mode="json")))
    (half / CARD_NAME).write_text(card(whole), encoding="utf-8")
    return whole


def write_published(final_model: Path, target: Path) -> None:
    """Write a table's final model into a folder, as a copy for publication; see `published.py`."""
    for name, content in published_files(final_model):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, content)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file that gets its name later, so that it survives a power cut."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
