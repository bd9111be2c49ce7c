"""The anchor: a copy of the newest entries' names, kept outside the repository.

A log that was cut off at its end looks whole. Against a place that the repository cannot change, it
does not.
"""

import os
import urllib.request
from pathlib import Path

from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.ledger.history import read_log_at
from unlearn.stages.ledger.log import Log
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import Branch

#: Names a file or a URL that holds the names of the newest entries of the log, one on each line.
ANCHOR_VARIABLE = "UNLEARN_LEDGER"

_SECONDS = 10
_SCHEMES = ("http://", "https://")


def unknown_entries(root: Path, log: Log, default: list[Branch]) -> int:
    """Count the entries that the anchor names and that neither this log nor the default has."""
    anchor = read_anchor()
    missing = anchor - log.by_name.keys()
    if not missing:
        return 0
    for ref in default:
        missing -= read_log_at(root, ref.commit).by_name.keys()
    return len(missing)


def read_anchor() -> frozenset[str]:
    """Return the names of entries that the file or URL in `UNLEARN_LEDGER` holds; none without.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    place = _place()
    if not place:
        return frozenset()
    try:
        if place.startswith(_SCHEMES):
            with urllib.request.urlopen(place, timeout=_SECONDS) as answer:  # noqa: S310 - one of two schemes
                content = answer.read()
        else:
            path = Path(place)
            content = path.read_bytes() if path.exists() else b""
        return frozenset(content.decode("ascii").split())
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"the anchor of the request log ({ANCHOR_VARIABLE}) is not readable"
        ) from None


def anchor_is_empty() -> bool:
    """Return whether an anchor is named that holds no entry: a wrong path looks like a new one."""
    return bool(_place()) and not read_anchor()


def check_anchor() -> None:
    """Check that the newest entries can be written to the file in `UNLEARN_LEDGER`.

    Raises
    ------
    InputError
        If they cannot. A file that is not there yet is made.
    """
    read_anchor()
    if (path := _file()) is not None:
        try:
            path.open("ab").close()
        except OSError as error:
            raise InputError(
                f"the anchor of the request log ({ANCHOR_VARIABLE}) is not writable: "
                f"{error.strerror}; nothing was changed"
            ) from None


def write_anchor(log: Log) -> None:
    """Write the newest entries of the log to the file in `UNLEARN_LEDGER`; a URL is left alone.

    Raises
    ------
    ToolError
        If the file cannot be written. The log itself has the entries.
    """
    if (path := _file()) is None:
        return
    kept = read_anchor() - log.by_name.keys()
    content = "".join(f"{name}\n" for name in sorted({*log.heads, *kept}))
    try:
        try:
            write_bytes(path.resolve(), content.encode("ascii"))
        except OSError:  # a file that is mounted by itself cannot be replaced
            path.write_text(content, "ascii")
    except OSError as error:
        raise ToolError(
            f"the request is on the list and in the log, but the anchor ({ANCHOR_VARIABLE}) could "
            f"not be written: {error.strerror}",
            "the next request writes it",
        ) from None


def _place() -> str:
    return os.environ.get(ANCHOR_VARIABLE, "").strip()


def _file() -> Path | None:
    place = _place()
    return Path(place) if place and not place.startswith(_SCHEMES) else None
