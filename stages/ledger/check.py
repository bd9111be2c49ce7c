"""Whether requests got lost: the forget list against the log and git's history.

A line of the list never goes away by itself. It is lost where a commit, the log or the default
branch says that it was there, and neither the list has it nor `unlearn restore` took it back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unlearn.stages.contacts.index import Identity
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.anchor import ANCHOR_VARIABLE, anchor_is_empty, unknown_entries
from unlearn.stages.ledger.comparison import Comparison, Coverage
from unlearn.stages.ledger.contact_history import lost_contacts, problem_of
from unlearn.stages.ledger.history import (
    FORGET_LIST,
    Lines,
    commits_of_record,
    current_branch,
    default_branch,
    head_commit,
    lines_in_history,
    merging_commits,
    read_log_at,
)
from unlearn.stages.ledger.log import FOLDER, Log, read_log
from unlearn.stages.ledger.lookup import find_tokens
from unlearn.stages.ledger.settled import Settled
from unlearn.stages.ledger.transaction import lines_of, unfinished_change
from unlearn.stages.project.git import (
    Branch,
    commit_of,
    files_at,
    has_repository,
    ignored,
    is_shallow,
)
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.epochs import Epochs
from unlearn.stages.rows.forget_list import LEFT_OUT, SUBJECT_PREFIX
from unlearn.stages.rows.tokens import Tokenizer

_SHOWN = 8

#: What could be compared: all of git's history, a part of it, or none. In an incomplete clone git
#: fetches objects only when they are needed, and could not.
Checked = Literal["history", "shallow", "incomplete", "no history"]


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
        Raw ids and lines of earlier keys in the history that could not be compared: the key or the
        rows are not here.
    checked
        How much of git's history was compared.
    unknown_entries
        Entries of the log that the anchor names, and that are nowhere here.
    empty_anchor
        Whether there is an anchor that names no entry, while there are entries.
    missing_entries
        Entries of the log that were in data/requests and are not; by name the git objects of each.
    ignored
        Whether git ignores the list, or the entries of the log.
    lost_contacts
        Contact data that was suppressed, is so no longer, and was not taken back. It is not looked
        for where the key is not here.
    unknown_default
        Why the list was compared with no default branch; None if it was.
    """

    lost: Mapping[str, str] = field(default_factory=dict)
    ahead: frozenset[str] = frozenset()
    behind: frozenset[str] = frozenset()
    elsewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unchecked: int = 0
    checked: Checked = "history"
    unknown_entries: int = 0
    empty_anchor: bool = False
    missing_entries: Mapping[str, list[str]] = field(default_factory=dict)
    ignored: bool = False
    lost_contacts: frozenset[Identity] = frozenset()
    unknown_default: str | None = None

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
        if problem := problem_of(self.lost_contacts):
            return problem
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
            f"the forget list on {_printable(name)} has {_lines(len(lines))} more, not merged into "
            "this branch"
            for name, lines in self.elsewhere.items()
        ]
        if self.checked == "shallow":
            found.append(
                "this is a shallow clone: the forget list was not compared with git's whole "
                "history; `git fetch --unshallow`"
            )
        if self.checked == "incomplete":
            found.append(
                "git could not read its whole history of the forget list, so that the list was not "
                "compared with all of it: this clone is a partial one, or objects are missing"
            )
        if self.checked == "no history":
            found.append("git has no history of the forget list here to compare it with")
        if self.missing_entries:
            count = len(self.missing_entries)
            entries = "1 entry" if count == 1 else f"{count:,} entries"
            found.append(
                f"{entries} of the request log left {FOLDER}: `unlearn forget --lost` puts "
                "them back"
            )
        if self.ignored:
            found.append(
                f"git ignores {FORGET_LIST} or the files in {FOLDER}, so a commit would leave the "
                f"requests out: `git check-ignore -v {FORGET_LIST} {FOLDER}/x.json`"
            )
        if self.unknown_default is not None:
            found.append(
                f"the forget list was compared with no default branch: {self.unknown_default}"
            )
        if self.empty_anchor:
            found.append(
                f"the anchor of the request log ({ANCHOR_VARIABLE}) names no entry: is it the "
                "right file?"
            )
        if self.unchecked:
            found.append(
                f"{self.unchecked} lines in git's history of the forget list were not compared: "
                "they are raw ids or of an earlier key, and the key or the rows are not here"
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
    ToolError
        If there is a git repository that git refuses to read.
    """
    root = project.root
    log = read_log(project, None if context is None else context.key)
    epochs = log.epochs
    content = project.forget_list.read_bytes() if project.forget_list.is_file() else b""
    tokenizer = None if context is None else context.tokenizer
    listed = Coverage(_tokens(lines_of(content), tokenizer, epochs))
    change = unfinished_change(project)
    pending = set() if change is None else _bare_lines(change.added, epochs)
    was = Lines(dict.fromkeys(_lines_of_log(log), ""))
    if not has_repository(root):
        return Ledger(_lost(was, listed, log.restored() | pending), checked="no history")
    head = head_commit(root)
    heads = [*([head] if head else []), *merging_commits(root)]
    default = default_branch(root, branch)
    settled = None if context is None else Settled(project, context.key, content)
    history = _history(root, heads, default, settled, epochs)
    raw = _tokens_of_raw(history.raw, context, listed)
    for line, commit in (history.tokens | raw.tokens).items():
        was.tokens[line] = commit
    # A restore counts only while this list has it, and while the history has no newer request.
    excused = pending | (log.restored() & log.restored_with(history.entries))
    lost = _lost(was, listed, excused)
    known = pending | lost.keys()
    compare = Comparison(root, listed, log)
    ahead, behind = compare.with_default(head, heads, default, known)
    known |= ahead | behind
    whole: Checked = "history" if history.whole else "incomplete"
    if settled is not None:
        settled.save()
    return Ledger(
        lost,
        ahead=ahead,
        behind=behind,
        elsewhere=compare.with_others([*heads, *(ref.commit for ref in default)], known),
        unchecked=len(raw.raw) + len(history.older),
        checked="no history" if head is None else "shallow" if is_shallow(root) else whole,
        unknown_entries=unknown_entries(root, log, default),
        empty_anchor=bool(log.by_name) and anchor_is_empty(),
        missing_entries={
            name: objects for name, objects in history.logged.items() if name not in log.by_name
        },
        ignored=bool(ignored(root, FORGET_LIST, f"{FOLDER}/x.json")),
        lost_contacts=frozenset() if context is None else lost_contacts(context, branch),
        unknown_default=_why_no_default(branch) if head is not None and not default else None,
    )


def _why_no_default(branch: str | None) -> str:
    if branch is None:
        return "none is known here; name it by `ledger.branch` in params.yaml"
    return f"this clone has no branch {branch}, which `ledger.branch` in params.yaml names"


def _history(
    root: Path,
    heads: list[str],
    default: list[Branch],
    settled: Settled | None,
    epochs: Epochs,
) -> Lines:
    """Return the lines that were there before: on this branch, or on the default one.

    The reflog of HEAD is left out, since it visits other branches. What the default branch has
    now is no loss of this branch: it is behind.
    """
    mine = current_branch(root)
    commits = [*heads, *commits_of_record(root, [mine] if mine else [])]
    found = lines_in_history(root, commits, settled=settled, epochs=epochs)
    tips = [ref.commit for ref in default]
    dropped = commits_of_record(root, (ref.name for ref in default if ref.name != mine))
    without = [*heads, *tips]
    found.add_older(lines_in_history(root, dropped, without, settled=settled, epochs=epochs))
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
    listed = Coverage(_tokens(lines_of(content), None, log.epochs))
    history = lines_in_history(root, [commit], epochs=log.epochs)
    return _lost(history, listed, log.restored() & log.restored_with(history.entries))


def _tokens(lines: Iterable[str], tokenizer: Tokenizer | None, epochs: Epochs) -> set[str]:
    """Return the tokens of a list's lines; raw ids count where there is a key."""
    found = Lines(epochs=epochs)
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
        for line in log.lines_of(entry) or ()
    }


def _bare_lines(written: Iterable[str], epochs: Epochs) -> set[str]:
    """Return lines as memory has them, of lines as the list has them."""
    found = Lines(epochs=epochs)
    for line in written:
        found.add(line, "")
    return set(found.tokens)


def _tokens_of_raw(raw: set[str], context: Context | None, listed: Coverage) -> Lines:
    """Return the tokens of raw ids in the history that the rows still have; `raw` is the rest.

    A line that matches no row was a mistake, or its rows have left the dataset: without it no
    row is trained on again.
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


def _lost(was: Lines, listed: Coverage, excused: Collection[str]) -> dict[str, str]:
    return {
        line: commit
        for line, commit in was.tokens.items()
        if line not in excused and not listed.has(line)
    }


def _printable(name: str) -> str:
    """Return a branch's name as text, whatever bytes it is made of."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"
