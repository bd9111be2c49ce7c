"""The text of dvc.lock: some of its entries replaced, and every other one left as it is.

DVC reads and writes the whole file for that, which takes it seconds where there are hundreds of
stages. Here the entries of other stages are not even parsed.
"""

import re
from collections.abc import Mapping

#: How a dvc.lock begins.
_HEAD = "schema: '2.0'\nstages:\n"

#: The first line of an entry, as DVC writes it for a name that needs no quotes.
_NAME = re.compile(r"  (\w[^\s:'\"#]*(?::[^\s:'\"#]+)*):")


def with_entries(text: str, written: Mapping[str, str]) -> str | None:
    """Return a dvc.lock with some entries replaced; those of new stages come last.

    Parameters
    ----------
    text
        The dvc.lock.
    written
        By stage, in order, what DVC writes for a dvc.lock that has this entry alone, from the line
        `stages:` on.

    Returns
    -------
    str or None
        What DVC itself would write; None where the text, or what is to be put into it, does not
        have the form in which DVC writes a dvc.lock.
    """
    parts = _split(text)
    if parts is None:
        return None
    entries, rest = parts
    for name, alone in written.items():
        own = _split(f"schema: '2.0'\n{alone}")
        if own is None or list(own[0]) != [name] or own[1]:
            return None
        entries |= own[0]
    return f"{_HEAD}{''.join(entries.values())}{rest}"


def _split(text: str) -> tuple[dict[str, str], str] | None:
    """Return the lines of each entry by the stage's name, and what follows the last one."""
    if not text.startswith(_HEAD) or not text.endswith("\n"):
        return None
    entries: dict[str, list[str]] = {}
    current: list[str] | None = None
    lines = text[len(_HEAD) :].split("\n")[:-1]
    for number, line in enumerate(lines):
        if line.startswith("    ") or not line:
            if current is None:
                return None
            current.append(line)
        elif line.startswith("  "):
            match = _NAME.fullmatch(line)
            if match is None or match[1] in entries:
                return None
            current = entries[match[1]] = [line]
        else:
            rest = "".join(f"{following}\n" for following in lines[number:])
            return (_joined(entries), rest) if line[0].isalpha() else None
    return _joined(entries), ""


def _joined(entries: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in entries.items()}
