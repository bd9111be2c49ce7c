"""The forget list and its log in git's history."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from unlearn.stages.ledger.log import FOLDER, OLD_LOG, Log, parse_log
from unlearn.stages.ledger.settled import Settled
from unlearn.stages.project.git import (
    LOG,
    Branch,
    branches,
    commit_of,
    files_at,
    git,
    git_line,
    read_objects,
)
from unlearn.stages.rows.epochs import FIRST, Epochs, begins_like_token, is_token_line
from unlearn.stages.rows.forget_list import LEFT_OUT

FORGET_LIST = "data/forget_list.txt"

#: A line of the list in an entry of the log.
_QUOTED = re.compile(rb'"(u[1-9][0-9]*_[^"]*)"')

#: How many objects of git are in memory at a time.
_AT_ONCE = 64

#: Names of a default branch where nothing says which it is.
_USUAL = ("main", "master")


@dataclass
class Lines:
    """Lines of one or more versions of the list.

    Parameters
    ----------
    tokens
        Lines of tokens, without the mark of canaries that are in no shard, as they are in the
        present epoch of the key; by line a commit that has it.
    raw
        Lines that a person wrote.
    older
        Lines of earlier keys that cannot be brought forward here.
    entries
        The files of entries of the log that were read.
    logged
        By the name of each entry that was ever there, the objects that its file has been.
    whole
        Whether git had everything: a partial clone fetches some objects only when they are needed.
    epochs
        The present epoch, and what became of tokens of earlier ones.
    """

    tokens: dict[str, str] = field(default_factory=dict)
    raw: set[str] = field(default_factory=set)
    entries: list[bytes] = field(default_factory=list)
    logged: dict[str, list[str]] = field(default_factory=dict)
    whole: bool = True
    older: set[str] = field(default_factory=set)
    epochs: Epochs = FIRST

    def add_older(self, other: "Lines") -> None:
        """Add what other commits have; a line that both have keeps its commit."""
        self.tokens = other.tokens | self.tokens
        self.raw |= other.raw
        self.older |= other.older
        self.entries += other.entries
        for name, objects in other.logged.items():
            self.logged.setdefault(name, []).extend(objects)
        self.whole &= other.whole

    def add(self, line: str, commit: str) -> None:
        """Add a line that a commit has."""
        line = line.removesuffix("\r").removeprefix("\ufeff")
        named = line.removesuffix(LEFT_OUT)
        if is_token_line(named):
            present = self.epochs.present(named)
            if present is None:
                self.older.add(named)
            else:
                self.tokens.setdefault(present, commit)
        elif line and not begins_like_token(line, self.epochs.number):
            self.raw.add(line)

    def add_list(self, lines: Iterable[bytes], commit: str) -> None:
        """Add lines as a file has them."""
        for line in lines:
            self.add(line.decode("utf-8", "replace"), commit)


def lines_in_history(
    root: Path,
    commits: Iterable[str],
    without: Iterable[str] = (),
    settled: Settled | None = None,
    epochs: Epochs = FIRST,
) -> Lines:
    """Return every line that the list or the log has had in commits and in their histories.

    Merges are compared with each of their parents, and no side branch is left out: a line that was
    added in a merge, or lost in one that dropped a branch's changes, is found.

    Parameters
    ----------
    root
        The project's folder.
    commits
        Where to start. Commits that git has deleted since are skipped.
    without
        Commits whose histories are left out.
    settled
        Versions whose lines the present list has; they are left out as well.
    epochs
        The present epoch of the key: lines of earlier ones count as what they are in it.
    """
    commits = list(commits)
    if not commits:
        return Lines()
    versions = versions_in_history(root, commits, without)
    if versions is None:
        return Lines(whole=False)
    found = Lines(epochs=epochs)
    for version, (_, path) in versions:
        if path != FORGET_LIST and path.endswith(".json"):
            found.logged.setdefault(PurePosixPath(path).stem, []).append(version)
    if settled is not None:
        versions = [version for version in versions if not settled.has(version[0])]
    seen: set[bytes] = set()
    for first in range(0, len(versions), _AT_ONCE):
        some = dict(versions[first : first + _AT_ONCE])
        contents = read_objects(root, some)
        found.whole &= len(contents) == len(some)
        for name, content in contents.items():
            commit, path = some[name]
            if path == FORGET_LIST:
                lines = set(content.split(b"\n"))
                found.add_list(lines - seen, commit)
                seen |= lines
            else:
                lines = set(_QUOTED.findall(content))
                found.add_list(lines, commit)
                found.entries.append(content)
            if settled is not None:
                settled.see(name, {_as_written(line, epochs) for line in lines})
    return found


def _as_written(line: bytes, epochs: Epochs) -> bytes:
    """Return a line of an earlier key as the list has it in the present epoch."""
    if epochs.number == 1:
        return line
    text = line.decode("utf-8", "replace")
    named = text.removesuffix(LEFT_OUT)
    present = epochs.present(named) if is_token_line(named) else None
    return line if present is None else epochs.written(present).encode()


def versions_in_history(
    root: Path,
    commits: Iterable[str],
    without: Iterable[str],
    paths: Iterable[str] = (FORGET_LIST, FOLDER),
) -> list[tuple[str, tuple[str, str]]] | None:
    """Return the objects that files have been: the list and the entries of the log, or others.

    Returns
    -------
    list or None
        The name of each object, a commit that has it, and its path. None if git could not tell.
    """
    out = git(
        root,
        *("-c", "log.showRoot=true", "-c", "log.diffMerges=separate"),
        # Relative paths are never quoted, whatever folders the project is in.
        *(*LOG, "--raw", "--no-abbrev", "-m", "--full-history", "--relative"),
        *("--no-renames", "--format=commit %H", "--ignore-missing", "--stdin"),
        *("--", *paths),
        stdin="".join(f"{word}\n" for word in (*commits, *(f"^{c}" for c in without))).encode(),
    )
    if out is None:
        return None
    found: dict[str, tuple[str, str]] = {}
    commit = ""
    for line in out.decode("utf-8", "replace").split("\n"):
        if line.startswith("commit "):
            commit = line.split(" ")[1]
        elif line.startswith(":"):
            facts, _, path = line.partition("\t")
            # The object before a change was in a parent, which is found as well.
            new = facts.split(" ")[3]
            if new.strip("0"):
                found.setdefault(new, (commit, path))
    return list(found.items())


def current_branch(root: Path) -> str | None:
    """Return the full name of the branch that is checked out; None in a detached HEAD."""
    return git_line(root, "symbolic-ref", "--quiet", "HEAD")


def default_branch(root: Path, name: str | None) -> list[Branch]:
    """Return the default branch, in this clone and in its origin.

    Parameters
    ----------
    root
        The project's folder.
    name
        The name that params.yaml gives it; None to look for what origin calls its default, or for
        a usual name.
    """
    known = {ref.name: ref for ref in branches(root, "refs/heads", "refs/remotes")}
    remotes = [f"refs/remotes/{remote}/" for remote in _remotes(known)]
    names = [name] if name is not None else []
    if name is None:
        heads = (git_line(root, "symbolic-ref", "--quiet", f"{place}HEAD") for place in remotes)
        called = [
            (head or "").removeprefix(place) for head, place in zip(heads, remotes, strict=True)
        ]
        names = [*called, *_USUAL]
    for candidate in names:
        places = [f"{place}{candidate}" for place in ("refs/heads/", *remotes)]
        if found := [known[place] for place in places if place in known]:
            return found
    return []


def _remotes(refs: Iterable[str]) -> list[str]:
    """Return the remotes that refs belong to: origin alone where there is one of this name."""
    remotes = {ref.split("/")[2] for ref in refs if ref.startswith("refs/remotes/")}
    return ["origin"] if "origin" in remotes else sorted(remotes)


def merging_commits(root: Path) -> list[str]:
    """Return the commits that a merge brings in which is not committed yet."""
    path = git_line(root, "rev-parse", "--git-path", "MERGE_HEAD")
    try:
        return (root / path).read_text("ascii").split() if path else []
    except FileNotFoundError:
        return []


def commits_of_record(root: Path, refs: Iterable[str]) -> list[str]:
    """Return the commits that branches have pointed to in this clone, by git's reflogs."""
    commits: dict[str, None] = {}
    for ref in refs:
        out = git(root, *LOG, "--walk-reflogs", "--format=%H", ref, "--") or b""
        commits.update(dict.fromkeys(out.decode().split()))
    return list(commits)


