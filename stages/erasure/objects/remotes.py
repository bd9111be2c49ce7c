"""Remotes that an older `.dvc/config` names: they keep what was once pushed to them."""

import os
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.dvc.storage import Remote

_SECTION = re.compile(r"""\[\s*['"]?remote\s+["'](.+?)["']\s*['"]?\s*\]""")
_OPTION = re.compile(r"([\w]+)\s*=\s*(.*)")


@dataclass(frozen=True)
class _Address:
    """Where a remote is."""

    url: str
    endpoint: str


def earlier_remotes(
    configs: Iterable[tuple[str, bytes]], top: Path, today: Collection[Remote]
) -> list[str]:
    """Return the names of remotes that are at no address of today's remotes.

    Parameters
    ----------
    configs
        Path and content of every version of `.dvc/config`.
    top
        The top folder of the git repository.
    today
        The remotes of DVC's settings.
    """
    names = {remote.name for remote in today}
    known = {_address(remote.url, remote.endpoint, top) for remote in today}
    found = set()
    for path, content in configs:
        folder = top / posixpath.dirname(path)
        for name, options in _remotes(content.decode("utf-8", "replace")):
            url = options.get("url")
            if url is None:
                # Where it is was in a file that git does not have.
                is_known = name in names
            else:
                is_known = _address(url, options.get("endpointurl", ""), folder) in known
            if not is_known:
                found.add(name)
    return sorted(found)


def _remotes(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the options of each remote in a file of settings."""
    name, options = None, dict[str, str]()
    for line in map(str.strip, (*text.splitlines(), "[]")):
        if line.startswith("["):
            if name is not None:
                yield name, options
            section = _SECTION.match(line)
            name, options = section[1] if section else None, {}
        elif (option := _OPTION.match(line)) is not None:
            options[option[1].lower()] = option[2].strip().strip("\"'")


def _address(url: str, endpoint: str, folder: Path) -> _Address:
    """Return where a remote is; a relative path starts from a folder."""
    if "://" in url:
        return _Address(url.rstrip("/"), endpoint.rstrip("/"))
    return _Address(os.path.realpath(folder / Path(url).expanduser()), "")
