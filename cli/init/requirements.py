"""The requirements file of a CI job: this tool and all that it needs, at the versions here.

Versions are a part of every model's lineage, so a job has to install the same ones.
"""

import json
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_TOOL = "dvc-unlearn"

#: Where torch is without the gigabytes of CUDA libraries, for machines without a GPU.
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

_HEAD = f"""\
# Written by `unlearn init --ci`: what the CI job installs, at the versions of the machine that
# it ran on. Versions are a part of every model's lineage: other ones retrain all models.
--extra-index-url {_CPU_INDEX}
"""


def render_requirements(extras: tuple[str, ...] = ()) -> bytes:
    """Return a requirements file that pins this tool and all packages below it.

    Parameters
    ----------
    extras
        Extras of this tool that the project needs, such as `llm`.
    """
    pins = {name: _pin(name) for name in _needed(_TOOL, extras)}
    return (_HEAD + "".join(f"{pins[name]}\n" for name in sorted(pins))).encode()


def _needed(root: str, extras: tuple[str, ...]) -> set[str]:
    """Return the names of a package and of all installed packages that it needs here."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [(root, tuple(sorted(extras)))]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # an optional package that is not here
        found.add((name, wanted))
        for line in required:
            requirement = Requirement(line)
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
        return f"{value['vcs_info']['vcs']}+{value['url']}@{value['vcs_info']['commit_id']}"
    except (ValueError, KeyError, TypeError):
        return None
