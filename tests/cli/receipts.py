"""Erased requests and keys, for the tests of receipts."""

import os
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.ledger.log import Entry, new_entry, read_log
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.keygen import NewKey, make_key
from unlearn.stages.receipts.signers import PASSPHRASE_VARIABLE

from tests.conftest import Done, Repo

WORDS = "correct horse battery"

PURGED = ErasedPlace(name="DVC's cache", state="purged", method="deleted object by object")
PENDING = ErasedPlace(name="the remote backup", state="pending", why="no rights to delete")


def log_erasure(repo: Repo, places: Iterable[ErasedPlace] = (PURGED,)) -> Entry:
    """Write the entry of an erasure to the request log, as `unlearn erase` does."""
    project = Project(repo.root)
    content = project.forget_list.read_bytes()
    erasure = Erasure(places=tuple(places))
    entry = new_entry(read_log(project), "erase", (), content, erasure=erasure)
    write_bytes(project.request_file(entry.name), entry.content)
    return entry


def key_for(repo: Repo) -> tuple[Path, NewKey]:
    """Make a key for a project; return the file of the private key as well."""
    path = repo.root.parent / f"{repo.root.name}-receipts.pem"
    return path, make_key(Project(repo.root), path, WORDS)


def create(repo: Repo, private: Path, *more: str) -> Done:
    """Run `unlearn receipt create` in this process, with the passphrase in the environment."""
    with mock.patch.dict(os.environ, {PASSPHRASE_VARIABLE: WORDS}):
        return repo.inline("receipt", "create", "--signer", str(private), *more)


def receipts_of(repo: Repo) -> dict[str, bytes]:
    """Return the receipts of a project by the name of the file."""
    folder = repo.root / "data/receipts"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.json"))}


def annexes_of(repo: Repo) -> dict[str, bytes]:
    """Return the annexes on this machine by the name of the file."""
    folder = repo.root / ".unlearn/receipts"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*"))}
