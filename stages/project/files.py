"""Files as the pipeline writes them: whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

#: Names of half-written files begin so; every stage removes them from its own outs.
TEMPORARY_PREFIX = ".unlearn-tmp-"

#: Files are compared so many bytes at a time.
_PIECE_BYTES = 1 << 20


def write_through(
    path: Path,
    write: Callable[[Path], None],
    mode: int | None = None,
    *,
    leave: bool = False,
) -> bool:
    """Let `write` fill a temporary file in the folder of `path`, sync it, and rename it to `path`.

    A reader, or a run after a kill, sees the old file or the new one, never a part of either.

    Parameters
    ----------
    path
        The path of the file. Missing parents are made.
    write
        Called with the temporary path.
    mode
        Permission bits of the new file; the process's default if None.
    leave
        Whether a file that holds the same bytes is left alone.

    Returns
    -------
    bool
        False if the file was left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        write(temporary)
        if leave and _holds_the_same(path, temporary):
            return False
        if mode is not None:
            temporary.chmod(mode)
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)
    return True


def move_through(source: Path, path: Path, mode: int | None = None) -> bool:
    """Make `path` the file at `source`, whole or not at all; leave an equal file alone.

    Parameters
    ----------
    source
        A temporary file. It is gone afterwards if it could be renamed, as within a file system.
    path
        The path of the file. Missing parents are made.
    mode
        Permission bits of the new file; those of `source` if None.

    Returns
    -------
    bool
        False if the file was left alone.
    """
    if _holds_the_same(path, source):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is not None:
        source.chmod(mode)
    _sync(source)
    try:
        source.replace(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return write_through(path, lambda temporary: copy_content(source, temporary), mode)
    _sync(path.parent)
    return True


def copy_content(source: Path, target: Path) -> None:
    """Write the bytes of a file to another one, with the permissions of a new file."""
    shutil.copyfile(source, target)


def _holds_the_same(path: Path, other: Path) -> bool:
    """Return whether `path` is a file of its own with the bytes of another one."""
    if not path.is_file() or path.is_symlink():
        return False
    if path.stat().st_size != other.stat().st_size:
        return False
    with path.open("rb") as one, other.open("rb") as two:
        while content := one.read(_PIECE_BYTES):
            if content != two.read(_PIECE_BYTES):
                return False
    return True


def write_folder_through(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder, sync all of it, and rename it to `path`.

    As `write_through` does with a file. Files are synced when all are written: one commit of the
    file system then holds many of them.

    Parameters
    ----------
    path
        The path of the folder, which is not there. Missing parents are made.
    write
        Called with the path of a temporary folder, which is empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    temporary.mkdir()
    try:
        write(temporary)
        for inside in (*temporary.rglob("*"), temporary):
            _sync(inside)
        temporary.rename(path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
    _sync(path.parent)


def write_bytes(path: Path, content: bytes, mode: int | None = None) -> bool:
    """Write `content` to `path` whole or not at all; leave an equal file alone.

    Returns
    -------
    bool
        True if the file was written, False if it already held these bytes.
    """
    if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
        return False

    def write(temporary: Path) -> None:
        # The mode from the start: a key is never readable by others, not for a moment.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)

    write_through(path, write, mode)
    return True


def write_json(path: Path, value: Any) -> bool:
    """Write `value` as sorted, indented JSON; see `write_bytes`."""
    return write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return `value` as sorted, indented JSON with a final newline, NaN refused."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def canonical_json(value: Any) -> bytes:
    """Return the one compact JSON text of `value`, for digests."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file's bytes, in hex, read in pieces."""
    # md5 is what DVC writes into dvc.lock; it is compared, not relied upon for security.
    new = partial(hashlib.new, algorithm, usedforsecurity=False)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, new).hexdigest()


def write_folder(folder: Path, files: Mapping[str, bytes], last: str) -> None:
    """Make `folder` hold exactly `files`.

    Parameters
    ----------
    folder
        Is made where it is missing.
    files
        Content by path relative to `folder`, with forward slashes.
    last
        The file to write after all others: if it exists, the others are complete.
    """
    names = sorted(files, key=lambda name: (name == last, name))
    write_files(folder, ((name, files[name]) for name in names))


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Make `folder` hold exactly `files`, one in memory at a time.

    Parameters
    ----------
    folder
        Is made where it is missing.
    files
        Path relative to `folder`, with forward slashes, and content, in the order of writing.
    """
    written = []
    for name, content in files:
        write_bytes(folder / name, content)
        written.append(name)
    remove_unplanned(folder, written)


def remove_unplanned(folder: Path, planned: Iterable[str]) -> list[str]:
    """Delete every file below `folder` that is not planned, and folders left empty.

    DVC leaves persisted outs in place, so what a smaller plan no longer makes would stay.

    Returns
    -------
    list of str
        The removed files, relative to `folder`.
    """
    keep = set(planned)
    removed: list[str] = []
    if not folder.is_dir():
        return removed
    for path in sorted(folder.rglob("*"), reverse=True):
        relative = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif relative not in keep and relative != ".gitignore":
            path.unlink()
            removed.append(relative)
    return removed


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Make `path` an empty folder for the length of the block, and lock it where it can be."""
    scratch_lock(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(scratch_lock(path), fallback_to_soft=False)
    # Only `clean_leftovers` asks for it: who comes second takes the folder over, as a kill needs.
    with suppress(Timeout, OSError, NotImplementedError):
        lock.acquire(timeout=0)
    try:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700, parents=True)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


def scratch_lock(path: Path) -> Path:
    """Return the file that is locked while a scratch folder is in use."""
    # `Project.scratch` and `Project.lock_file` have one parent.
    private = path.parent.parent if path.parent.name == "scratch" else path.parent
    return private / "locks" / f"scratch-{path.name}"


def _sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
