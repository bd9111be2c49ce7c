"""Roots: digests of the state of the pipeline, which anyone with the git history can compute."""

import hashlib
from pathlib import Path

from unlearn.stages.dvc.lockfile import LockStages, read_entries
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import FOLDER
from unlearn.stages.project.files import digest_json
from unlearn.stages.project.git import files_at, git, git_line
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.statement import Roots

_LOCK = "dvc.lock"

#: The pipeline's own folders of rows. The dataset itself is not among them: see `Roots`.
_DATA = ("data/shards", "data/retain_set", "data/forget_set")


def roots_now(project: Project) -> Roots:
    """Return the roots of the working tree.

    Raises
    ------
    InputError
        If there is no dvc.lock, or it was cut short.
    """
    try:
        content = project.lock.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no dvc.lock: nothing ran yet", "`unlearn repro`") from None
    return _roots(content, None)


def roots_before(project: Project, names: tuple[str, ...]) -> Roots | None:
    """Return the roots of the last commit that has none of some entries of the request log.

    Parameters
    ----------
    project
        The project.
    names
        Names of entries.

    Returns
    -------
    Roots or None
        None if git has no such commit, or no whole dvc.lock in it.
    """
    commit = _commit_before(project.root, names)
    if commit is None:
        return None
    content = files_at(project.root, commit, _LOCK).get(_LOCK)
    if content is None:
        return None
    try:
        return _roots(content, commit)
    except InputError:
        return None


def _commit_before(root: Path, names: tuple[str, ...]) -> str | None:
    """Return the parent of the first commit that has one of the entries; HEAD if none has."""
    files = [f"{FOLDER}/{name}.json" for name in names]
    order = ("--topo-order", "--reverse", "--full-history", "-m", "--diff-filter=A")
    out = git(root, "log", *order, "--format=%H", "HEAD", "--", *files)
    if out is None:
        return None
    first = out.decode("ascii").partition("\n")[0]
    return git_line(root, "rev-parse", "--verify", "--quiet", f"{first}^1" if first else "HEAD")


def _roots(content: bytes, commit: str | None) -> Roots:
    try:
        lock = read_entries(content.decode())
    except UnicodeDecodeError:
        raise InputError("dvc.lock is not readable: it was cut short") from None
    return Roots(
        commit=commit,
        data=_digest(lock, _DATA),
        models=_digest(lock, ("models",)),
        lock=hashlib.sha256(content).hexdigest(),
    )


def _digest(lock: LockStages, folders: tuple[str, ...]) -> str:
    """Return the SHA-256 of the md5s, by path, of the stages' outs in folders."""
    found = {
        entry["path"]: entry["md5"]
        for stage in lock.values()
        for entry in stage.get("outs", [])
        if "md5" in entry and any(Path(entry["path"]).is_relative_to(folder) for folder in folders)
    }
    return digest_json(found)
