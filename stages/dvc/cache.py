"""Single files in DVC's local cache, by their MD5."""

import re
from pathlib import Path

from unlearn.stages.dvc.command import cache_folder
from unlearn.stages.errors import ToolError
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project

_MD5 = re.compile(r"([0-9a-f]{32})(\.dir)?")


def read_cached(project: Project, md5: str) -> bytes | None:
    """Return a file from DVC's cache; None where it is not there, or is not what its name says.

    Parameters
    ----------
    project
        The project.
    md5
        As dvc.lock gives it: of a file, or of a folder's list of files.
    """
    found = _MD5.fullmatch(md5)
    if found is None:
        return None
    for folder in _folders(project):
        path = folder / "files" / "md5" / md5[:2] / md5[2:]
        if path.is_file() and digest_file(path, "md5") == found[1]:
            return path.read_bytes()
    return None


def _folders(project: Project) -> list[Path]:
    """Return the cache's folder: the usual one, and what DVC says where it is set otherwise."""
    for root in (project.root, *project.root.parents):
        settings = root / ".dvc"
        if settings.is_dir():
            break
    else:
        return []
    usual = settings / "cache"
    # DVC takes a second to answer, so it is asked only where the usual folder is not in use.
    if (usual / "files").is_dir():
        return [usual]
    try:
        return [cache_folder(project)]
    except ToolError:
        return []
