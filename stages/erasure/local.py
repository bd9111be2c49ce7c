"""What DVC and this tool keep on this machine besides the cache, and deleting it."""

import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from unlearn.stages.audit.exports import ExportNote, old_exports, place_name
from unlearn.stages.audit.leftovers import clean_leftovers
from unlearn.stages.context import Context
from unlearn.stages.dvc.command import state_folder
from unlearn.stages.errors import UnlearnError
from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.project.git import other_working_trees
from unlearn.stages.project.paths import Project

#: Places, as the residue scan calls them where it has them.
STATE = "DVC's state"
TEMPORARY = "DVC's temporary files"
SCRATCH = "scratch space of unlearn"
EXPERIMENTS = "experiments of DVC"
OTHER_TREES = "other working trees of git"

#: How they are purged.
DELETED = "deleted"

#: Patterns of locks, which a process may hold, and the file whose time names the folder of DVC's
#: state.
_KEPT = ("*lock", "btime")
#: Queued experiments and their copies of the project.
_QUEUE = "exps"


def purge_local(project: Project, *, experiments: bool) -> list[ErasedPlace]:
    """Delete what only saves time, and what runs that were killed left behind.

    Parameters
    ----------
    project
        The project.
    experiments
        Delete the workspaces of queued experiments as well.

    Returns
    -------
    list of ErasedPlace
        What became of each place.
    """
    return [
        _purge_state(project),
        _purge_temporary(project),
        *_purge_workspaces(project, delete=experiments),
        _purge_scratch(project),
        *_other_trees(project),
    ]


def preview_local(project: Project, *, experiments: bool) -> list[ErasedPlace]:
    """Return what `purge_local` would come to, without changing anything."""
    names = (STATE, TEMPORARY, SCRATCH)
    places = [ErasedPlace(name=name, state="purged", method=DELETED) for name in names]
    if _queue(project) is not None:
        places.append(_chosen(delete=experiments))
    return [*places, *_other_trees(project)]


def old_copies(context: Context, *, retrained: bool) -> list[ErasedPlace]:
    """Return the exported models that may hold what was erased: nothing here can delete them.

    Parameters
    ----------
    context
        The project.
    retrained
        See `old_exports`.
    """
    return [
        ErasedPlace(name=place_name(note), state="pending", why=_EXPORTED.format(note.name))
        for note in old_exports(context.project, context.params, retrained=retrained)
    ]


def gone_copies(notes: Iterable[ExportNote]) -> list[ErasedPlace]:
    """Return exports of which the person who erases says that no copy is left."""
    return [ErasedPlace(name=place_name(note), state="purged", method=_GONE) for note in notes]


_GONE = "no copy of it is left, as the person who erased said"

#: Git has it, so it names no path; `unlearn doctor` does.
_EXPORTED = (
    "it may hold what was erased, and is elsewhere: export again, delete it and its copies, and "
    "say --gone {}; `unlearn doctor` says where it was written"
)


def _purge_state(project: Project) -> ErasedPlace:
    """Delete DVC's state: names and digests of files, and an index of each remote."""
    try:
        folder = state_folder(project)
    except UnlearnError:
        return ErasedPlace(name=STATE, state="pending", why="DVC did not say where it is")
    return _emptied(STATE, folder)


def _purge_temporary(project: Project) -> ErasedPlace:
    return _emptied(TEMPORARY, _dvc_temporary(project), (*_KEPT, _QUEUE))


def _purge_workspaces(project: Project, *, delete: bool) -> list[ErasedPlace]:
    queue = _queue(project)
    if queue is None:
        return []
    return [_emptied(EXPERIMENTS, queue) if delete else _chosen(delete=delete)]


def _queue(project: Project) -> Path | None:
    """Return the folder of queued experiments, if there is a file in it."""
    folder = _dvc_temporary(project)
    queue = None if folder is None else folder / _QUEUE
    has_files = queue is not None and any(path.is_file() for path in queue.rglob("*"))
    return queue if has_files else None


def _chosen(*, delete: bool) -> ErasedPlace:
    if delete:
        return ErasedPlace(name=EXPERIMENTS, state="purged", method=DELETED)
    why = "their workspaces may hold copies of rows and models: --experiments deletes them"
    return ErasedPlace(name=EXPERIMENTS, state="pending", why=why)


def _purge_scratch(project: Project) -> ErasedPlace:
    try:
        # Keyed digests of contact data and the tokens of their people; made again when needed.
        project.contacts.unlink(missing_ok=True)
        why = "another run uses it" if clean_leftovers(project).in_use else None
    except OSError as error:
        why = f"a file in it cannot be deleted: {error.strerror}"
    if why is not None:
        return ErasedPlace(name=SCRATCH, state="pending", why=why)
    return ErasedPlace(name=SCRATCH, state="purged", method=DELETED)


def _other_trees(project: Project) -> list[ErasedPlace]:
    """Return the other working trees of the repository, if there are any: they have rows too."""
    folders = other_working_trees(project.root)
    if folders == []:
        return []
    why = "they may hold copies of rows and models: `git worktree remove` deletes one"
    if folders is None:
        why = "git does not list them"
    return [ErasedPlace(name=OTHER_TREES, state="pending", why=why)]


def _emptied(name: str, folder: Path | None, kept: tuple[str, ...] = ()) -> ErasedPlace:
    """Delete all that is in a folder but entries whose name has one of some patterns."""
    if folder is not None and folder.is_dir():
        for entry in folder.iterdir():
            if any(fnmatch(entry.name, pattern) for pattern in kept):
                continue
            try:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
            except OSError as error:
                why = f"a file in it cannot be deleted: {error.strerror}"
                return ErasedPlace(name=name, state="pending", why=why)
    return ErasedPlace(name=name, state="purged", method=DELETED)


def _dvc_temporary(project: Project) -> Path | None:
    for root in (project.root, *project.root.parents):
        if (root / ".dvc").is_dir():
            return root / ".dvc" / "tmp"
    return None
