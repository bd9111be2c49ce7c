"""What a method of either modality is given, and what it may raise.

A method is `method(problem) -> None`. It changes the problem's model, which is a copy, and leaves
it as it is to be. Everything that it draws follows from `problem.seed`.
"""

import hashlib
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.stopwatch import Stopwatch
from unlearn.stages.unlearn.base.guard import Guard, StoppedBy
from unlearn.stages.unlearn.base.ledger import Ledger
from unlearn.stages.unlearn.base.registry import Method

AnySide = TypeVar("AnySide", bound=Sized)
AnyGuard = TypeVar("AnyGuard", bound=Guard[Any])


class NotApplicableError(Exception):
    """A method does not apply to this model or these rows; its message says why, to people."""


class MustRetrainError(Exception):
    """The guarantee of a method is used up: the model has to be retrained.

    Parameters
    ----------
    reason
        Why, to people.
    facts
        For the report, as JSON values.
    """

    def __init__(self, reason: str, facts: dict[str, Any]) -> None:
        super().__init__(reason)
        self.facts = facts


@dataclass
class Problem(Generic[AnySide, AnyGuard]):
    """The rows to forget and to keep, and how a method is to work.

    A subclass adds the model.

    Parameters
    ----------
    forget, retain
        Either side's rows, as the model reads them.
    settings
        The method's own section of params.yaml; for one of the user's own a plain dict.
    seed
        What every random number follows from.
    epochs
        Passes over the rows in training.
    guard
        Watches over iterative methods.
    ledger
        What was read.
    facts
        What else the report shows, as JSON values; a method may add to it.
    time
        How long the method worked.
    """

    forget: AnySide
    retain: AnySide
    settings: Any
    seed: int
    epochs: int
    guard: AnyGuard
    ledger: Ledger = field(default_factory=Ledger, kw_only=True)
    facts: dict[str, Any] = field(default_factory=dict, kw_only=True)
    time: Stopwatch = field(default_factory=Stopwatch, kw_only=True)

    def changed(self, files: dict[str, bytes]) -> "Changed":
        """Return the result of a method that has worked on this problem.

        Parameters
        ----------
        files
            Of the model, by name.
        """
        return Changed(
            files=files,
            stopped_by=self.guard.stopped_by,
            rolled_back=self.guard.rolled_back,
            passes=self.ledger.passes(len(self.forget), len(self.retain)),
            facts=self.facts,
            time=self.time,
            guard_seconds=self.guard.seconds,
        )


class Seeded(Protocol):
    """What has a seed, as every problem does."""

    seed: int


@dataclass(frozen=True)
class Changed:
    """A model that a method changed.

    Parameters
    ----------
    files
        Of the model, by name.
    stopped_by, rolled_back
        What ended an iterative method, and whether the guard took steps back.
    passes
        How often the method read each row of either side, on average.
    facts
        What else there is to report, as JSON values.
    time
        How long the method worked on the rows and the model, which were opened before.
    guard_seconds
        How long the measurements of the guard took.
    """

    files: dict[str, bytes]
    stopped_by: StoppedBy
    rolled_back: bool
    passes: dict[str, float]
    facts: dict[str, Any]
    time: Stopwatch = field(default_factory=Stopwatch)
    guard_seconds: float = 0.0


def apply(method: Method, problem: Problem[Any, Any]) -> None:
    """Run a method on a problem.

    Parameters
    ----------
    method
        One that changes the model it starts from.
    problem
        Its model and its facts are changed.

    Raises
    ------
    InputError
        If the method fails, or leaves facts that are no JSON values.
    NotApplicableError
        If it does not apply to this model or these rows.
    MustRetrainError
        If only retraining keeps its guarantee.
    """
    if method.function is None:
        raise NotApplicableError(f"{method.name} starts from no model")
    torch.manual_seed(problem.seed)
    with _failures_by_name(), problem.time.running():
        method.function(problem)
    try:
        json_bytes(problem.facts)
    except (TypeError, ValueError):
        raise InputError("the method leaves facts that are no JSON values") from None


def draws(problem: Seeded, purpose: str) -> torch.Generator:
    """Return a source of random numbers that follows from the problem's seed and the purpose."""
    digest = hashlib.sha256(f"{problem.seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def _failures_by_name() -> Iterator[None]:
    """Turn an exception of a user's method or module into an error that has its name only.

    Its message may quote a row.
    """
    try:
        yield
    except (NotApplicableError, MustRetrainError, InputError):
        raise
    except Exception as error:
        raise InputError(
            f"the method failed ({type(error).__name__})", "--debug shows where"
        ) from error
