"""DVC's cache and remotes, by name: which of them are folders that can be searched."""

from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.audit.places import Place, unseen
from unlearn.stages.dvc.storage import Storage
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
    """Return DVC's cache and all remotes of the project's settings, on all levels.

    Which folders they are is DVC's own answer, as an erasure has it.
    """
    try:
        with Storage(project) as storage:
            cache, remotes = storage.places()
    except UnlearnError:
        why = "DVC did not say where it is"
        return Stores({}, (unseen(CACHE, why), unseen("DVC's remotes", why)))
    folders = {CACHE: cache}
    others = []
    for remote in remotes:
        name = f"the remote {remote.name}"
        if remote.kind != "local":
            others.append(unseen(name, f"remotes of the kind {remote.kind} are not searched"))
        elif remote.path is None:
            others.append(unseen(name, remote.why_not or "it has no path"))
        elif Path(remote.path).is_dir():
            folders[name] = Path(remote.path)
        else:
            others.append(unseen(name, "its folder is not there"))
    return Stores(folders, tuple(others))
