"""Commits, and the files in them that say which objects DVC has."""

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.ledger.history import merging_commits
from unlearn.stages.project.git import LOG, git, git_line, has_repository, read_objects

#: Files that are looked at: those of DVC, and the settings, which name the dataset.
LOCK, PIPELINE, SETTINGS, TRACKED = "dvc.lock", "dvc.yaml", "params.yaml", ".dvc"
#: DVC's settings, which name the remotes.
CONFIG = ".dvc/config"
_NAMES = (LOCK, PIPELINE, SETTINGS)
_PATTERNS = tuple(f":(top,glob)**/{name}" for name in (*_NAMES, f"*{TRACKED}", CONFIG))

#: How many objects of git are in memory at a time.
_AT_ONCE = 256

#: A file of git in one of its versions: its path from the top folder, and git's name of it.
Version = tuple[str, str]


def is_wanted(path: str) -> bool:
    """Return whether a file says which objects DVC has, or how it is set up."""
    name = posixpath.basename(path)
    is_file_of_dvc = name in _NAMES or (name.endswith(TRACKED) and name != TRACKED)
    return is_file_of_dvc or is_config(path)


def is_config(path: str) -> bool:
    """Return whether a file has DVC's settings."""
    return path == CONFIG or path.endswith(f"/{CONFIG}")


@dataclass(frozen=True)
class History:
    """All commits that git's refs and reflogs of this clone name.

    Parameters
    ----------
    top
        The top folder of the repository.
    parents
        The parents of each commit.
    changes
        The versions that each commit has brought.
    """

    top: Path
    parents: Mapping[str, tuple[str, ...]]
    changes: Mapping[str, Collection[Version]]

    def behind(self, starts: Iterable[str], without: Collection[str] = ()) -> set[str]:
        """Return commits and all commits behind them, up to others.

        Parameters
        ----------
        starts
            The commits to start with. Those that git does not have are left out.
        without
            Commits that are left out; their own histories have to be among them.
        """
        found: set[str] = set()
        left = [commit for commit in starts if commit in self.parents]
        while left:
            commit = left.pop()
            if commit in found or commit in without:
                continue
            found.add(commit)
            left += [parent for parent in self.parents[commit] if parent in self.parents]
        return found

    def versions(self, commits: Iterable[str]) -> set[Version]:
        """Return all versions that commits have brought."""
        return {version for commit in commits for version in self.changes.get(commit, ())}

    def files_of(self, commit: str) -> set[Version]:
        """Return the versions in a commit."""
        return self._trees.setdefault(commit, self._tree(commit))

    @cached_property
    def _trees(self) -> dict[str, set[Version]]:
        return {}

    def _tree(self, commit: str) -> set[Version]:
        listed = git(self.top, "ls-tree", "-r", "-z", "--full-tree", commit)
        if listed is None:
            raise _unreadable()
        return set(_listed(listed))

    def contents(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield git's name and the content of versions.

        Raises
        ------
        InputError
            If git does not have one of them, as in a partial clone.
        """
        wanted = list(dict.fromkeys(names))
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            found = read_objects(self.top, some)
            if len(found) < len(some):
                raise _unreadable()
            yield from found.items()


def _unreadable() -> InputError:
    return InputError(
        "git does not have all files of the history: what other branches use is not known",
        "fetch the whole repository, without a filter; `git fsck` names damaged objects",
    )


def check_repository(root: Path) -> None:
    """Refuse a project outside git: nothing else says what the dataset once was.

    Parameters
    ----------
    root
        The project's folder.

    Raises
    ------
    InputError
        If it is not in a git repository.
    ToolError
        If git refuses to read the repository.
    """
    if not has_repository(root):
        raise InputError("this is not a git repository: its history names the objects to delete")


def read_history(root: Path) -> History:
    """Read what git knows about the files of DVC, in all commits.

    Parameters
    ----------
    root
        The project's folder.

    Raises
    ------
    InputError
        If the project is not in a git repository.
    ToolError
        If git refuses to read the repository.
    """
    check_repository(root)
    top = Path(git_line(root, "rev-parse", "--show-toplevel") or root)
    # Other worktrees, stashes and experiments are among them.
    everything = ("--all", "--reflog", "--ignore-missing", *merging_commits(root))
    listed = git(top, "rev-list", "--parents", *everything)
    logged = git(
        top,
        *("-c", "log.showRoot=true", "-c", "log.diffMerges=separate"),
        *(*LOG, "--raw", "-z", "--no-abbrev", "-m", "--full-history", "--no-renames"),
        *("--format=commit %H", *everything, "--", *_PATTERNS),
    )
    if listed is None or logged is None:
        raise _unreadable()
    parents = {}
    for line in listed.decode("ascii").splitlines():
        commit, *above = line.split(" ")
        parents[commit] = tuple(above)
    return History(top, parents, _changes(logged))


def _changes(logged: bytes) -> dict[str, set[Version]]:
    """Return what `git log --raw -z` says: the versions that each commit has brought."""
    found: dict[str, set[Version]] = {}
    words = iter(logged.split(b"\0"))
    commit = ""
    for word in words:
        text = word.lstrip(b"\n")
        if text.startswith(b"commit "):
            commit = text.split(b" ")[1].decode("ascii")
        elif text.startswith(b":"):
            _, mode, _, new, _ = text.split(b" ")
            path = next(words).decode("utf-8", "surrogateescape")
            # Not what was deleted, nor links and submodules.
            if mode.startswith(b"100") and is_wanted(path):
                found.setdefault(commit, set()).add((path, new.decode("ascii")))
    return found


def _listed(out: bytes) -> Iterator[Version]:
    """Yield the versions that `git ls-tree -z` lists."""
    for entry in out.split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        path = name.decode("utf-8", "surrogateescape")
        if facts.startswith(b"100") and is_wanted(path):
            yield path, facts.split(b" ")[2].decode("ascii")


def staged_versions(top: Path) -> set[Version]:
    """Return the versions in git's index."""
    found = set()
    for entry in (git(top, "ls-files", "-s", "-z", "--", *_PATTERNS) or b"").split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        path = name.decode("utf-8", "surrogateescape")
        if facts.startswith(b"100") and is_wanted(path):
            found.add((path, facts.split(b" ")[1].decode("ascii")))
    return found
