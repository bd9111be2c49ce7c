"""Suppressing people who are known by contact data alone, and no longer."""

from collections.abc import Collection, Iterable
from contextlib import ExitStack

from unlearn.stages.contacts.index import Identity
from unlearn.stages.context import Context
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.contact_history import withdrawn_contacts
from unlearn.stages.ledger.log import new_entry, read_log
from unlearn.stages.ledger.suppressed_contacts import change_contacts, contact_line, read_contacts
from unlearn.stages.ledger.transaction import Change, apply_change
from unlearn.stages.requests.request import hold_list


def suppress_contacts(
    context: Context, added: Collection[Identity], removed: Collection[Identity]
) -> None:
    """Suppress people who are known by contact data alone, or no longer.

    The log names what was taken back, and what of that is suppressed again: a line that leaves the
    file otherwise is lost. It is written first: after a kill in between, a line is still in the
    file, or `unlearn forget --lost` puts it back.

    Parameters
    ----------
    context
        The project.
    added, removed
        Lists and keyed digests of contact data; one that is in both is suppressed.
    """
    if not added and not removed:
        return
    with ExitStack() as stack:
        hold_list(context.project, stack)
        withdrawn = (set(removed) & set(read_contacts(context))) - set(added)
        renewed = set(added) & withdrawn_contacts(context)
        if withdrawn or renewed:
            _log(context, withdrawn, renewed)
        change_contacts(context, added, removed)


def _log(context: Context, withdrawn: Iterable[Identity], renewed: Iterable[Identity]) -> None:
    project = context.project
    check_anchor()
    entry = new_entry(read_log(project), "contacts", (), project.forget_list.read_bytes())
    lines = {
        name: tuple(sorted(contact_line(one, context.key) for one in found)) or None
        for name, found in (("withdrawn", withdrawn), ("renewed", renewed))
    }
    apply_change(project, Change(added=(), entry=entry.model_copy(update=lines)))
    write_anchor(read_log(project))