def other_tips(root: Path, known: Iterable[str]) -> list[Branch]:
    """Return the branches, stashes, experiments and tags that are not among the known commits."""
    left_out = set(known)
    kinds = ("refs/heads", "refs/remotes", "refs/stash", "refs/exps", "refs/tags")
    found = branches(root, *kinds)
    # The ref is the newest stash; the others are in its reflog.
    stashes = enumerate(commits_of_record(root, ["refs/stash"]))
    found += [Branch(f"stash@{{{number}}}", commit) for number, commit in stashes if number]
    return [ref for ref in found if ref.commit not in left_out]


def commits_of_no_branch(root: Path, known: Iterable[str]) -> list[Branch]:
    """Return the commits that were checked out in this clone, and that no branch has any more.

    Parameters
    ----------
    root
        The project's folder.
    known
        Commits whose histories are left out as well.
    """
    visited = commits_of_record(root, ["HEAD"])
    out = git(root, "rev-list", "--ignore-missing", *known, "--branches", "--remotes") or b""
    reachable = set(out.decode().split())
    return [Branch(f"commit {commit[:8]}", commit) for commit in visited if commit not in reachable]


def head_commit(root: Path) -> str | None:
    """Return the commit that is checked out; None before the first one, or outside git."""
    return commit_of(root, "HEAD")


def read_log_at(root: Path, revision: str) -> Log:
    """Return the request log of a revision; see `parse_log` for errors."""
    return parse_log(files_at(root, revision, FOLDER, OLD_LOG))
