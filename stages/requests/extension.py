"""Extending the period of a request."""

from contextlib import ExitStack
from datetime import date

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.requests.deadlines import today
from unlearn.stages.requests.filed import filed_with
from unlearn.stages.requests.request import check_ticket, hold_list, write_change


def extend(context: Context, ticket: str, *, dry_run: bool = False) -> date:
    """Give a request more time, as its law allows, and log it.

    The law asks to tell the person, with the reason, before the first period ends.

    Parameters
    ----------
    context
        The project.
    ticket
        The request's reference.
    dry_run
        Only compute the result.

    Returns
    -------
    date
        The new due date.

    Raises
    ------
    InputError
        If no request has this ticket, it was taken back, its law has no extension, it was extended
        before, or its first period is over.
    """
    check_ticket(ticket)
    project = context.project
    with ExitStack() as stack:
        if not dry_run:
            hold_list(project, stack)
        found = filed_with(context, ticket)
        if found is None:
            raise InputError(f"no request has the ticket {ticket}")
        due = found.due_if_extended(today())
        if not dry_run:
            write_change(project, "extend", ticket=ticket)
    return due
