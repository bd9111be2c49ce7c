"""Erasures in the log, as the command records them."""

from unlearn.stages.context import Context
from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.ledger.log import new_entry, read_log
from unlearn.stages.ledger.transaction import Change, apply_change

#: Every place is purged.
ERASED = Erasure(places=(ErasedPlace(name="the dataset", state="purged", method="rewritten"),))
#: One is not.
PENDING = Erasure(
    places=(*ERASED.places, ErasedPlace(name="the remote far", state="pending", why="no rights"))
)


def log_erasure(context: Context, erasure: Erasure = ERASED) -> None:
    """Log an erasure of the rows of all requests before it."""
    project = context.project
    content = project.forget_list.read_bytes()
    entry = new_entry(read_log(project), "erase", (), content, erasure=erasure)
    apply_change(project, Change(added=(), entry=entry))
