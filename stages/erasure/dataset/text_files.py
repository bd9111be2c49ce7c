"""New files of text, compressed as the old ones were."""

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

#: Of the command `gzip`. A higher level takes several times as long.
_LEVEL = 6


@contextmanager
def new_text_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file, compressed if its name ends in `.gz`: then without a name or a time."""
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            yield file
            return
        with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as compressed:
            yield cast("BinaryIO", compressed)


def cut(text: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """Return a text without some spans, which are in order."""
    parts, at = [], 0
    for begin, end in spans:
        parts.append(text[at:begin])
        at = end
    return b"".join([*parts, text[at:]]) if parts else text
