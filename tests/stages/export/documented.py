"""What docs/handover.md says that copies for publication hold."""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[3] / "docs/handover.md"


def documented(file: str) -> set[str]:
    """Return the names that the table of the page has for a file."""
    table = PAGE.read_text(encoding="utf-8").partition("| file | names |")[2]
    names, current = set(), ""
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        place, cell = (part.strip() for part in line.split("|")[1:3])
        current = place or current
        if f"`{file}`" in current:
            names |= set(re.findall(r"`([^`]+)`", cell))
    return names


def undocumented(file: str, content: bytes) -> set[str]:
    """Return the names in a JSON file of a copy that the page does not have.

    Settings and what was learned have more names below; the page says what these are.
    """
    value: dict[str, Any] = json.loads(content)
    names = set(value) | set(value.get("generation", ()))
    for member in value.get("members", ()):
        names |= set(member)
    return names - documented(file)
