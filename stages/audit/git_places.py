"""What git holds that it should not, in the working tree and in the history of every ref."""

import re
import subprocess
from collections.abc import Collection

from unlearn.stages.audit.places import Place, counted, unseen
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.project.paths import Project
from unlearn.stages.project.shared import PRIVATE, is_shared

#: What git may have below data/ and models/.
_TRACKED = ("data/forget_list.txt", SUPPRESSED, "data/requests.jsonl", "models/README.md")
#: Receipts, their time stamps and public keys; a private key or an annex would be another file.
_RECEIPT = re.compile(r"data/receipts/(keys/)?[0-9a-f]{64}\.(json|tsr)")
_OWN = ("data", "models", "unlearn.key", ".unlearn")
_NO_GIT = "this is not a git repository"


def own_paths(project: Project) -> tuple[str, ...]:
    """Return where files of a project can be that git must not have, as git names paths.

    In folders that a team had before, its own files are its own affair.
    """
    if not is_shared(project.root):
        return _OWN
    return (*PRIVATE, "data/dataset*", "data/held_out*", "unlearn.key", ".unlearn")


def foreign_names(names: Collection[str], public: Collection[str]) -> list[str]:
    """Return those files below data/ and models/ that git must not have.

    Parameters
    ----------
    names
        Files, relative to the project.
    public
        Those that may be there by choice: a dataset that is public.
    """
    return sorted(
        name
        for name in set(names)
        if name not in (*_TRACKED, *public)
        and not name.startswith("data/requests/")
        and not _RECEIPT.fullmatch(name)
        and not name.endswith((".dvc", ".gitignore"))
    )


def git_places(project: Project, public: Collection[str]) -> list[Place]:
    """Search the history of every branch, tag, experiment and stash for files of rows and models.

    Parameters
    ----------
    project, public
        See `foreign_names`.
    """
    refs = _git(project, "for-each-ref", "--format=%(refname)")
    if refs is None:
        return [unseen("git's history", _NO_GIT)]
    groups: dict[str, list[str]] = {
        "git's branches and tags": [],
        "experiments of DVC": [],
        "git's stash": [],
        "other refs of git": [],
    }
    for ref in refs:
        groups[_group(ref)].append(ref)
    places = [_place(project, name, found, public) for name, found in groups.items()]
    return [*places, _workspaces(project)]


def _workspaces(project: Project) -> Place:
    """Return the place where DVC runs queued experiments, in copies of the project."""
    name = "workspaces of DVC's experiments"
    files = [path for path in (project.root / ".dvc/tmp/exps").rglob("*") if path.is_file()]
    if not files:
        return Place(name)
    return unseen(name, ".dvc/tmp/exps may hold copies of rows and models", len(files))


def _group(ref: str) -> str:
    if ref.startswith(("refs/heads/", "refs/remotes/", "refs/tags/")):
        return "git's branches and tags"
    if ref.startswith("refs/exps/"):
        return "experiments of DVC"
    return "git's stash" if ref == "refs/stash" else "other refs of git"


def _place(project: Project, name: str, refs: list[str], public: Collection[str]) -> Place:
    if not refs:
        return Place(name)
    start = refs
    if refs == ["refs/stash"]:
        # Every entry, not the last one alone; each has its untracked files as a parent.
        start = _git(project, "log", "--walk-reflogs", "--format=%H", "refs/stash") or refs
    command = ("log", "-m", "--full-history", "--format=", "--name-only", "--relative", "-z")
    listed = "".join(f"{name}\n" for name in start)
    files = _git(project, *command, "--stdin", "--", *own_paths(project), stdin=listed, zero=True)
    if files is None:
        return unseen(name, "git could not list the files in it", len(refs))
    found = foreign_names(files, public)
    shallow = _git(project, "rev-parse", "--is-shallow-repository") == ["true"]
    said: tuple[str, ...] = ()
    if found:
        files_found = counted(len(found), "file")
        said = (f"{files_found} of rows, models or keys in {name}, such as {found[0]}",)
    if shallow:
        why = "this is a shallow clone"
        return Place(name, looked=False, objects=len(refs), findings=said, why_not=why)
    return Place(name, objects=len(refs), findings=said)


def _git(
    project: Project, *arguments: str, stdin: str = "", zero: bool = False
) -> list[str] | None:
    """Return the lines that git prints; None if it failed."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=project.root,
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        return None
    separated = done.stdout.split("\0") if zero else done.stdout.splitlines()
    return [text.strip("\n") for text in separated if text.strip("\n")]


def docker_finding(project: Project) -> str | None:
    """Return a sentence if an image that is built here would hold the key; None if not."""
    if not any(project.root.glob("*Dockerfile*")) or not project.key.is_file():
        return None
    path = project.root / ".dockerignore"
    lines = path.read_text(encoding="utf-8", errors="replace").split() if path.is_file() else []
    covering = {"unlearn.key", "/unlearn.key", "**/unlearn.key", "*.key", "**/*.key", "*", "**"}
    kept = "!unlearn.key" in lines or "!/unlearn.key" in lines
    if covering.intersection(lines) and not kept:
        return None
    return ".dockerignore does not cover unlearn.key: an image built here would hold the key"
