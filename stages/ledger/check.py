"""Whether requests got lost: the forget list against the log and git's history.

A line of the list never goes away by itself. It is lost where a commit, the log or the default
branch says that it was there, and neither the list has it nor `unlearn restore` took it back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.anchor import ANCHOR_VARIABLE, unknown_entries
from unlearn.stages.ledger.history import (
    FORGET_LIST,
    Lines,
    commits_of_no_branch,
    commits_of_record,
    current_branch,
    default_branch,
    head_commit,
    lines_in_history,
    other_tips,
    read_log_at,
)
from unlearn.stages.ledger.log import FOLDER, Log, read_log
from unlearn.stages.ledger.lookup import find_tokens
from unlearn.stages.ledger.settled import Settled
from unlearn.stages.ledger.transaction import lines_of, unfinished_change
from unlearn.stages.project.git import Branch, commit_of, files_at, is_ancestor, is_shallow
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import LEFT_OUT, SUBJECT_PREFIX
from unlearn.stages.rows.tokens import Tokenizer

_SHOWN = 8

#: What could be compared: all of git's history, a part of it, or none.
Checked = Literal["history", "shallow", "no history"]


@dataclass(frozen=True)
class Ledger:
    """What the history says about the list.

    Parameters
    ----------
    lost
        Lines that were on the list and are not; by line the commit that has it, or an empty text
        where only the log names it.
    ahead
        Lines of the default branch, while what is checked out is a part of its history.
    behind
        Lines of the default branch that a branch with commits of its own does not have yet.
    elsewhere
        Lines that only other branches, stashes and experiments have, or only commits that no
        branch has any more, by name.
    unchecked
        Raw ids in the history that could not be compared: the key or the rows are not here.
    checked
        How much of git's history was compared.
    unknown_entries
        Entries of the log that the anchor names, and that are nowhere here.
    """

    lost: Mapping[str, str] = field(default_factory=dict)
    ahead: frozenset[str] = frozenset()
    behind: frozenset[str] = frozenset()
    elsewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unchecked: int = 0
    checked: Checked = "history"
    unknown_entries: int = 0

    def problem(self) -> InputError | None:
        """Return the error that stops a run; None if no request is lost."""
        if self.lost:
            commits = sorted({commit[:_SHOWN] for commit in self.lost.values() if commit})
            where = f"commit {commits[0]}" if commits else FOLDER
            return InputError(
                f"{_lines(len(self.lost))} left the forget list, which only grows: see {where}",
                "`unlearn forget --lost` puts them back on the list",
                "`unlearn restore` is for a request that was taken back",
            )
        if self.ahead:
            return InputError(
                "the default branch is ahead of this commit, and its forget list has "
                f"{_lines(len(self.ahead))} more",
                "check out the default branch, or merge it: `git merge`",
            )
        if self.unknown_entries:
            return InputError(
                f"{self.unknown_entries} entries of the request log that {ANCHOR_VARIABLE} names "
                "are not here",
                "fetch and merge the branch that has them",
            )
        return None

    def notes(self) -> list[str]:
        """Return a sentence for everything that does not stop a run and that a user should know."""
        found = []
        if self.behind:
            found.append(
                f"the forget list of the default branch has {_lines(len(self.behind))} more than "
                "this branch: merge it"
            )
        found += [
            f"the forget list on {name} has {_lines(len(lines))} more, not merged into this branch"
            for name, lines in self.elsewhere.items()
        ]
        if self.checked == "shallow":
            found.append(
                "this is a shallow clone: the forget list was not compared with git's whole "
                "history; `git fetch --unshallow`"
            )
        if self.checked == "no history":
            found.append("git has no history of the forget list here to compare it with")
        if self.unchecked:
            found.append(
                f"{self.unchecked} raw ids in git's history of the forget list were not compared: "
                "the key or the rows are not here"
            )
        return found


def check_ledger(project: Project, branch: str | None, context: Context | None) -> Ledger:
    """Compare the list in the working tree with the log and with git's history.

    Parameters
    ----------
    project, branch
        The project, and the name of the default branch by params.yaml.
    context
        The project with its key, for raw ids in the history; None where there is no key.

    Raises
    ------
    InputError
        If an entry of the log is damaged, or the anchor cannot be read.
    """
    root = project.root
    log = read_log(project)
    content = project.forget_list.read_bytes() if project.forget_list.is_file() else b""
    tokenizer = None if context is None else context.tokenizer
    listed = Coverage(_tokens(lines_of(content), tokenizer))
    excused = set(log.restored())
    if (change := unfinished_change(project)) is not None:
        excused |= {line.removesuffix(LEFT_OUT) for line in change.added}
    head = head_commit(root)
    was = Lines(dict.fromkeys(_lines_of_log(log), ""))
    if head is None:
        return Ledger(_lost(was, listed, excused), checked="no history")
    default = default_branch(root, branch)
    settled = None if context is None else Settled(project, context.key, content)
    history = _history(root, head, default, settled)
    raw = _tokens_of_raw(history.raw, context, listed)
    for line, commit in (history.tokens | raw.tokens).items():
        was.tokens[line] = commit
    lost = _lost(was, listed, excused)
    ahead, behind = _of_default(root, head, default, listed, excused | lost.keys())
    known = excused | lost.keys() | ahead | behind
    if settled is not None:
        settled.save()
    return Ledger(
        lost,
        ahead=ahead,
        behind=behind,
        elsewhere=_elsewhere(root, [head, *(ref.commit for ref in default)], listed, known),
        unchecked=len(raw.raw),
        checked="shallow" if is_shallow(root) else "history",
        unknown_entries=unknown_entries(root, log, default),
    )


def _history(root: Path, head: str, default: list[Branch], settled: Settled | None) -> Lines:
    """Return the lines that were there before: on this branch, or on the default one.

    The reflog of HEAD is left out, since it visits other branches. What the default branch has
    now is no loss of this branch: it is behind.
    """
    mine = current_branch(root)
    commits = [head, *commits_of_record(root, [mine] if mine else [])]
    found = lines_in_history(root, commits, settled=settled)
    tips = [ref.commit for ref in default]
    dropped = commits_of_record(root, (ref.name for ref in default if ref.name != mine))
    if dropped:
        before = lines_in_history(root, dropped, without=[head, *tips], settled=settled)
        found.tokens = before.tokens | found.tokens
        found.raw |= before.raw
    return found


def lines_lost_at(root: Path, revision: str) -> dict[str, str]:
    """Return the lines that the history of a revision has and its own list has not.

    Parameters
    ----------
    root
        The project's folder.
    revision
        A git revision.

    Returns
    -------
    dict
        By line, a commit that has it; empty where git knows no such revision.
    """
    commit = commit_of(root, revision)
    if commit is None:
        return {}
    content = files_at(root, commit, FORGET_LIST).get(FORGET_LIST, b"")
    log = read_log_at(root, commit)
    listed = Coverage(_tokens(lines_of(content), None))
    return _lost(lines_in_history(root, [commit]), listed, set(log.restored()))


class Coverage:
    """Which lines a list covers: a person's line covers all lines of records of that person.

    Parameters
    ----------
    lines
        The list's lines, as tokens.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = set(lines)
        self._records = {line.rpartition(".")[2] for line in self._lines}

    def has(self, line: str) -> bool:
        """Return whether the rows of a line are forgotten by this list."""
        subject, dot, record = line.partition(".")
        if line in self._lines:
            return True
        return (subject in self._lines or record in self._lines) if dot else line in self._records


