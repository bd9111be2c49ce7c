"""The requests and the copies, as plain data: what a page for a privacy officer is made from.

All of it but `Copies.found` is read from what git tracks and from the models on this machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from unlearn.stages.audit.compare import Snapshot
from unlearn.stages.audit.places import Place
from unlearn.stages.audit.status import standing
from unlearn.stages.config.params import Params, Regime
from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.ledger.log import Log
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.receipts.store import receipted_entries
from unlearn.stages.report.formatting import moment
from unlearn.stages.requests.filed import State, filed_requests
from unlearn.stages.rows.forget_list import parse_without_key, place_of_line


@dataclass(frozen=True)
class RequestState:
    """A request: since when, until when, and how far it is.

    Parameters
    ----------
    ticket
        The reference that it was given.
    received
        The day when it was received.
    regime
        The law that it was made under; None if none was named.
    due
        The last day for the answer; None without a law.
    extended
        Whether the period was extended.
    count
        Lines of the forget list that it names.
    state
        How far it is; see `filed.State`.
    has_rows
        Whether the dataset had rows of it.
    answered
        Whether nothing is left to do for it.
    """

    ticket: str | None
    received: date
    regime: Regime | None
    due: date | None
    extended: bool
    count: int
    state: State
    has_rows: bool = True
    answered: bool = False

    def days_left(self, day: date) -> int | None:
        """Return the days until it is due, negative after it; None if there is nothing to wait for.

        Parameters
        ----------
        day
            Today.
        """
        return None if self.due is None or self.answered else (self.due - day).days


@dataclass(frozen=True)
class PastErasure:
    """An erasure in the request log.

    Parameters
    ----------
    time
        When it was logged; None if that cannot be read.
    places
        What became of the copies in each place.
    """

    time: datetime | None
    places: tuple[ErasedPlace, ...]

    @property
    def complete(self) -> bool:
        """Whether no place is pending."""
        return all(place.state == "purged" for place in self.places)


@dataclass(frozen=True)
class Copies:
    """Where copies of forgotten rows were and are.

    Parameters
    ----------
    erasures
        What the request log says of erasures, the oldest first.
    found
        What a search of this machine and its remotes found; None if nobody searched.
    """

    erasures: tuple[PastErasure, ...] = ()
    found: tuple[Place, ...] | None = None


def request_states(project: Project, params: Params, log: Log) -> tuple[RequestState, ...]:
    """Return the requests of the log, in its order, and how far each of them is.

    Parameters
    ----------
    project, params
        The project; a clone without data and models will do.
    log
        The request log.

    Raises
    ------
    InputError
        If the forget list holds conflict markers, or a report cannot be read.
    """
    content = project.forget_list.read_bytes() if project.forget_list.is_file() else b""
    forget_list, _ = parse_without_key(content, log.epochs)
    found = standing(project, params, forget_list)
    receipted = receipted_entries(project)
    files = []
    for request in filed_requests(log, params.requests.regime):
        state = request.state(found, receipted)
        files.append(
            RequestState(
                ticket=request.ticket,
                received=request.received,
                regime=request.regime,
                due=request.due,
                extended=request.extended,
                count=request.count,
                state=state,
                has_rows=request.has_rows,
                answered=request.is_answered(state, found),
            )
        )
    return tuple(files)


def past_erasures(log: Log) -> tuple[PastErasure, ...]:
    """Return the erasures of the log, the oldest first."""
    return tuple(
        PastErasure(moment(entry.time), entry.erasure.places)
        for entry, _ in log.erasures()
        if entry.erasure is not None
    )


def held_out_lines(snapshot: Snapshot, params: Params | None) -> int | None:
    """Return how many lines of the forget list name held-out rows; None where they do not say.

    Parameters
    ----------
    snapshot
        The present state.
    params
        The settings; None if they cannot be read.
    """
    if snapshot.sharding is None or params is None or params.dataset.held_out is not None:
        return None
    lines: Sequence[str] = sorted(snapshot.listed.tokens)
    return sum(place_of_line(line, snapshot.sharding).shard == HOLDOUT for line in lines)
