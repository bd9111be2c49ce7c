"""Git, called as a command. It reads; only the tags of receipts are written."""

import os
import subprocess
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.errors import ToolError

#: Variables that git sets for its hooks. Paths in them are relative to another folder than the
#: project's, and pathspecs mean something else with some of them.
_OF_HOOKS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)

#: Settings of a user that would change what `git log` prints.
LOG = ("-c", "log.showSignature=false", "-c", "i18n.logOutputEncoding=UTF-8", "log", "--no-color")


def leave_hook(environment: MutableMapping[str, str]) -> None:
    """Delete the variables that name a repository: the project's is the one around its folder."""
    for name in _OF_HOOKS:
        environment.pop(name, None)


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
    done = _run(root, arguments, stdin)
    return done.stdout if done.returncode == 0 else None


def _run(
    root: Path, arguments: Iterable[str], stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = dict(os.environ)
    leave_hook(environment)
    command = [os.fsencode(word) for word in ("git", *arguments)]
    try:
        return subprocess.run(
            command, cwd=root, env=environment, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ToolError("git is not installed") from None


def has_repository(root: Path) -> bool:
    """Return whether a folder is in a git repository.

    Raises
    ------
    ToolError
        If it is, and git refuses to read it.
    """
    done = _run(root, ["rev-parse", "--git-dir"])
    if done.returncode == 0:
        return True
    if not any(os.path.lexists(folder / ".git") for folder in (root, *root.parents)):
        return False
    reason = done.stderr.decode("utf-8", "replace").partition("\n")[0].removeprefix("fatal: ")
    raise ToolError(
        f"git cannot read the repository of this project: {reason}",
        "without its history nobody can tell whether a request got lost",
        "in a container: `git config --global --add safe.directory FOLDER`",
    )


def git_line(root: Path, *arguments: str) -> str | None:
    """Return the first line that a git command prints; None if it failed or printed nothing."""
    out = git(root, *arguments)
    return _text(out).partition("\n")[0] or None


def _text(out: bytes | None) -> str:
    # Names of branches are bytes to git.
    return (out or b"").decode("utf-8", "surrogateescape")


def commit_of(root: Path, revision: str) -> str | None:
    """Return the full name of a commit; None if git knows no such revision."""
    return git_line(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def is_ancestor(root: Path, older: str, newer: str) -> bool:
    """Return whether a commit is in the history of another one, or the same."""
    return git(root, "merge-base", "--is-ancestor", older, newer) is not None


def is_shallow(root: Path) -> bool:
    """Return whether the clone lacks a part of its history."""
    return git_line(root, "rev-parse", "--is-shallow-repository") == "true"


def ignored(root: Path, *paths: str) -> list[str]:
    """Return those paths that git ignores and does not track; they need not exist."""
    out = git(root, "check-ignore", "-z", "--stdin", stdin="\0".join(paths).encode())
    return _text(out).split("\0")[:-1]


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


def other_working_trees(root: Path) -> list[Path] | None:
    """Return the folders of the repository's other working trees; None if git does not say."""
    own = git_line(root, "rev-parse", "--show-toplevel")
    listed = git(root, "worktree", "list", "--porcelain")
    if own is None or listed is None:
        return None
    found = [line[9:] for line in _text(listed).split("\n") if line.startswith("worktree ")]
    folders = [Path(name) for name in found if Path(name).resolve() != Path(own).resolve()]
    return [folder for folder in folders if folder.is_dir()]


@dataclass(frozen=True)
class Branch:
    """A ref and its commit."""

    name: str
    commit: str


def branches(root: Path, *patterns: str) -> list[Branch]:
    """Return refs below patterns such as `refs/heads`; symbolic ones are left out."""
    form = "--format=%(refname) %(objectname) %(symref)"
    found = []
    for line in _text(git(root, "for-each-ref", form, *patterns)).split("\n")[:-1]:
        name, commit, symbolic = line.split(" ", 2)
        if not symbolic:
            found.append(Branch(name, commit))
    return found
