"""Git, called as a command; it reads only."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.errors import ToolError


def git(root: Path, *arguments: str, stdin: bytes | None = None) -> bytes | None:
    """Run a git command in a folder.

    Parameters
    ----------
    root
        Where to run it.
    *arguments
        The command's words.
    stdin
        Its standard input.

    Returns
    -------
    bytes or None
        Its standard output; None if it failed.

    Raises
    ------
    ToolError
        If git is not installed.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ToolError("git is not installed") from None
    return done.stdout if done.returncode == 0 else None


def git_line(root: Path, *arguments: str) -> str | None:
    """Return the first line that a git command prints; None if it failed or printed nothing."""
    out = git(root, *arguments)
    return (out or b"").decode("utf-8", "replace").partition("\n")[0] or None


def commit_of(root: Path, revision: str) -> str | None:
    """Return the full name of a commit; None if git knows no such revision."""
    return git_line(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def is_ancestor(root: Path, older: str, newer: str) -> bool:
    """Return whether a commit is in the history of another one, or the same."""
    return git(root, "merge-base", "--is-ancestor", older, newer) is not None


def is_shallow(root: Path) -> bool:
    """Return whether the clone lacks a part of its history."""
    return git_line(root, "rev-parse", "--is-shallow-repository") == "true"


def files_at(root: Path, revision: str, *paths: str) -> dict[str, bytes]:
    """Return files of a revision.

    Parameters
    ----------
    root
        The folder that paths are relative to.
    revision
        A commit.
    *paths
        Files, or folders with all files below them. What is not there is left out.

    Returns
    -------
    dict
        Content by path.
    """
    listed = git(root, "ls-tree", "-r", "-z", revision, "--", *paths) or b""
    found: dict[str, str] = {}
    for entry in listed.split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        if name and facts.split()[1] == b"blob":
            found[name.decode("utf-8", "surrogateescape")] = facts.split()[2].decode()
    contents = read_objects(root, found.values())
    return {name: contents[wanted] for name, wanted in found.items() if wanted in contents}


def read_objects(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of git objects by the name that was asked for; missing ones are left out.

    Parameters
    ----------
    root
        The folder that `:./path` is relative to.
    names
        Object ids, or names as in `REVISION:./path`.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    # Many commits have the same file: each content is read once.
    checked = git(
        root, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=_words(wanted)
    )
    ids = {
        name: facts[0]
        for name, line in zip(wanted, (checked or b"").decode().splitlines(), strict=False)
        if (facts := line.split(" "))[-1] == "blob"
    }
    unique = list(dict.fromkeys(ids.values()))
    stream = git(root, "cat-file", "--batch", stdin=_words(unique)) or b""
    contents: dict[str, bytes] = {}
    at = 0
    for name in unique if stream else ():
        end = stream.index(b"\n", at)
        size = int(stream[at:end].split(b" ")[2])
        contents[name] = stream[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return {name: contents[found] for name, found in ids.items() if found in contents}


def _words(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Branch:
    """A ref and its commit."""

    name: str
    commit: str


def branches(root: Path, *patterns: str) -> list[Branch]:
    """Return refs below patterns such as `refs/heads`; symbolic ones are left out."""
    form = "--format=%(refname) %(objectname) %(symref)"
    out = (git(root, "for-each-ref", form, *patterns) or b"").decode("utf-8", "replace")
    found = []
    for line in out.splitlines():
        name, commit, symbolic = line.split(" ", 2)
        if not symbolic:
            found.append(Branch(name, commit))
    return found
