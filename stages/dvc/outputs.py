"""Outputs of stages that are not of this tool, as the dvc.lock files of a repository have them."""

import os
from pathlib import Path
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.project.git import git
from unlearn.stages.project.paths import Project
from unlearn.stages.project.shared import is_shared


def recorded_md5(project: Project, name: str) -> str | None:
    """Return the md5 with which a stage of another pipeline last wrote a file or folder.

    Parameters
    ----------
    project
        The project. One with its dataset in its own folder, and no other stages in its dvc.yaml,
        is not searched.
    name
        The file or folder, relative to it.

    Returns
    -------
    str or None
        None if no dvc.lock that git tracks, or would track, has it as an output.
    """
    if ".." not in Path(name).parts and not is_shared(project.root):
        return None
    wanted = os.path.normpath(project.root / name)
    patterns = (":(top,glob)**/dvc.lock", ":(top,literal)dvc.lock")
    listed = git(project.root, "ls-files", "-coz", "--exclude-standard", "--", *patterns) or b""
    for lock in dict.fromkeys(listed.decode("utf-8", "surrogateescape").split("\0")):
        if not lock:
            continue
        described = _stages(project.root / lock, "dvc.yaml")
        for stage, entry in _stages(project.root / lock).items():
            about = described.get(str(stage).partition("@")[0])
            wdir = about.get("wdir") if isinstance(about, dict) else None
            folder = (project.root / lock).parent / str(wdir or ".")
            for out in (entry.get("outs") if isinstance(entry, dict) else None) or ():
                if os.path.normpath(folder / str(out.get("path"))) == wanted:
                    return None if out.get("md5") is None else str(out["md5"])
    return None


def _stages(lock: Path, name: str = "dvc.lock") -> dict[str, Any]:
    """Return the stages in a file beside a dvc.lock; none where it cannot be read."""
    try:
        content = parse_yaml(lock.with_name(name).read_text(encoding="utf-8"))
        return dict(content["stages"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
