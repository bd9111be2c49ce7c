"""The core of the guards around iterative methods: when to stop, and which state to keep.

Forgetting too much reveals a row as clearly as forgetting too little: the target is the loss of a
model that never saw the rows, or of unseen rows, not the largest loss.

A guard measures the model on fixed probes. What it keeps is, of the states within the limits, the
one whose forget loss is nearest to the target; `settle` goes back to it.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, Literal, Protocol, TypeVar

import torch
from unlearn.stages.config.methods import Target

#: Why a phase ended. `done`: it had no steps to take. `epochs`: all of them were taken.
#: `young_target`: the forget loss reached that of the model of the stage `young`; `forget_target`:
#: it reached that of unseen rows. `forgetting`: more steps of a second phase would undo the
#: first's. `perplexity` and `repetition`: of language models alone.
StoppedBy = Literal[
    "done",
    "epochs",
    "young_target",
    "forget_target",
    "forgetting",
    "retain_budget",
    "perplexity",
    "repetition",
    "not_finite",
    "gradient",
    "unguarded",
]


#: Share of a method's work that the measurements of its guard may take.
SHARE = 0.15

#: What a step costs in rows that are passed through the network and back.
_PASSES_A_STEP = 3


class Measured(Protocol):
    """What the probes of any guard give."""

    @property
    def forget_loss(self) -> float:
        """Mean cross-entropy of the forget probe."""

    @property
    def finite(self) -> bool:
        """Whether weights and losses are numbers."""


AnyState = TypeVar("AnyState", bound=Measured)


class Guard(ABC, Generic[AnyState]):
    """Watches a model while a method changes it.

    A subclass measures its kind of model and reads and writes its weights.

    Parameters
    ----------
    target
        Mean forget loss at which the forget rows count as forgotten; None where it is unknown, so
        that nothing but a limit stops a method.
    target_of
        Whose loss the target is.
    look
        What one measurement costs, in rows that pass once through the model. The first one and the
        one after the last step are always made; others are made as far as all of them stay within
        `share`. It is counted and not timed: the same steps give the same bytes.
    share
        Share of the method's work that measurements may take.
    gradient_limit
        Norm of the whole gradient at which it counts as exploding.
    active
        False lets a method do what it does: nothing stops it and nothing is rolled back.

    Attributes
    ----------
    stopped_by
        What ended the method; where it has two phases, the first one.
    over
        Whether the phase has ended: no step may be taken.
    target
        See above; dropped where it is reached at the start and the method does not ascend.
    start, kept
        What the probes gave for the original, and for the state that is kept.
    moved
        Whether the kept state is another one than the original.
    rolled_back
        Whether steps were taken back.
    seconds
        How long its measurements took, by the clock; no result depends on it.
    pauses
        Whether forgetting has to wait: the forget loss has reached its target, and what that cost
        is still to be recovered.
    """

    def __init__(
        self,
        target: float | None,
        *,
        gradient_limit: float,
        active: bool,
        target_of: Target = "class",
        look: float = 0.0,
        share: float = SHARE,
    ) -> None:
        self.stopped_by: StoppedBy = "done"
        self.over = False
        self.target = target
        self.start: AnyState | None = None
        self.kept: AnyState | None = None
        self.moved = False
        self.rolled_back = False
        self.pauses = False
        self.active = active
        self._gradient_limit = gradient_limit
        self._at_target: StoppedBy = "young_target" if target_of == "young" else "forget_target"
        self._best: dict[str, torch.Tensor] = {}
        self._look, self._share = look, share
        self._looked = self._work = 0.0
        self.seconds = 0.0

    @abstractmethod
    def _measure(self) -> AnyState:
        """Measure the model on the probes."""

    @abstractmethod
    def _past_limit(self, state: AnyState) -> StoppedBy | None:
        """Return the limit that a state is past; None where it is within all of them."""

    @abstractmethod
    def _weights(self) -> Mapping[str, torch.Tensor]:
        """Return the model's own weights, by name."""

    @abstractmethod
    def _copy(self) -> dict[str, torch.Tensor]:
        """Return a copy of the model's weights."""

    @abstractmethod
    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Give the model these weights, by name."""

    @property
    def affords_a_look(self) -> bool:
        """Whether one more measurement stays within the share that they may take."""
        return self._looked + self._look <= self._share * self._work

    def count_step(self, rows: int, overhead: float = 0.0) -> None:
        """Add a step to the work of the method.

        Parameters
        ----------
        rows
            That the step read.
        overhead
            What a step costs besides them, in rows that pass once through the model.
        """
        self._work += _PASSES_A_STEP * rows + overhead

    def _take_a_look(self) -> AnyState:
        self._looked += self._look
        with self._measuring():
            return self._measure()

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Add the time that this lasts to that of the measurements."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def accept(self) -> bool:
        """Keep the model as it is if it is within the limits; else note which one it is past."""
        if not self.active:
            return True
        state = self._take_a_look()
        limit = self._past_limit(state)
        if limit is not None:
            self.stopped_by = limit
            return False
        self.stopped_by = "done"
        self._keep(state)
        return True

    def _begin(self, *, ascends: bool) -> None:
        """Take the model as it is for the start; see `watch` of the subclasses."""
        self.start = self.kept = self._take_a_look()
        self._best = self._copy()
        self.moved = self.rolled_back = self.over = self.pauses = False
        self.stopped_by = "epochs" if self.active else "unguarded"
        if not self.active:
            return
        if not self.start.finite:
            self._end("not_finite")
        elif self._reached(self.start):
            if ascends:
                self._end(self._at_target)
            else:
                self.target = None

    def _follows(self, norm: float) -> bool:
        """Return whether a step along a gradient of this norm is allowed."""
        if not self.active:
            return True
        if not math.isfinite(norm):
            return not self._end("not_finite")
        if norm > self._gradient_limit:
            return not self._end("gradient")
        return True

    def _looks(self, *, recovers: bool) -> bool:
        """Measure; keep the state if it is the best so far, and return whether to stop.

        Parameters
        ----------
        recovers
            A state past a limit is not kept, but the method may continue from it.
        """
        if not self.active:
            return False
        if self.start is None:
            raise RuntimeError("watch() comes before stops()")
        state = self._take_a_look()
        limit = self._past_limit(state)
        if limit is not None:
            self.pauses = self._reached(state)
            return False if recovers and limit != "not_finite" else self._end(limit)
        self.pauses = False
        return self._forgets(state)

    def _goes_back(self) -> None:
        """Put the model into its best state; where nothing is guarded, it stays as it is."""
        if not self.active:
            self.kept = self._take_a_look()
            self.moved = True
            return
        weights = self._weights()
        self.rolled_back |= any(
            not torch.equal(weights[name].to(value.device), value)
            for name, value in self._best.items()
        )
        self.restore(self._best)

    def _keep(self, state: AnyState) -> None:
        self.kept, self._best, self.moved = state, self._copy(), True

    def _end(self, reason: StoppedBy) -> bool:
        self.stopped_by = reason
        self.over = True
        return True

    def _forgets(self, state: AnyState) -> bool:
        # The original is kept only if nothing else may be: a state that is nearer to the target by
        # nothing but chance must not make the method's answer the untouched model.
        if not self.moved or self._distance(state) <= self._distance(self.kept):
            self._keep(state)
        return self._reached(state) and self._end(self._at_target)

    def _reached(self, state: AnyState) -> bool:
        return self.target is not None and state.forget_loss >= self.target

    def _distance(self, state: AnyState | None) -> float:
        # Without a target the latest state is the best.
        if self.target is None:
            return 0.0
        return math.inf if state is None else abs(state.forget_loss - self.target)
