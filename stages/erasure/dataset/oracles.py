"""MD5s in git's history with which a guess of a row can be tested."""

from dataclasses import dataclass

from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.erasure.dataset.nonce import is_marked, listed_names, missing_nonces
from unlearn.stages.erasure.dataset.origins import has_been_in_git
from unlearn.stages.erasure.objects.counted import Paths, rows_paths
from unlearn.stages.erasure.objects.history import SETTINGS, TRACKED, read_history
from unlearn.stages.erasure.objects.records import FOLDER_ENDING, Records, read_records
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.git import branches
from unlearn.stages.project.paths import NONCE, Project


def count_testable(project: Project, dataset: DatasetParams) -> int:
    """Count the md5s of rows without a nonce in the history of all branches.

    Each is one version of a file or folder of rows that params.yaml names, or once named. Versions
    whose rows are in git themselves do not count. Of a folder whose list of files is not in DVC's
    cache, the .dvc file says whether it has a nonce.

    Parameters
    ----------
    project, dataset
        The project, and which files have its rows.

    Raises
    ------
    InputError
        If there is no git repository, or it does not have all of its files.
    ToolError
        If git refuses to read it.
    """
    history = read_history(project.root)
    shown = branches(history.top, "refs/heads", "refs/remotes")
    paths: dict[str, list[str]] = {}
    for path, name in history.versions(history.behind(branch.commit for branch in shown)):
        paths.setdefault(name, []).append(path)
    settings, records, marked = [], [], set[str]()
    for name, content in history.contents(paths):
        for path in paths[name]:
            if path.rpartition("/")[2] == SETTINGS:
                settings.append((path, content))
                continue
            found = read_records(path, content)
            records.append(found)
            if path.endswith(TRACKED) and is_marked(content.decode("utf-8", "replace")):
                marked.update(found.names())
    place = project.root.resolve().relative_to(history.top.resolve()).as_posix()
    folder = "" if place == "." else f"{place}/"
    rows, _ = rows_paths(settings, folder.rstrip("/"))
    canaries = f"{folder}{dataset.canaries}"
    names = _names(project, records, rows, canaries) - marked
    return sum(not _has_nonce(project, name) for name in names)


@dataclass(frozen=True)
class Testable:
    """What can be tested against a guess of a row.

    Parameters
    ----------
    md5s
        See `count_testable`; 0 where there is no history.
    notes
        A sentence for each thing to know, with what to do about it.
    """

    md5s: int
    notes: tuple[str, ...]


def find_testable(project: Project, dataset: DatasetParams) -> Testable:
    """Return which md5s in git can be tested, and why later ones could be; see `count_testable`."""
    try:
        count = count_testable(project, dataset)
    except (InputError, ToolError):
        count = 0  # a finding of its own
    notes = []
    if count:
        noun, these = ("md5", "it") if count == 1 else ("md5s", "them")
        notes.append(
            f"git's history has {count:,} {noun} of rows without a nonce: who has all other rows "
            f"can test a guess of a row against {these}; to accept that, or to rewrite the "
            "history in all clones (git filter-repo), is up to you"
        )
    return Testable(count, (*notes, *missing_nonces(project, dataset).values()))


def _names(project: Project, records: list[Records], rows: Paths, canaries: str) -> set[str]:
    """Return the md5s of files and folders of rows, but not of canaries or of what git has."""
    entries = {
        entry
        for found in records
        for record in found.records
        for entry in (*record.deps, *record.outs)
        if rows.covers(entry.path) and entry.path != canaries
    }
    in_git = {
        path
        for path in {entry.path for entry in entries}
        if has_been_in_git(project, f":(top,literal){path}")
    }
    return {entry.name for entry in entries if entry.path not in in_git}


def _has_nonce(project: Project, name: str) -> bool:
    if not name.endswith(FOLDER_ENDING):
        return False
    return NONCE in (listed_names(project, name) or ())
