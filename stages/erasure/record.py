"""The entry of an erasure in the request log."""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass

from unlearn.stages.context import Context
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.ledger.log import new_entry, read_log
from unlearn.stages.ledger.suppressed import suppress_erased
from unlearn.stages.ledger.transaction import Change, apply_change
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.request import hold_list
from unlearn.stages.rows.forget_list import ForgetList


@dataclass(frozen=True)
class Start:
    """The requests that an erasure covers.

    Parameters
    ----------
    digest, forget_list
        The forget list, and the SHA-256 of its file.
    heads
        The newest entries of the request log.
    """

    digest: str
    forget_list: ForgetList
    heads: tuple[str, ...]


def read_start(context: Context) -> Start:
    """Return the requests as they are now; none can be added while they are read."""
    with ExitStack() as stack:
        hold_list(context.project, stack)
        digest = digest_file(context.project.forget_list)
        return Start(digest, context.read_list(), read_log(context.project).heads)


def suppress_rows(project: Project, heads: Collection[str]) -> None:
    """Note that no shard gets the rows of an erasure any more, should they come back.

    Parameters
    ----------
    project
        The project. The rows have left its dataset.
    heads
        The newest entries of the request log when the erasure began.
    """
    with ExitStack() as stack:
        hold_list(project, stack)
        suppress_erased(project, read_log(project).up_to(heads))


def record_erasure(
    project: Project, erasure: Erasure, heads: Collection[str], list_digest: str
) -> bool:
    """Write an erasure to the request log, unless its newest entry says the same.

    Parameters
    ----------
    project
        The project.
    erasure
        What became of the copies.
    heads
        The newest entries when it began. It covers these and those before them, and not a request
        that came in the meantime.
    list_digest
        SHA-256 of the forget list when it began.

    Returns
    -------
    bool
        Whether an entry was written.
    """
    with ExitStack() as stack:
        hold_list(project, stack)
        check_anchor()
        everything, public = read_log(project), erasure.without_counts()
        log = everything.up_to(heads)
        newest = [everything.by_name[name] for name in log.heads]
        # A kill can come after the entry, and before the journal is deleted.
        written = [entry for entry in everything.entries if tuple(entry.heads) == log.heads]
        if any(entry.erasure == public for entry in written):
            return False
        if len(newest) == 1 and newest[0].erasure == public:
            return False
        entry = new_entry(log, "erase", (), b"", erasure=public)
        entry = entry.model_copy(update={"list_digest": list_digest})
        apply_change(project, Change(added=(), entry=entry))
        write_anchor(read_log(project))
    return True
