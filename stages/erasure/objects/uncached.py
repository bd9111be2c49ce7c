"""Outs that dvc.yaml excludes from DVC's cache: there are no objects of them, and no lists."""

import posixpath
import re
from collections.abc import Collection, Iterator
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml

_VARIABLE = re.compile(r"\\\$\\\{.*?\\\}")


class Patterns:
    """The paths of outs that are not cached.

    Parameters
    ----------
    pipelines
        Path and content of each dvc.yaml. One that cannot be parsed names none.
    """

    def __init__(self, pipelines: Collection[tuple[str, bytes]]) -> None:
        found = {
            # What a matrix or a setting fills in can be anything.
            _VARIABLE.sub("[^/]*", re.escape(path))
            for name, content in pipelines
            for path in _uncached(posixpath.dirname(name), content)
        }
        self._pattern = re.compile("|".join(sorted(found))) if found else None

    def match(self, path: str) -> bool:
        """Return whether the out at a path, relative to git's top folder, is not cached."""
        return self._pattern is not None and self._pattern.fullmatch(path) is not None


def _uncached(folder: str, content: bytes) -> list[str]:
    try:
        stages = parse_yaml(content)["stages"]
        return [
            posixpath.normpath(posixpath.join(folder, stage.get("wdir", "."), path))
            for stage in stages.values()
            for path in _paths(stage)
        ]
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return []


def _paths(stage: dict[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for entry in stage.get(kind) or []:
            for path, options in entry.items() if isinstance(entry, dict) else ():
                if isinstance(options, dict) and options.get("cache") is False:
                    yield path