def _tokens(lines: Iterable[str], tokenizer: Tokenizer | None) -> set[str]:
    """Return the tokens of a list's lines; raw ids count where there is a key."""
    found = Lines()
    for line in lines:
        found.add(line, "")
    tokens = set(found.tokens)
    if tokenizer is not None:
        for raw in found.raw:
            tokens |= set(_raw_tokens(raw, tokenizer).values())
    return tokens


def _raw_tokens(raw: str, tokenizer: Tokenizer) -> dict[Literal["record", "subject"], str]:
    """Return the token of a raw line, by its kind; none where it can be no id."""
    try:
        if raw.startswith(SUBJECT_PREFIX):
            return {"subject": tokenizer.token("subject", raw.removeprefix(SUBJECT_PREFIX))}
        return {"record": tokenizer.token("record", raw)}
    except InputError:
        return {}


def _lines_of_log(log: Log) -> set[str]:
    return {
        line.removesuffix(LEFT_OUT)
        for entry in log.entries
        if entry.kind != "restore"
        for line in entry.lines or ()
    }


def _tokens_of_raw(raw: set[str], context: Context | None, listed: "Coverage") -> Lines:
    """Return the tokens of raw ids in the history that the rows still have; `raw` is the rest.

    A line that matches no row was a mistake, or its rows have left the dataset: nobody comes back
    through it.
    """
    if not raw or context is None:
        return Lines(raw=raw)
    named = [_raw_tokens(line, context.tokenizer) for line in raw]
    records = {found["record"] for found in named if "record" in found}
    records = {token for token in records if not listed.has(token)}
    subjects = {found["subject"] for found in named if "subject" in found}
    subjects = {token for token in subjects if not listed.has(token)}
    if not records and not subjects:
        return Lines()
    try:
        known = find_tokens(context, records, subjects)
    except InputError:
        return Lines(raw=raw)
    # A record's line names its subject, by which a person's line covers it.
    lines = [
        token if subject is None else f"{subject}.{token}"
        for token, subject in known.subject_of.items()
    ]
    return Lines(dict.fromkeys([*lines, *known.subjects], ""))


def _lost(was: Lines, listed: Coverage, excused: set[str]) -> dict[str, str]:
    return {
        line: commit
        for line, commit in was.tokens.items()
        if line not in excused and not listed.has(line)
    }


def _of_default(
    root: Path, head: str, default: list[Branch], listed: Coverage, known: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the lines of the default branch that stop a run, and those that are only named."""
    ahead: set[str] = set()
    behind: set[str] = set()
    for ref in default:
        if missing := _missing(root, [ref], [head], listed, known):
            (ahead if is_ancestor(root, head, ref.commit) else behind).update(missing)
    return frozenset(ahead), frozenset(behind - ahead)


def _elsewhere(
    root: Path, tips: Collection[str], listed: Coverage, known: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return the lines that only other branches, stashes and experiments have.

    Commits that were checked out in this clone, and that no branch has any more, come last.
    """
    places = [*other_tips(root, tips), *commits_of_no_branch(root)]
    found: dict[str, frozenset[str]] = {}
    seen = set(known)
    # All places at once first: in most clones no line is missing.
    for place in places if _missing(root, places, tips, listed, seen) else ():
        if missing := _missing(root, [place], tips, listed, seen):
            found[place.name] = missing
            seen |= missing
    return found


def _missing(
    root: Path,
    places: list[Branch],
    tips: Collection[str],
    listed: Coverage,
    known: Collection[str],
) -> frozenset[str]:
    """Return the lines in the commits of places, without those of `tips`, that the list lacks."""
    if not places:
        return frozenset()
    lines = lines_in_history(root, [place.commit for place in places], without=tips).tokens
    return frozenset(line for line in lines if line not in known and not listed.has(line))


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"
