"""Rows that a request does not take, although their ids look like those that it names."""

from dataclasses import dataclass

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.requests.request import Wanted
from unlearn.stages.rows.look_alike_rows import Spellings, rows_like
from unlearn.stages.rows.records import RowPlace

#: How many rows a message names.
_SHOWN = 5


@dataclass(frozen=True)
class Missed:
    """The rows of look-alikes that stay.

    Parameters
    ----------
    rows
        Their places; None if they could not be looked for.
    reason
        Why not.
    """

    rows: tuple[RowPlace, ...] | None
    reason: str = ""

    @property
    def count(self) -> int | None:
        """How many there are; None if they could not be looked for."""
        return None if self.rows is None else len(self.rows)

    @property
    def shown(self) -> str:
        """The first of them, for a message."""
        rows = self.rows or ()
        more = ", ..." if len(rows) > _SHOWN else ""
        return "; ".join(map(str, rows[:_SHOWN])) + more

    def refuse(self) -> None:
        """Raise an InputError if there are any, or if nobody knows."""
        if self.rows is None:
            raise InputError(
                f"look-alikes of the given ids could not be looked for: {self.reason}; nothing was "
                "changed",
                "without --strict the request is added all the same",
            )
        if self.rows:
            verb = "row belongs" if len(self.rows) == 1 else "rows belong"
            raise InputError(
                f"{len(self.rows):,} {verb} to look-alikes of the given ids ({self.shown}); "
                "nothing was changed",
                "request their ids as well, or leave out --strict if they are other people",
            )


def find_missed(context: Context, wanted: Wanted) -> Missed:
    """Return the rows of look-alikes of the ids of a request, but those forgotten anyway.

    A dataset that is not here, or not readable, does not stop a request.
    """
    dataset = context.params.dataset
    spellings = Spellings(
        frozenset(raw for raw, _ in wanted.records), frozenset(raw for raw, _ in wanted.subjects)
    )
    try:
        rows = rows_like(
            context.project.root, dataset, context.tokenizer, spellings, context.read_list()
        )
    except InputError as error:
        return Missed(None, error.message)
    if rows is None:
        return Missed(None, f"{dataset.path} is not here")
    return Missed(tuple(rows))
