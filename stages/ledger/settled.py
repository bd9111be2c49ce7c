"""Versions of the list and the log that need not be read again.

A version whose lines the present list has can show no loss, and neither can it later: the list only
grows. Without this, every command would read all versions of a long list, which takes seconds after
some hundreds of requests.
"""

import contextlib
import hmac
import json

from unlearn.stages.project.files import canonical_json, json_bytes, write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.tokens import Key


class Settled:
    """Names of git objects whose lines the present list has.

    They are kept in .unlearn, under a seal of the project key.

    Parameters
    ----------
    project, key
        The project, and what seals the file.
    content
        The bytes of the present list.
    """

    def __init__(self, project: Project, key: Key, content: bytes) -> None:
        self._path = project.history
        self._key = key
        self._lines = _lines(content)
        self._before = self._read()
        self._names = set(self._before)

    def has(self, name: str) -> bool:
        """Return whether an object needs not be read."""
        return name in self._names

    def see(self, name: str, lines: set[bytes]) -> None:
        """Note an object that was read, if the present list has all of its lines."""
        if lines <= self._lines:
            self._names.add(name)

    def save(self) -> None:
        """Write the names, if there are new ones. A disk that is full or read-only is no error."""
        if self._names == self._before:
            return
        value = {
            "list": sorted(line.decode("utf-8", "surrogateescape") for line in self._lines),
            "objects": sorted(self._names),
        }
        with contextlib.suppress(OSError, UnicodeEncodeError):
            write_bytes(self._path, json_bytes(value | {"seal": self._seal(value)}))

    def _seal(self, value: object) -> str:
        return self._key.digest("history", canonical_json(value)).hex()

    def _read(self) -> set[str]:
        """Return the names in the file; none where the list has lost a line since."""
        try:
            value = json.loads(self._path.read_bytes())
            seal = value.pop("seal")
            lines = {line.encode("utf-8", "surrogateescape") for line in value["list"]}
            names = set(value["objects"])
            whole = hmac.compare_digest(seal, self._seal(value))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()
        return names if whole and lines <= self._lines else set()


def _lines(content: bytes) -> set[bytes]:
    return set(content.split(b"\n")) | {b""}
