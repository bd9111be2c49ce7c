"""Finding people by hashes of their contact data: an index of keyed digests on this machine.

The columns that `dataset.contact` names are standardised and hashed once. The index holds an HMAC
under the project key of each hash, and the token of the row's person, or of the record where the
dataset names no persons. It is made again when the dataset or the settings change.
"""

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from unlearn.stages.config.contact import CONTACT_LISTS, ContactList, ContactParams
from unlearn.stages.config.dataset import TASK_SETTINGS, DatasetParams
from unlearn.stages.contacts.hashes import contact_hash
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import digest_file, digest_json, write_through
from unlearn.stages.reading.dataset_files import dataset_files
from unlearn.stages.reading.needed_columns import require_column
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.identity import digest_columns
from unlearn.stages.rows.token_arrays import as_digests, token_texts
from unlearn.stages.rows.tokens import ROTATION, Key

#: Bytes of a keyed digest: no two of a billion are the same by chance.
DIGEST_BYTES = 16

#: Raised when the index is made in another way.
_VERSION = 1


#: A list, and the keyed digest of a hash in it.
Identity = tuple[ContactList, bytes]


def find_contacts(
    context: Context,
    wanted: Iterable[tuple[ContactList, str]],
    progress: Callable[[int], None] = lambda _rows: None,
) -> dict[tuple[ContactList, str], tuple[str, ...]]:
    """Return the people, or records, that have contact data with these hashes.

    Parameters
    ----------
    context
        The project.
    wanted
        Lists and hashes, in Base64.
    progress
        Called with the number of rows of each batch while the index is made.

    Returns
    -------
    dict
        Tokens by list and hash, sorted; without hashes that nobody has.

    Raises
    ------
    InputError
        If params.yaml names no columns for a list, the dataset is not here, or lacks a column.
    """
    wanted = list(dict.fromkeys(wanted))
    contact = _contact(context, {name for name, _ in wanted})
    _bring_up_to_date(context, contact, progress)
    found: dict[tuple[ContactList, str], tuple[str, ...]] = {}
    with closing(_open(context.project.contacts)) as index:
        for name, digest in wanted:
            keyed = keyed_digest(context.key, name, digest)
            rows = index.execute("SELECT token FROM contact WHERE digest = ?", (keyed,)).fetchall()
            if rows:
                joined = b"".join(sorted({row[0] for row in rows}))
                found[name, digest] = tuple(token_texts(as_digests(joined)).to_pylist())
    return found


def find_digests(
    context: Context,
    digests: Iterable[Identity],
    progress: Callable[[int], None] = lambda _rows: None,
) -> frozenset[str]:
    """Return the tokens of the people, or records, that the index has some digests for.

    Parameters
    ----------
    context, progress
        See `find_contacts`, also for errors.
    digests
        Lists, and what `keyed_digest` returned.
    """
    digests = list(digests)
    contact = _contact(context, {name for name, _ in digests})
    _bring_up_to_date(context, contact, progress)
    found: set[bytes] = set()
    with closing(_open(context.project.contacts)) as index:
        for _, digest in digests:
            rows = index.execute("SELECT token FROM contact WHERE digest = ?", (digest,))
            found.update(row[0] for row in rows)
    return frozenset(token_texts(as_digests(b"".join(found))).to_pylist())


def keyed_digest(key: Key, name: ContactList, digest: str) -> bytes:
    """Return what the index has for the hash of a list."""
    first = Key(key.texts[0]).digest("contact", f"{name}:{digest}".encode())
    return brought_forward(key, first[:DIGEST_BYTES], 1)


def brought_forward(key: Key, digest: bytes, epoch: int) -> bytes:
    """Return what a keyed digest of an earlier key is with the present one.

    Parameters
    ----------
    key
        The project key.
    digest
        The digest.
    epoch
        The number of its key, from 1.
    """
    for text in key.texts[epoch:]:
        digest = Key(text).digest(ROTATION, digest)[:DIGEST_BYTES]
    return digest


def _contact(context: Context, lists: set[ContactList]) -> ContactParams:
    contact = context.params.dataset.contact
    for name in sorted(lists):
        if contact is None or not contact.columns_of(name):
            raise InputError(
                f"params.yaml names no columns for the list {name}, so that nobody can be found by "
                "it; nothing was changed",
                "name them in dataset.contact; if the dataset has no such columns, do not choose "
                "the list in DROP",
            )
    if contact is None:
        raise InputError("params.yaml names no columns in dataset.contact")
    return contact


