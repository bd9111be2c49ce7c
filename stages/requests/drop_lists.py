"""Deletion lists of California's platform DROP, as data brokers download them.

References
----------
California Privacy Protection Agency, DROP technical specifications 1.2.0 (July 2026), "Working with
the data" and "API operations": a ZIP archive with a CSV file for each list, with the columns `Id`
and `Hash`.
"""

import base64
import binascii
import csv
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import IO, cast

from unlearn.stages.config.contact import CONTACT_LISTS, ContactList
from unlearn.stages.errors import Facts, InputError

#: `<YYYYMMDD>_<DataBrokerId>_<DataType>[_<suffix>].csv`
_NAME = re.compile(r"(?P<day>[0-9]{8})_(?P<broker>[0-9]+)_(?P<type>[A-Za-z]+)(_[A-Za-z0-9]+)?\.csv")
_ITEM = re.compile(r"[A-Za-z0-9]{1,64}")
_HASH_CHARACTERS, _HASH_BYTES = 44, 32

#: A file of identifiers that consumers have taken back; it is no list.
_REMOVED = "Removed"

#: An archive may have so many files, and may unpack to so many bytes.
_MOST_FILES, _MOST_BYTES = 64, 4 << 30

_ZIP = b"PK\x03\x04"

#: What Python's modules raise for archives that are damaged, or of a kind that they cannot read.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, IndexError, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True)
class DropItem:
    """An entry of a list.

    Parameters
    ----------
    list_name
        The list.
    item
        Its identifier, which the reply has to name.
    digest
        The hash, in Base64.
    where
        Where it was read, for messages.
    """

    list_name: ContactList
    item: str
    digest: str = field(repr=False)
    where: str = ""


@dataclass(frozen=True)
class DropLists:
    """The lists of one download.

    Parameters
    ----------
    day
        When they were made.
    broker
        The data broker that they are for.
    files
        The entries by file name, in order.
    removed
        Lists and hashes of identifiers that their consumers took back.
    """

    day: date
    broker: str
    files: dict[str, tuple[DropItem, ...]]
    removed: tuple[tuple[ContactList, str], ...] = ()

    @property
    def items(self) -> list[DropItem]:
        """All entries."""
        return [item for items in self.files.values() for item in items]

    @property
    def ticket(self) -> str:
        """What the request log calls the download."""
        return f"DROP:{self.day:%Y%m%d}:{self.broker}"


def is_drop(content: bytes, name: str) -> bool:
    """Return whether a file is a download of DROP, by its name and its first bytes."""
    return content.startswith(_ZIP) or _NAME.fullmatch(PurePosixPath(name).name) is not None


def read_drop(content: bytes, name: str, broker: str | None = None) -> DropLists:
    """Return the lists of a download, or of one of its files.

    Parameters
    ----------
    content, name
        The file, and its name, which says the list.
    broker
        The identifier of this data broker, by params.yaml; None if any is fine.

    Raises
    ------
    InputError
        If it is no such file, a header, a name or a hash is wrong, an entry stands twice, there is
        none, or the lists are for another data broker.
    """
    found = dict(_files(content, name))
    kinds = {file: _parse_name(file) for file in found}
    if len({(day, owner) for day, owner, _ in kinds.values()}) > 1:
        raise InputError(f"{name} has lists of several days or data brokers")
    day, owner, _ = next(iter(kinds.values()))
    if broker is not None and owner != broker:
        raise InputError(
            f"{name} is for the data broker {owner}, and requests.data_broker in params.yaml is "
            f"{broker}; nothing was changed"
        )
    files: dict[str, tuple[DropItem, ...]] = {}
    removed: list[tuple[ContactList, str]] = []
    for file, (_, _, kind) in kinds.items():
        rows = _rows(found[file], file, removed=kind == _REMOVED)
        if kind == _REMOVED:
            removed += _removed(rows, file)
        else:
            files[file] = tuple(_items(rows, cast("ContactList", kind), file))
    lists = DropLists(day, owner, files, tuple(removed))
    if not lists.items and not removed:
        raise InputError(f"{name} has no entries; there is nothing to answer")
    _refuse_repeats(lists.items)
    return lists


