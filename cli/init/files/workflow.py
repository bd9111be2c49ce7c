"""The CI files of a project: which file a system reads, where that is, and what it says.

A project may be a subfolder of its git repository. Paths in a workflow are those from git's top
folder, and a repository with several projects has one workflow for each.
"""

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from unlearn.cli.init.files.requirements import REQUIREMENTS
from unlearn.cli.init.files.templates import read_template
from unlearn.cli.init.request.choices import CiSystem
from unlearn.stages.errors import InputError
from unlearn.stages.project.containment import check_folder

#: The names that the path filters of both systems take as they are.
_PLAIN = re.compile(r"[A-Za-z0-9._/-]*")

#: How each system writes all files below a folder.
_REQUESTS = {CiSystem.GITHUB: "data/requests/**", CiSystem.GITLAB: "data/requests/**/*"}

#: The newest patch of each Python that both the hosted runners and the Docker images have.
_PYTHONS = {"3.11": "3.11.9", "3.12": "3.12.10", "3.13": "3.13.5"}

#: The files that change what the models are made of, from the project's folder.
INPUTS = (
    "data/forget_list.txt",
    "data/suppressed.txt",
    "data/*.dvc",
    "models/*.dvc",
    "dvc.yaml",
    "params.yaml",
    "schema.yaml",
    "shards.yaml",
    REQUIREMENTS,
)


@dataclass(frozen=True)
class Workflow:
    """The workflow of one project.

    Parameters
    ----------
    system
        That runs it.
    top
        Git's top folder.
    folder
        The project's folder from there, with slashes; empty for the top folder itself.
    path
        The file, from `top`.
    """

    system: CiSystem
    top: Path
    folder: str
    path: str

    @property
    def requirements(self) -> str:
        """The requirements file, from `top`."""
        return f"{self.folder}/{REQUIREMENTS}".removeprefix("/")

    def check(self) -> None:
        """Raise InputError if the file is there, or would be written through a link."""
        check_folder(self.top, str(Path(self.path).parent))
        if (self.top / self.path).exists():
            raise InputError(
                f"{self.path} is there already; nothing was changed",
                "init does not overwrite: move the file, or remove it",
            )

    def render(self, branch: str | None, upstream: Iterable[str] = ()) -> bytes:
        """Return the content of the file.

        Parameters
        ----------
        branch
            The default branch of the repository; `main` if it is not known.
        upstream
            More files that change what the models are made of, from `top`.
        """
        prefix = f"{self.folder}/" if self.folder else ""
        upstream = list(upstream)
        values = {
            "folder": self.folder,
            "slug": _slug(self.folder),
            "path": self.path,
            "included": is_included(self.path),
            "requirements": self.requirements,
            "paths": [
                *(f"{prefix}{name}" for name in (*INPUTS, _REQUESTS[self.system])),
                *upstream,
            ],
            "upstream": upstream,
            "branch": branch or "main",
            "python": _python(),
        }
        text = read_template(f"ci/{self.system}.yml.jinja")
        return _ENVIRONMENT.from_string(text).render(values).encode()


_GITLAB = ".gitlab-ci.yml"

_ENVIRONMENT = Environment(  # noqa: S701 - YAML; the names in it are checked to be plain
    # Both systems' own files have braces.
    block_start_string="<%",
    block_end_string="%>",
    variable_start_string="<<",
    variable_end_string=">>",
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def find_workflow(root: Path, system: CiSystem) -> Workflow:
    """Return where a project's workflow belongs; the folder need not be there yet.

    Parameters
    ----------
    root
        The project's folder.
    system
        The CI system.

    Raises
    ------
    InputError
        If the name of the folder has characters that path filters read as patterns.
    """
    top = next((each for each in (root, *root.parents) if (each / ".git").exists()), root)
    folder = "" if top == root else root.relative_to(top).as_posix()
    _check_plain(folder, "folder's name")
    return Workflow(system, top, folder, _path(top, folder, system))


def _check_plain(path: str, what: str) -> None:
    if not _PLAIN.fullmatch(path):
        raise InputError(
            "--ci: the path filters of a workflow read some characters as patterns",
            f"use only letters, digits, '.', '_' and '-' in the {what}: {path}",
        )


def files_above(workflow: Workflow, dataset: Path) -> list[str]:
    """Return the files that say which content an output of other DVC stages has.

    Parameters
    ----------
    workflow
        Of the project.
    dataset
        The output that the project takes as its dataset: by a stage of a folder above it, or by a
        `.dvc` file.

    Raises
    ------
    InputError
        If the name of one has characters that path filters read as patterns.
    """
    folders = [each for each in dataset.parents if each.is_relative_to(workflow.top)]
    found = [each / "dvc.lock" for each in folders if (each / "dvc.yaml").is_file()]
    own = workflow.top / workflow.folder / "data"
    if dataset.parent != own:  # those are listed anyway
        found += [each for each in (Path(f"{dataset}.dvc"),) if each.is_file()]
    names = sorted(each.relative_to(workflow.top).as_posix() for each in found)
    for name in names:
        _check_plain(name, "path")
    return names


def is_included(path: str) -> bool:
    """Return whether a system reads a workflow only if the repository's own file includes it."""
    return path.endswith(f"unlearn{_GITLAB}")


def _path(top: Path, folder: str, system: CiSystem) -> str:
    slug = _slug(folder)
    if system is CiSystem.GITHUB:
        return f".github/workflows/unlearn{slug and f'-{slug}'}.yml"
    if not folder and not (top / _GITLAB).exists():
        return _GITLAB
    # A repository has one such file, and that is the team's own.
    return f"{folder}/unlearn{_GITLAB}".removeprefix("/")


def _slug(folder: str) -> str:
    """Return a folder as a part of names."""
    return folder.replace("/", "-")


def _python() -> str:
    """Return the Python of the job: the minor version of this one, as the pins are for it."""
    minor = ".".join(platform.python_version_tuple()[:2])
    return _PYTHONS.get(minor, platform.python_version())
