"""The entry of an erasure in the request log."""

from collections.abc import Collection
from contextlib import ExitStack

from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.ledger.log import new_entry, read_log
from unlearn.stages.ledger.suppressed import suppress_erased
from unlearn.stages.ledger.transaction import Change, apply_change
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.request import hold_list


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


def record_erasure(project: Project, erasure: Erasure, heads: Collection[str]) -> bool:
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

    Returns
    -------
    bool
        Whether an entry was written.
    """
    with ExitStack() as stack:
        hold_list(project, stack)
        check_anchor()
        log = read_log(project).up_to(heads)
        if len(log.heads) == 1 and log.by_name[log.heads[0]].erasure == erasure:
            return False
        entry = new_entry(log, "erase", (), project.forget_list.read_bytes(), erasure=erasure)
        apply_change(project, Change(added=(), entry=entry))
        write_anchor(read_log(project))
    return True
