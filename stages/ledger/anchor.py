"""The anchor: a copy of the newest entries' names, kept outside the repository.

A log that was cut off at its end looks whole. Against a place that the repository cannot change, it
does not.
"""

import os
import urllib.request
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.ledger.history import read_log_at
from unlearn.stages.ledger.log import Log
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
    place = os.environ.get(ANCHOR_VARIABLE, "").strip()
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


def write_anchor(log: Log) -> None:
    """Write the newest entries of the log to the file in `UNLEARN_LEDGER`; a URL is left alone."""
    place = os.environ.get(ANCHOR_VARIABLE, "").strip()
    if place and not place.startswith(_SCHEMES):
        kept = read_anchor() - log.by_name.keys()
        Path(place).write_text("".join(f"{n}\n" for n in sorted({*log.heads, *kept})), "ascii")