def _bring_up_to_date(
    context: Context, contact: ContactParams, progress: Callable[[int], None]
) -> None:
    """Make the index, unless it is that of the dataset as it is."""
    state, path = _state(context, contact), context.project.contacts
    if _state_of(path) == state:
        return
    path.unlink(missing_ok=True)  # it may have people whose rows left the dataset
    write_through(path, lambda target: _make(context, contact, state, target, progress), 0o600)


def _state(context: Context, contact: ContactParams) -> str:
    """Return a digest of all that the index follows from."""
    dataset = context.params.dataset
    files: dict[str, str] = {}
    for name in _names(dataset):
        path = context.project.root / name
        if not path.exists():
            raise InputError(
                f"{name} is not here, so that people cannot be looked up by their contact data",
                "`dvc pull` or `dvc checkout` brings it back",
            )
        for file in dataset_files(path, name):
            files[f"{name}:{file.relative_to(path)}"] = digest_file(file)
    return digest_json(
        {
            "version": _VERSION,
            "files": files,
            "key": context.key.check,
            "dataset": dataset.model_dump(
                mode="json",
                exclude={"features", "categories", "category_texts", "weight", *TASK_SETTINGS},
            ),
            "contact": contact.model_dump(mode="json"),
        }
    )


def _names(dataset: DatasetParams) -> list[str]:
    return [name for name in (dataset.path, dataset.held_out) if name is not None]


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path)


def _state_of(path: Path) -> str | None:
    """Return the state that an index was made in; None if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        with closing(_open(path)) as index:
            row = index.execute("SELECT value FROM state").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def _make(
    context: Context,
    contact: ContactParams,
    state: str,
    path: Path,
    progress: Callable[[int], None],
) -> None:
    """Write the index to a new file; one batch of rows is in memory at a time."""
    path.unlink(missing_ok=True)
    with closing(_open(path)) as index:
        # A file that a kill cuts short never gets its name.
        index.execute("PRAGMA journal_mode = OFF")
        index.execute("PRAGMA synchronous = OFF")
        index.execute("CREATE TABLE contact (digest BLOB NOT NULL, token BLOB NOT NULL)")
        for rows in _all_rows(context, contact, progress):
            index.executemany("INSERT INTO contact VALUES (?, ?)", rows)
        index.execute("CREATE INDEX by_digest ON contact (digest)")
        index.execute("CREATE TABLE state (value TEXT NOT NULL)")
        index.execute("INSERT INTO state VALUES (?)", (state,))
        index.commit()


def _all_rows(
    context: Context, contact: ContactParams, progress: Callable[[int], None]
) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    for name in _names(context.params.dataset):
        dataset = context.params.dataset.model_copy(update={"path": name})
        ids = [column for column in (dataset.id, dataset.subject) if column is not None]
        columns = list(dict.fromkeys([*ids, *contact.columns]))
        first_row = 1
        path = context.project.root / name
        for batch in read_batches(path, name, columns, Reading.of(dataset)):
            found = digest_columns(batch, dataset, context.tokenizer, name, first_row)
            tokens = [bytes(token) for token in found.governing]
            yield _rows_of(batch, contact, context.key, tokens, name)
            first_row += batch.num_rows
            progress(batch.num_rows)


def _rows_of(
    batch: pa.Table, contact: ContactParams, key: Key, tokens: Sequence[bytes], name: str
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keyed digests of a batch's contact data, with the tokens of their rows."""
    texts: dict[str, list[str | None]] = {}
    for column in contact.columns:
        require_column(batch, column, name)
        texts[column] = [_text(value) for value in batch[column].to_pylist()]
    for each in CONTACT_LISTS:
        for columns in contact.columns_of(each):
            values = zip(*(texts[column] for column in columns), strict=True)
            for token, parts in zip(tokens, values, strict=True):
                if digest := contact_hash(each, parts, contact.birth_dates):
                    yield keyed_digest(key, each, digest), token


def _text(value: Any) -> str | None:
    """Return a value as a person would write it: a number that is whole has no decimal point."""
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return value.isoformat() if isinstance(value, date) else str(value)
