"""What is searched for: values, and the forms in which a file can hold them."""

import base64
import json
import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from unlearn.stages.errors import InputError

#: Shorter values are found by chance in any large file.
LEAST_BYTES = 6

#: Bytes before a value decide how Base64 writes it; there are three cases.
_BASE64_OFFSETS = (0, 1, 2)


@dataclass(frozen=True)
class Wanted:
    """A value to search for.

    Parameters
    ----------
    name
        What messages call it; never the value itself.
    value
        Its bytes; UTF-8 if it is text.
    is_token
        Whether it is the digest of a token or of a row. As hexadecimal text it counts in cells of
        tables only: the forget list, the request log and what an erasure remembers hold it.
    """

    name: str
    value: bytes = field(repr=False)
    is_token: bool = False


@dataclass(frozen=True)
class Patterns:
    """The byte strings to search for, and what each of them means.

    Parameters
    ----------
    wanted
        The values.
    """

    wanted: tuple[Wanted, ...]

    @cached_property
    def in_bytes(self) -> Mapping[bytes, list[tuple[str, str]]]:
        """Name and form of each pattern to search for in the bytes of files."""
        return self._patterns(in_cells=False)

    @cached_property
    def in_cells(self) -> Mapping[bytes, list[tuple[str, str]]]:
        """The same for the cells of tables."""
        return self._patterns(in_cells=True)

    def _patterns(self, *, in_cells: bool) -> dict[bytes, list[tuple[str, str]]]:
        found: dict[bytes, list[tuple[str, str]]] = {}
        for item in self.wanted:
            for pattern, form in forms(item.value):
                if item.is_token and not in_cells and form == "hexadecimal":
                    continue
                found.setdefault(pattern, []).append((item.name, form))
        return found

    @cached_property
    def numbers(self) -> Mapping[float, str]:
        """The names of values that are numbers, which a cell may hold as a number."""
        found = {}
        for item in self.wanted:
            try:
                number = float(item.value)
            except ValueError:
                continue
            if not item.is_token and math.isfinite(number):
                found[number] = item.name
        return found


def forms(value: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the forms in which a file may hold a value, each with its name; each form once.

    Parameters
    ----------
    value
        At least `LEAST_BYTES` bytes.
    """
    seen = set()
    for pattern, form in _all_forms(value):
        if pattern not in seen:
            seen.add(pattern)
            yield pattern, form


def _all_forms(value: bytes) -> Iterator[tuple[bytes, str]]:
    yield value, "as it is"
    yield value.hex().encode(), "hexadecimal"
    yield value.hex().upper().encode(), "hexadecimal"
    for offset in _BASE64_OFFSETS:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield _base64_core(encode(bytes(offset) + value), offset, len(value)), "Base64"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, text).encode(), "as it is"
    for name in ("UTF-16", "UTF-32"):  # NumPy has texts as UTF-32
        for order in ("LE", "BE"):
            yield text.encode(f"{name}-{order}"), name
    for encoding in ("latin-1", "cp1252"):
        try:
            yield text.encode(encoding), encoding
        except UnicodeEncodeError:
            continue
    yield json.dumps(text)[1:-1].encode(), "JSON"
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode(), "JSON"
    yield quote(text, safe="").encode(), "URL"


def _base64_core(encoded: bytes, offset: int, length: int) -> bytes:
    """Return the characters that follow from the value alone, whatever is around it."""
    first = -(-offset * 8 // 6)
    last = (offset + length) * 8 // 6
    return encoded[first:last]


def wanted_values(lines: list[bytes], name: str) -> tuple[Wanted, ...]:
    """Return the values of a file: one on each line; empty lines are skipped.

    Parameters
    ----------
    lines
        The lines, without line ends.
    name
        What messages call the file.

    Raises
    ------
    InputError
        If there is no value, or one is too short.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line) < LEAST_BYTES:
            raise InputError(
                f"{name}, line {number}: a value of fewer than {LEAST_BYTES} bytes would be found "
                "by chance",
                "search for a longer one, such as the row as its file has it",
            )
        found.append(Wanted(f"the value of line {number}", line))
    if not found:
        raise InputError(f"{name} holds no values")
    return tuple(found)
