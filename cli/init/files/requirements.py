"""The requirements file of a CI job: this tool and all that it needs, at the versions here.

Versions are a part of every model's lineage, so a job has to install the same ones.
"""

import json
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

#: What a CI job installs, in a project.
REQUIREMENTS = "requirements-unlearn.txt"

_TOOL = "dvc-unlearn"

#: Where torch is without the gigabytes of CUDA libraries, for machines without a GPU.
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

#: What torch needs for GPUs; its build for CPUs does without.
_CUDA = ("nvidia-", "cuda-", "triton", "pytorch-triton")

_HEAD = f"""\
# Written by `unlearn init --ci`: what the CI job installs, at the versions of the machine that
# it ran on. Versions are a part of every model's lineage: other ones retrain all models.
# Add what else your own code imports, and the package of your DVC remote (such as dvc-s3) if it
# is not listed.
--extra-index-url {_CPU_INDEX}
"""


#: What DVC needs for each kind of remote; a job needs those that are here.
_REMOTES = (
    *("dvc-azure", "dvc-gdrive", "dvc-gs", "dvc-hdfs", "dvc-oss", "dvc-s3", "dvc-ssh"),
    *("dvc-webdav", "dvc-webhdfs"),
)


def render_requirements(extras: tuple[str, ...] = (), distributions: Iterable[str] = ()) -> bytes:
    """Return a requirements file that pins this tool and all packages below it.

    Parameters
    ----------
    extras
        Extras of this tool that the project needs, such as `llm`.
    distributions
        Packages that the model needs besides; those that are not installed are left out.
    """
    pins = {name: _pin(name) for name in _needed(extras, (*_REMOTES, *distributions))}
    return (_HEAD + "".join(f"{pins[name]}\n" for name in sorted(pins))).encode()


def _needed(extras: tuple[str, ...], more: tuple[str, ...]) -> set[str]:
    """Return the names of this tool, of more packages, and of all that they need here."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [(_TOOL, tuple(sorted(extras))), *((name, ()) for name in more)]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # an optional package that is not here
        found.add((name, wanted))
        for requirement in map(Requirement, required):
            if name == "torch" and requirement.name.startswith(_CUDA):
                continue
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                below = tuple(sorted(requirement.extras))
                waiting.append((canonicalize_name(requirement.name), below))
    return {name for name, _ in found}


def _pin(name: str) -> str:
    """Return the line that pins an installed package."""
    version = metadata.version(name)
    if name == "torch":
        return f"torch=={Version(version).base_version}+cpu"
    if name == _TOOL and (source := _source(name)) is not None:
        return f"{_TOOL} @ {source}"
    return f"{name}=={version}"


def _source(name: str) -> str | None:
    """Return where a package was installed from, if that is a commit of a repository."""
    try:
        text = metadata.distribution(name).read_text("direct_url.json")
        value = json.loads(text or "{}")
        if value["url"].startswith("file:"):
            return None  # a folder of this machine, which no job has
        return f"{value['vcs_info']['vcs']}+{value['url']}@{value['vcs_info']['commit_id']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
