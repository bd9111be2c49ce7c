"""What dvc.lock and *.dvc files say: which objects stages and tracked files read and write."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml

#: The name of an object: the MD5 of a file, or of a folder's list of files.
OBJECT = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
FOLDER_ENDING = ".dir"

_ANYWHERE = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?:\.dir)?(?![0-9a-f])")

#: A stage's entry of dvc.lock, as DVC writes it.
_STAGE = re.compile(r"^  (?=\S)", re.MULTILINE)
_NAME = re.compile(r"  ([a-zA-Z_][\w./@+=-]*):\n")
_SECTION = re.compile(r"^    (deps|outs):\n((?:    -.*\n|     .*\n)*)", re.MULTILINE)
#: A file or folder in it, where nothing is quoted and all of it is on lines of its own.
_PLAIN = re.compile(
    r"    - path: ([\w./][\w./@+=-]*)\n"
    r"(?:      hash: md5\n)?"
    r"      md5: ([0-9a-f]{32}(?:\.dir)?)\n"
    r"(?:      (?:size|nfiles): \d+\n|      isexec: true\n)*"
)

#: Different entries that are kept: most commits change a few.
_KEPT_ENTRIES = 50_000


@dataclass(frozen=True)
class Entry:
    """A file or folder that a stage reads or writes.

    Parameters
    ----------
    path
        Relative to the top folder of the git repository.
    name
        The name of its object.
    """

    path: str
    name: str


@dataclass(frozen=True)
class Record:
    """A stage in a dvc.lock, or a *.dvc file.

    Parameters
    ----------
    deps, outs
        What it reads and writes.
    is_tracked
        Whether it is a *.dvc file: nothing but DVC says what is in it.
    name
        The stage's name; empty for a *.dvc file.
    """

    deps: tuple[Entry, ...]
    outs: tuple[Entry, ...]
    is_tracked: bool = False
    name: str = ""


@dataclass(frozen=True)
class Records:
    """What one file says.

    Parameters
    ----------
    records
        Its stages.
    damaged
        Names of objects in a file that cannot be parsed, such as one that was cut short: nothing
        says what they are.
    """

    records: tuple[Record, ...] = ()
    damaged: frozenset[str] = frozenset()

    def names(self) -> Iterator[str]:
        """Yield the name of every object."""
        yield from self.damaged
        for record in self.records:
            for entry in (*record.deps, *record.outs):
                yield entry.name


def read_records(path: str, content: bytes) -> Records:
    """Return what a dvc.lock or a *.dvc file says.

    Parameters
    ----------
    path
        Its path, relative to the top folder of the git repository.
    content
        Its bytes. A file that cannot be parsed is no error: its objects are found all the same.
    """
    text = content.decode("utf-8", "replace")
    folder = posixpath.dirname(path)
    try:
        if posixpath.basename(path) == "dvc.lock":
            return Records(tuple(_lock_records(text, folder)))
        return Records((_tracked(parse_yaml(text), folder),))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return Records(damaged=frozenset(_ANYWHERE.findall(text)))


def _lock_records(text: str, folder: str) -> list[Record]:
    blocks = _blocks(text)
    if blocks is not None:
        try:
            return [record for block in blocks for record in _parsed(block, folder)]
        except yaml.YAMLError:
            pass  # an entry may refer to another one
    return _records(parse_yaml(text), folder)


def _blocks(text: str) -> list[str] | None:
    """Return the text of each stage's entry; None if the file is not as DVC writes it."""
    head = "schema: '2.0'\nstages:\n"
    if not text.startswith(head) or not text.endswith("\n"):
        return None
    body = text[len(head) :]
    # Any line that is less indented, such as a git conflict marker, is not of DVC.
    if any(line and not line.startswith("  ") for line in body.split("\n")):
        return None
    starts = [found.start() for found in _STAGE.finditer(body)]
    if body and (not starts or starts[0] != 0):
        return None
    return [body[one:other] for one, other in zip(starts, [*starts[1:], None], strict=True)]


@lru_cache(maxsize=_KEPT_ENTRIES)
def _parsed(block: str, folder: str) -> tuple[Record, ...]:
    """Return what an entry says: the same text is in the lock of many commits."""
    found: dict[str, tuple[Entry, ...]] = {"deps": (), "outs": ()}
    for name, lines in _SECTION.findall(block):
        if _PLAIN.sub("", lines):
            found["outs"] = ()
            break
        found[name] = tuple(_entry(folder, *facts) for facts in _PLAIN.findall(lines))
    name = _NAME.match(block)
    if not found["outs"] or name is None:  # cut short, or in a form that is not known
        return tuple(_records(parse_yaml(block), folder))
    return (Record(found["deps"], found["outs"], name=name[1]),)


def _records(content: Any, folder: str) -> list[Record]:
    if not isinstance(content, Mapping):
        raise TypeError
    # DVC 1 had the stages at the top.
    stages = content["stages"] if "schema" in content else content
    found = []
    for name, stage in stages.items():
        deps, outs = stage.get("deps") or [], stage.get("outs") or []
        if not deps and not outs:
            raise ValueError  # cut short
        found.append(Record(_entries(deps, folder), _entries(outs, folder), name=str(name)))
    return found


def _tracked(content: Any, folder: str) -> Record:
    folder = posixpath.join(folder, str(content.get("wdir", ".")))
    # What was imported is named by the place that it came from, which has objects of its own.
    deps = [entry for entry in content.get("deps") or [] if "repo" not in entry]
    outs = _entries(content.get("outs") or [], folder)
    return Record(_entries(deps, folder), outs, is_tracked=True)


def _entries(listed: Iterable[Mapping[str, Any]], folder: str) -> tuple[Entry, ...]:
    return tuple(
        _entry(folder, path, name)
        for entry in listed
        for path, name in _names(entry)
        if OBJECT.fullmatch(name)
    )


def _names(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield str(entry["path"]), str(entry.get("md5"))
    # Remotes that keep versions by themselves have no list of files: it is here.
    for file in entry.get("files") or []:
        yield posixpath.join(str(entry["path"]), str(file["relpath"])), str(file.get("md5"))


@lru_cache(maxsize=_KEPT_ENTRIES)
def _entry(folder: str, path: str, name: str) -> Entry:
    return Entry(posixpath.normpath(posixpath.join(folder, path)), name)
