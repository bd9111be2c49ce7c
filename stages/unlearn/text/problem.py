"""What a method for language models is given.

It trains `problem.tuned.weights`, with `problem.guard` watching.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from unlearn.stages.config.text import LanguageSettings
from unlearn.stages.text.sequences import Ints, Sequences
from unlearn.stages.training.young import EPOCHS_SHARE
from unlearn.stages.unlearn.base.ledger import limited_epochs
from unlearn.stages.unlearn.base.problem import Problem, draws
from unlearn.stages.unlearn.text.guard import TextGuard
from unlearn.stages.unlearn.text.tuned import Tuned


@dataclass
class TextProblem(Problem[Sequences, TextGuard]):
    """A tuned model, the sequences to forget and to keep, and how a method is to work.

    Parameters
    ----------
    tuned
        The model; what it is trained to be is the method's result.
    rows
        The forget rows themselves, for methods that put other answers to their prompts.
    shared
        The settings that all methods share.
    """

    tuned: Tuned
    rows: pa.Table
    shared: LanguageSettings

    @property
    def steps(self) -> int:
        """Steps of an epoch: batches that the forget set makes."""
        return -(-len(self.forget) // self.shared.batch)

    def epochs_of(self, read: int) -> int:
        """Return how many epochs a method may take: by the settings, or a fifth of training's.

        Parameters
        ----------
        read
            Sequences that one of its epochs reads. A fifth of what retraining reads is a bound
            on all of them together.
        """
        most = self.epochs * len(self.retain) / EPOCHS_SHARE / max(read, 1)
        return limited_epochs(self.shared.epochs, most)

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
