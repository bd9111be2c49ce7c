"""Rows that a request does not take, although their ids look like those that it names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.reading.records import RowPlace
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.rows.look_alike_rows import Spellings, rows_like
from unlearn.stages.rows.look_alikes import DIFFERENCES

#: How many rows a message names.
_SHOWN = 5

_REMEDY = "if they are the same people, request these ids too; `forget --json` names all rows"


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

    def refuse(
        self,
        outcome: str = "nothing was changed",
        way_out: str = "without --strict the request is added all the same",
    ) -> None:
        """Raise an InputError if there are any, or if nobody knows.

        Parameters
        ----------
        outcome
            How the message ends.
        way_out
            A hint where nobody knows.
        """
        if self.rows is None:
            raise InputError(f"{self._unknown}; {outcome}", way_out)
        if self.rows:
            raise InputError(f"{self._sentence}; {outcome}", _REMEDY)

    @contextmanager
    def hinted(self) -> Iterator[None]:
        """Add a hint to an InputError of the block: an unknown id may be a known one misspelt."""
        try:
            yield
        except InputError as error:
            hints = [self._sentence] if self.rows else []
            raise InputError(error.message, *error.hints, *hints, facts=error.facts) from None

    def notes(self) -> list[str]:
        """Return what the user of a request that was added has to know: at most two lines."""
        if self.rows is None:
            return [f"note: {self._unknown}"]
        return [f"note: {self._sentence}; they stay", f"hint: {_REMEDY}"] if self.rows else []

    @property
    def _unknown(self) -> str:
        return f"look-alikes of the given ids could not be looked for: {self.reason}"

    @property
    def _sentence(self) -> str:
        rows = self.rows or ()
        more = ", ..." if len(rows) > _SHOWN else ""
        places = "; ".join(map(str, rows[:_SHOWN])) + more
        found = "row has an id that differs" if len(rows) == 1 else "rows have ids that differ"
        return f"{len(rows):,} {found} from a given one only in {DIFFERENCES} ({places})"


def find_missed(context: Context, wanted: Wanted) -> Missed:
    """Return the rows of look-alikes of the ids of a request, but those forgotten anyway.

    A dataset that is not here, or not readable, does not stop a request.
    """
    dataset = context.params.dataset
    spellings = Spellings(
        frozenset(raw for raw, _ in wanted.records), frozenset(raw for raw, _ in wanted.subjects)
    )
    forget_list = context.read_list()
    try:
        rows = rows_like(context.project.root, dataset, context.tokenizer, spellings, forget_list)
    except InputError as error:
        return Missed(None, error.message)
    if rows is None:
        return Missed(None, f"{dataset.path} is not here")
    return Missed(tuple(rows))