def _files(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    if not content.startswith(_ZIP):
        yield PurePosixPath(name).name, content
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_members(members, name)
            left = _MOST_BYTES
            for entry in members:
                with archive.open(entry) as file:
                    text = _at_most(file, left, name)
                left -= len(text)
                yield entry.filename, text
    except _DAMAGED:
        raise InputError(f"{name} is no whole ZIP archive", facts=Facts(file=name)) from None


def _check_members(members: list[zipfile.ZipInfo], name: str) -> None:
    if not members:
        raise InputError(f"{name} is an empty archive")
    if len(members) > _MOST_FILES or sum(entry.file_size for entry in members) > _MOST_BYTES:
        raise InputError(f"{name} unpacks to more than a download of DROP can have")
    for entry in members:
        if entry.flag_bits & 1:
            raise InputError(f"{name} is encrypted")
    names = [entry.filename for entry in members]
    if len(set(names)) != len(names):
        raise InputError(f"{name} has a file twice")


def _at_most(file: IO[bytes], most: int, name: str) -> bytes:
    text = file.read(most + 1)
    if len(text) > most:
        raise InputError(f"{name} unpacks to more than it says")
    return text


def _parse_name(name: str) -> tuple[date, str, str]:
    """Return the day, the data broker and the kind of a file."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f"{name} is no name of a list of DROP, such as 20260312_4821_Email.csv",
            "with --column, any table can be read",
            facts=Facts(file=name),
        )
    try:
        day = datetime.strptime(match["day"], "%Y%m%d").date()  # noqa: DTZ007 - a date alone
    except ValueError:
        raise InputError(f"{name} begins with no date", facts=Facts(file=name)) from None
    if match["type"] not in (*CONTACT_LISTS, _REMOVED):
        raise InputError(
            f"{name}: there is no list {match['type']}",
            f"lists: {', '.join(CONTACT_LISTS)}",
            facts=Facts(file=name),
        )
    return day, match["broker"], match["type"]


def _rows(content: bytes, name: str, *, removed: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a list with the numbers of their lines; the header is checked."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text", facts=Facts(file=name)) from None
    if not text.strip():
        raise InputError(f"{name} is empty: it has no header", facts=Facts(file=name))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    expected = ["id", "hash", "listtype"] if removed else ["id", "hash"]
    try:
        header = next(reader)
        if [column.strip().lower() for column in header] != expected:
            columns = ["Id", "Hash", "ListType"] if removed else ["Id", "Hash"]
            raise InputError(
                f"{name}: the header is not {','.join(columns)}", facts=Facts(file=name, line=1)
            )
        for row in reader:
            if not row:
                continue
            if len(row) != len(expected):
                raise _damaged(name, reader.line_num, f"has {len(row)} values")
            yield reader.line_num, row
    except csv.Error:
        raise _damaged(name, reader.line_num, "is not CSV") from None


def _items(
    rows: Iterable[tuple[int, list[str]]], kind: ContactList, name: str
) -> Iterator[DropItem]:
    for line, (item, digest) in rows:
        if _ITEM.fullmatch(item) is None:
            raise _damaged(name, line, "has an Id that is not letters and digits")
        if not _is_hash(digest):
            raise _damaged(name, line, "has no SHA-256 in Base64: 44 characters")
        yield DropItem(kind, item, digest, f"{name}, line {line}")


def _removed(rows: Iterable[tuple[int, list[str]]], name: str) -> Iterator[tuple[ContactList, str]]:
    for line, (_, digest, kind) in rows:
        if kind not in CONTACT_LISTS or not _is_hash(digest):
            raise _damaged(name, line, "has no list of DROP, or no SHA-256 in Base64")
        yield kind, digest


def _is_hash(text: str) -> bool:
    if len(text) != _HASH_CHARACTERS:
        return False
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    # Unused bits may be anything in Base64: then one hash could be written in several ways.
    return len(found) == _HASH_BYTES and base64.b64encode(found).decode() == text


def _damaged(name: str, line: int, what: str) -> InputError:
    where = Facts(file=name, line=line)
    return InputError(f"{where} {what}; nothing was changed", facts=where)


def _refuse_repeats(items: Iterable[DropItem]) -> None:
    seen: dict[str, str] = {}
    hashes: dict[tuple[str, str], str] = {}
    for item in items:
        if item.item in seen:
            raise InputError(f"{seen[item.item]} and {item.where} have the same Id")
        first = hashes.setdefault((item.list_name, item.digest), item.where)
        if first != item.where:
            raise InputError(f"{first} and {item.where} have the same identity")
        seen[item.item] = item.where
