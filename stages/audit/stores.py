"""DVC's cache and remotes, by name: which of them are folders that can be searched."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from unlearn.stages.audit.places import Place, unseen
from unlearn.stages.dvc.checkout import Remotes
from unlearn.stages.dvc.command import cache_folder, run_dvc
from unlearn.stages.errors import UnlearnError
from unlearn.stages.project.paths import Project

#: What the cache is called.
CACHE = "DVC's cache"


@dataclass(frozen=True)
class Stores:
    """Caches and remotes.

    Parameters
    ----------
    folders
        Those that can be searched, by name.
    others
        Those that cannot.
    """

    folders: dict[str, Path]
    others: tuple[Place, ...] = ()


def find_stores(project: Project) -> Stores:
    """Return DVC's cache and all remotes of the project's settings, on all levels."""
    try:
        cache = cache_folder(project)
        remotes = Remotes.parse(run_dvc(project.root, "config", "--list", capture=True))
    except UnlearnError:
        why = "DVC did not say where it is"
        return Stores({}, (unseen(CACHE, why), unseen("DVC's remotes", why)))
    folders = {CACHE: cache}
    others = []
    for remote, options in sorted(remotes.options.items()):
        name = f"the remote {remote}"
        folder = _folder(project, options.get("url", ""))
        if folder is None:
            kind = urlsplit(options.get("url", "")).scheme or "unknown"
            others.append(unseen(name, f"remotes of the kind {kind} are not searched"))
        elif folder.is_dir():
            folders[name] = folder
        else:
            others.append(unseen(name, "its folder is not there"))
    return Stores(folders, tuple(others))


def _folder(project: Project, url: str) -> Path | None:
    """Return the folder that a URL is the path of; None for other kinds."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if not url or "://" in url:
        return None
    # Relative paths start from the file that has the setting.
    return (project.root / ".dvc" / url).resolve()
