"""Whether suppressed contact data got lost: data/suppressed.txt against git's history and the log.

The log does not name these lines, because a list of DROP may have a million of them. It names those
that were taken back, and those of them that were suppressed again later. So a line that a commit
has and the file has not is lost, unless the log says that it was taken back.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from unlearn.stages.contacts.index import Identity
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.deleted import log_with_deleted
from unlearn.stages.ledger.entry import Entry
from unlearn.stages.ledger.history import (
    commits_of_record,
    current_branch,
    default_branch,
    head_commit,
    merging_commits,
    versions_in_history,
)
from unlearn.stages.ledger.log import FOLDER
from unlearn.stages.ledger.suppressed import CONTACT_PREFIX, SUPPRESSED, contact_lines
from unlearn.stages.ledger.suppressed_contacts import contact_of, read_contacts
from unlearn.stages.project.git import files_at, has_repository, is_ancestor, read_objects

#: How many versions of the file are in memory at a time.
_AT_ONCE = 8


def lost_contacts(context: Context, branch: str | None) -> frozenset[Identity]:
    """Return the contact data that was suppressed, is so no longer, and was not taken back.

    Parameters
    ----------
    context
        The project.
    branch
        The name of the default branch by params.yaml.

    Raises
    ------
    InputError
        If a line of the file is damaged, or an entry of the log.
    """
    project = context.project
    if not has_repository(project.root):
        return frozenset()
    heads, dropped, ahead, tips = _commits(project.root, branch)
    lines = _lines_of(project.root, heads, ()) | _lines_of(project.root, dropped, [*heads, *tips])
    for commit in ahead:
        content = files_at(project.root, commit, SUPPRESSED).get(SUPPRESSED, b"")
        lines |= _contact_lines(content)
    lines -= contact_lines(project)
    if not lines:
        return frozenset()
    found = set()
    for line in lines:
        with suppress(InputError):  # of a later key, or damaged: nobody can put it back
            found.add(contact_of(line, context.key))
    found -= set(read_contacts(context))
    if not found:
        return frozenset()
    return frozenset(found - withdrawn_contacts(context, [*heads, *dropped]))


def refuse_lost_contacts(context: Context) -> None:
    """Raise an InputError if suppressed contact data got lost; see `lost_contacts`."""
    if problem := problem_of(lost_contacts(context, context.params.ledger.branch)):
        raise problem


def problem_of(lost: frozenset[Identity]) -> InputError | None:
    """Return the error that stops a run; None if nothing is lost."""
    if not lost:
        return None
    lines = "1 line" if len(lost) == 1 else f"{len(lost):,} lines"
    return InputError(
        f"{lines} of contact data left {SUPPRESSED}, and the request log has nobody who took "
        f"{'it' if len(lost) == 1 else 'them'} back",
        "`unlearn forget --lost` suppresses these people again",
    )


def withdrawn_contacts(context: Context, commits: Sequence[str] = ()) -> frozenset[Identity]:
    """Return the contact data that the log names as taken back, and not as suppressed again.

    Parameters
    ----------
    context
        The project.
    commits
        Commits in whose histories entries of the log may be that were deleted since.
    """
    root = context.project.root
    versions = versions_in_history(root, commits, (), [FOLDER]) if commits else None
    objects: dict[str, list[str]] = {}
    for version, (_, path) in versions or ():
        objects.setdefault(Path(path).stem, []).append(version)
    log = log_with_deleted(context.project, {}, context.key)
    missing = {name: found for name, found in objects.items() if name not in log.by_name}
    entries = log_with_deleted(context.project, missing, context.key).entries
    found: set[Identity] = set()
    for entry in sorted(entries, key=_time):
        found |= {contact_of(line, context.key) for line in entry.withdrawn or ()}
        found -= {contact_of(line, context.key) for line in entry.renewed or ()}
    return frozenset(found)


def _time(entry: Entry) -> str:
    return entry.time


def _commits(root: Path, branch: str | None) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return where lines may have been: see `check.check_ledger`, which compares the forget list.

    Returns
    -------
    heads, dropped, ahead, tips : list of str
        The commits of this branch, now and before; those that the default branch had; those that
        it has now, where it is ahead; and its present ones.
    """
    head, mine = head_commit(root), current_branch(root)
    heads = [*([head] if head else []), *merging_commits(root)]
    default = default_branch(root, branch)
    tips = [ref.commit for ref in default]
    ahead = [tip for tip in tips if head is not None and is_ancestor(root, head, tip)]
    dropped = commits_of_record(root, (ref.name for ref in default if ref.name != mine))
    return [*heads, *commits_of_record(root, [mine] if mine else [])], dropped, ahead, tips


def _lines_of(root: Path, commits: Sequence[str], without: Sequence[str]) -> set[str]:
    """Return every line of contact data that the file has had in commits and in their histories."""
    versions = versions_in_history(root, commits, without, [SUPPRESSED]) if commits else None
    names = [name for name, _ in versions or ()]
    found: set[str] = set()
    for first in range(0, len(names), _AT_ONCE):
        for content in read_objects(root, names[first : first + _AT_ONCE]).values():
            found |= _contact_lines(content)
    return found


def _contact_lines(content: bytes) -> set[str]:
    lines: Iterable[bytes] = content.split(b"\n")
    prefix = CONTACT_PREFIX.encode()
    found = (line.rstrip(b"\r") for line in lines if line.startswith(prefix))
    return {line.decode("ascii", "replace") for line in found}
