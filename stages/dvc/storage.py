"""DVC's cache and remotes: where they are, and what is in remotes that are no folders."""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from unlearn.stages.dvc.command import dvc_environment
from unlearn.stages.errors import ToolError
from unlearn.stages.project.paths import Project


class UnreachedError(Exception):
    """A remote did not do what was asked; the message says why, without any address."""


@dataclass(frozen=True)
class Remote:
    """A remote as DVC's settings name it.

    Parameters
    ----------
    name
        Its name.
    kind
        How it is reached: `local`, `s3`, or another of DVC's file systems.
    path
        The folder; of other kinds, the path in them.
    why_not
        Why it cannot be used here; None if it can.
    url, endpoint
        Where it is, as the settings have it; empty if they do not say.
    """

    name: str
    kind: str
    path: str | None
    why_not: str | None
    url: str = field(default="", repr=False)
    endpoint: str = field(default="", repr=False)


class Storage:
    """DVC in a process of its own, for all that is asked of its cache and remotes.

    Parameters
    ----------
    project
        The project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unlearn.stages.dvc.storage_child"],
            cwd=self._project.root,
            env=dvc_environment(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_exc_info: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def places(self) -> tuple[Path, list[Remote]]:
        """Return the folder of the cache, and all remotes.

        Raises
        ------
        ToolError
            If DVC fails.
        """
        answer = self._ask({"do": "places"})
        remotes = [
            Remote(
                name, found["kind"], found["path"], found["why"], found["url"], found["endpoint"]
            )
            for name, found in answer["remotes"].items()
        ]
        return Path(answer["cache"]).resolve(), remotes

    def list_files(self, remote: str) -> tuple[list[str], str | None]:
        """Return the names of all files in a remote, and why older versions are not among them.

        Raises
        ------
        UnreachedError
            If it cannot be listed.
        """
        answer = self._reach({"do": "list", "remote": remote})
        return list(answer["keys"]), answer["older"]

    def read(self, remote: str, names: Sequence[str]) -> dict[str, bytes]:
        """Return the content of files in a remote.

        Raises
        ------
        UnreachedError
            If one cannot be read.
        """
        answer = self._reach({"do": "read", "remote": remote, "names": list(names)})
        return {name: base64.b64decode(found) for name, found in answer["found"].items()}

    def delete(self, remote: str, names: Sequence[str]) -> dict[str, str]:
        """Delete files in a remote, in all their versions.

        Returns
        -------
        dict
            Why a file could not be deleted, by name.

        Raises
        ------
        UnreachedError
            If nothing is known about what was deleted.
        """
        answer = self._reach({"do": "delete", "remote": remote, "names": list(names)})
        return dict(answer["failed"])

    def _reach(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._ask(request)
        if "why" in answer:
            raise UnreachedError(answer["why"])
        return answer

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise AssertionError("it is used in a `with` block")
        try:
            process.stdin.write(f"{json.dumps(request)}\n")
            process.stdin.flush()
            answer = dict(json.loads(process.stdout.readline()))
        except (OSError, ValueError):
            raise ToolError("DVC ended without an answer about its cache and remotes") from None
        if "failed_to_start" in answer:
            raise ToolError(f"DVC does not say where its cache is: {answer['failed_to_start']}")
        return answer
