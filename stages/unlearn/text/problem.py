"""What a method is given to unlearn a language model.

A method is `method(problem)`: it trains `problem.tuned.weights` with `problem.guard` looking on,
and leaves the model as it is to be. Everything that it draws follows from `problem.seed`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from unlearn.stages.config.text import LanguageMethodSettings
from unlearn.stages.text.sequences import Ints, Sequences
from unlearn.stages.unlearn.tabular.iterate import draws
from unlearn.stages.unlearn.tabular.problem import EPOCHS_SHARE, Ledger
from unlearn.stages.unlearn.text.guard import TextGuard
from unlearn.stages.unlearn.text.tuned import Tuned


@dataclass
class TextProblem:
    """A tuned model, what of its rows goes and stays, and how a method is to work.

    Parameters
    ----------
    tuned
        The model; what it is trained to be is the method's result.
    forget, retain
        Either side's rows as sequences.
    rows
        The forget rows themselves, for methods that put other answers to their prompts.
    settings
        The method's own section of `unlearn.language`; for one of the user's own a plain dict.
    shared
        What all methods share.
    seed
        What every random number follows from.
    epochs
        Passes over the rows in training.
    guard
        Watches over the method.
    ledger
        What was read; `descend` counts by itself.
    facts
        What else the report is to say, as JSON values; a method may add to it.
    """

    tuned: Tuned
    forget: Sequences
    retain: Sequences
    rows: pa.Table
    settings: Any
    shared: LanguageMethodSettings
    seed: int
    epochs: int
    guard: TextGuard
    ledger: Ledger = field(default_factory=Ledger)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps of an epoch: batches that the forget set makes."""
        return -(-len(self.forget) // self.shared.batch)

    def epochs_of(self, read: int) -> int:
        """Return how many epochs a method may take: by the settings, or a fifth of training's.

        Parameters
        ----------
        read
            Sequences that one of its epochs reads. A fifth of what training anew reads is a bound
            on all of them together.
        """
        most = self.epochs * len(self.retain) / EPOCHS_SHARE / max(read, 1)
        return min(self.shared.epochs, max(1, int(most)))

    def forget_batches(self, epoch: int) -> Iterator[Ints]:
        """Yield indices of the forget sequences, in batches of about equal size and a new order."""
        order = _order(self, f"forget {epoch}", len(self.forget))
        yield from np.array_split(order, self.steps)


class Endless:
    """Indices of the retain sequences without end: none comes twice before all have come.

    Each pass has an order of its own, which follows from the problem's seed.
    """

    def __init__(self, problem: TextProblem) -> None:
        self._problem = problem
        self._passes = 0
        self._left: Ints = np.zeros(0, dtype=np.int64)

    def take(self, count: int) -> Ints:
        """Return the next indices; none where there is no retain sequence."""
        size = len(self._problem.retain)
        while size and len(self._left) < count:
            order = _order(self._problem, f"retain {self._passes}", size)
            self._left = np.concatenate([self._left, order])
            self._passes += 1
        taken, self._left = self._left[:count], self._left[count:]
        return taken


def _order(problem: TextProblem, purpose: str, count: int) -> Ints:
    return torch.randperm(count, generator=draws(problem, purpose)).numpy()
