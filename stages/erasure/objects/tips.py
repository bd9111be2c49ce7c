"""What else in git may use objects: other branches, tags, worktrees, stashes, experiments."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unlearn.stages.erasure.objects.history import History, Version
from unlearn.stages.ledger.history import (
    commits_of_record,
    current_branch,
    default_branch,
    head_commit,
    merging_commits,
)
from unlearn.stages.project.git import git

Kind = Literal["branch", "stash", "experiments", "reflog"]

STASH = "the stash"
EXPERIMENTS = "experiments of DVC"
REFLOG = "git's reflog"

#: Prefixes of refs, and what places of this kind are called.
_BRANCHES = {
    "refs/heads/": "the branch",
    "refs/remotes/": "the branch",
    "refs/tags/": "the tag",
}
_STASH = "refs/stash"
_EXPERIMENTS = "refs/exps/"


@dataclass(frozen=True)
class Tip:
    """A ref that is not in the history of this branch, or a group of such refs.

    Parameters
    ----------
    place
        What it is called, such as `the branch new-rows`.
    name
        What the user calls it, such as `new-rows`.
    kind
        What kind of ref it is.
    commits
        Its commits.
    protects
        Whether what it uses is to be kept. A commit that only git's reflog has is nobody's.
    """

    place: str
    name: str
    kind: Kind
    commits: tuple[str, ...]
    protects: bool = True

    def versions(self, history: History) -> set[Version]:
        """Return the versions that it uses.

        Of a stash, those that it would bring back: a file that it did not change is not in it.
        """
        found: set[Version] = set()
        for commit in self.commits:
            above = history.parents[commit]
            unchanged = history.files_of(above[0]) if above else set()
            versions = history.files_of(commit)
            found |= versions - unchanged if self.kind == "stash" else versions
            if self.kind in ("stash", "experiments"):
                # The commits of its index and of its untracked files.
                for other in above[1:]:
                    found |= history.files_of(other) - unchanged
        return found


@dataclass(frozen=True)
class Refs:
    """All refs of a repository, as an erasure looks at them.

    Parameters
    ----------
    own
        The commits in the history of HEAD and of the default branch, what was rewritten in them
        by `git commit --amend` or `git rebase` among them.
    tips
        All others.
    names
        Names of all branches, tags and worktrees, also of those in the history of HEAD.
    """

    own: frozenset[str]
    tips: tuple[Tip, ...]
    names: frozenset[str]


def read_refs(history: History, branch: str | None) -> Refs:
    """Return the refs of a repository.

    Parameters
    ----------
    history
        Its commits.
    branch
        The name of the default branch; None to ask git for it.
    """
    top = history.top
    head = [commit for commit in (head_commit(top),) if commit]
    defaults = {ref.name: ref.commit for ref in default_branch(top, branch)}
    recorded = [name for name in (current_branch(top), *defaults) if name]
    of_head = history.behind(head)
    main = of_head | history.behind(defaults.values())
    rewritten = commits_of_record(top, dict.fromkeys(recorded))
    own = main | history.behind(rewritten)
    tips: list[Tip] = []
    names = set()
    for ref, commit in _all_refs(history).items():
        tip = _tip(history, ref, commit)
        if tip.kind == "branch":
            names.add(tip.name)
        if ref in defaults:
            others = [other for name, other in defaults.items() if name != ref and other != commit]
            in_history = commit in of_head or commit in history.behind(others)
        else:
            in_history = commit in main
        if not in_history:
            tips.append(tip)
    worktrees = _worktrees(history)
    names |= {tip.name for tip in worktrees}
    tips += [tip for tip in worktrees if not main.issuperset(tip.commits)]
    if merging := tuple(merging_commits(top)):
        tips.append(Tip("the merge in progress", "MERGE_HEAD", "branch", merging))
    grouped = _grouped(history, tips)
    known = own | history.behind(commit for tip in grouped for commit in tip.commits)
    left = tuple(commit for commit in history.parents if commit not in known)
    if left:
        grouped.append(Tip(REFLOG, "reflog", "reflog", left, protects=False))
    return Refs(frozenset(own), tuple(grouped), frozenset(names))


def _all_refs(history: History) -> dict[str, str]:
    """Return the commit of each ref."""
    form = "--format=%(refname) %(objectname) %(*objectname) %(symref)"
    out = git(history.top, "for-each-ref", form) or b""
    found = {}
    for line in out.decode("utf-8", "surrogateescape").split("\n")[:-1]:
        name, commit, peeled, symbolic = line.split(" ", 3)
        # Of a tag with a message, the commit that it names.
        commit = peeled or commit
        if not symbolic and commit in history.parents:
            found[name] = commit
    return found


def _tip(history: History, ref: str, commit: str) -> Tip:
    if ref == _STASH or ref.startswith(_EXPERIMENTS):
        # The ref is the newest stash; the others are in its reflog.
        commits = tuple(dict.fromkeys([commit, *commits_of_record(history.top, [ref])]))
        if ref == _STASH:
            return Tip(STASH, "stash", "stash", commits)
        return Tip(EXPERIMENTS, "experiments", "experiments", commits)
    for prefix, noun in _BRANCHES.items():
        if ref.startswith(prefix):
            name = ref.removeprefix(prefix)
            return Tip(f"{noun} {name}", name, "branch", (commit,))
    return Tip(f"the ref {ref}", ref, "branch", (commit,))


def _grouped(history: History, tips: Collection[Tip]) -> list[Tip]:
    """Return tips with all experiments as one."""
    found: dict[tuple[Kind, str], Tip] = {}
    for tip in tips:
        earlier = found.get((tip.kind, tip.place))
        commits = tip.commits if earlier is None else (*earlier.commits, *tip.commits)
        commits = tuple(dict.fromkeys(commit for commit in commits if commit in history.parents))
        found[tip.kind, tip.place] = Tip(tip.place, tip.name, tip.kind, commits)
    return list(found.values())


def _worktrees(history: History) -> list[Tip]:
    """Return the commits that other worktrees have checked out without a branch."""
    found = []
    for facts in _other_worktrees(history):
        commit = facts.get("HEAD", "")
        if "detached" in facts and commit in history.parents:
            name = facts["worktree"].rpartition("/")[2]
            found.append(Tip(f"the worktree {name}", name, "branch", (commit,)))
    return found


def other_worktrees(history: History) -> list[Path]:
    """Return the folders of other worktrees of the repository."""
    folders = [Path(facts["worktree"]) for facts in _other_worktrees(history)]
    return [folder for folder in folders if folder.is_dir()]


def _other_worktrees(history: History) -> Iterator[dict[str, str]]:
    """Yield what git says about each worktree but this one."""
    listed = git(history.top, "worktree", "list", "--porcelain") or b""
    for block in listed.decode("utf-8", "surrogateescape").split("\n\n"):
        facts = dict(line.partition(" ")[::2] for line in block.split("\n") if line)
        if "worktree" in facts and "bare" not in facts and facts["worktree"] != str(history.top):
            yield facts
