"""The loop that all methods for language models share: batches of both sides, steps, the guard."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from unlearn.stages.config.train import OptimizerParams
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.text.losses import SequenceLoss, combined, sequence_loss
from unlearn.stages.text.sequences import Batch, Ints, Sequences
from unlearn.stages.unlearn.text.problem import Endless, TextProblem

#: How much each of some sequences weighs in a mean over a batch, by their indices.
Weighs = Callable[[Ints], float]


@dataclass(frozen=True)
class Objective:
    """What a method makes small: alpha * forget + (1 - alpha) * retain.

    Parameters
    ----------
    alpha
        See above.
    losses
        Returns both sides' means over sequences, given their indices. Either side may have none:
        what is returned for it counts nothing.
    weighs_forget, weighs_retain
        Over what the means are: the number of sequences, or of their tokens.
    """

    alpha: float
    losses: Callable[[Ints, Ints], tuple[torch.Tensor, torch.Tensor]]
    weighs_forget: Weighs
    weighs_retain: Weighs

    def parts(self, forgotten: Ints, retained: Ints, count: int) -> Iterator[torch.Tensor]:
        """Yield the losses of a batch in this number of parts, which add up to that of the whole.

        Parameters
        ----------
        forgotten, retained
            Indices of the forget and of the retain sequences.
        count
            How many parts at most.
        """
        count = min(count, max(len(forgotten), len(retained)))
        forget_weight, retain_weight = self.weighs_forget(forgotten), self.weighs_retain(retained)
        for some, others in zip(
            np.array_split(forgotten, count), np.array_split(retained, count), strict=True
        ):
            forget, retain = self.losses(some, others)
            nothing = forget.new_zeros(())
            yield combined(
                self.alpha,
                forget * (self.weighs_forget(some) / forget_weight) if len(some) else nothing,
                retain * (self.weighs_retain(others) / retain_weight) if len(others) else nothing,
            )


@dataclass(frozen=True)
class Descent:
    """How a method's steps go.

    Parameters
    ----------
    epochs
        How many.
    batches
        Yields the indices of either side for each step of an epoch.
    recovers
        Whether what is past a limit may be recovered, by the end of the last epoch.
    watched
        Whether the guard looks on.
    """

    epochs: int
    batches: Callable[[int], Iterator[tuple[Ints, Ints]]]
    recovers: bool = True
    watched: bool = True


def descend(problem: TextProblem, objective: Objective, descent: Descent) -> None:
    """Take a method's steps, until they are through or the guard stops them.

    AdamW at a constant rate without weight decay, gradients clipped to a norm. The guard
    measures in the middle and at the end of every epoch, as long as that takes no more than its
    share of the work, and after the last step; `problem.guard.watch()` comes before, `settle()`
    after. While it lets forgetting pause, steps are on the retain side alone.

    Parameters
    ----------
    problem
        Its model is trained; steps and epochs taken are added to its facts.
    objective
        What is made small.
    descent
        The steps.
    """
    guard, ledger = problem.guard, problem.ledger
    weights = list(problem.tuned.weights.values())
    optimizer = make_optimizer(OptimizerParams(name="adamw", rate=problem.shared.rate), weights)
    middle = -(-problem.steps // 2)
    total = paused = epoch = 0
    while epoch < descent.epochs and not (descent.watched and guard.over):
        for taken, (forgotten, retained) in enumerate(descent.batches(epoch), start=1):
            pauses = descent.watched and descent.recovers and guard.pauses
            sides = forgotten[:0] if pauses else forgotten, retained
            read = ledger.rows
            norm = _backward(problem, objective, weights, sides)
            if descent.watched and not guard.allows(norm):
                break
            optimizer.step()
            total += 1
            paused += pauses
            guard.count_step(ledger.rows - read)
            due = descent.watched and taken == middle < problem.steps and guard.affords_a_look
            if due and guard.stops(recovers=descent.recovers):
                break
        epoch += 1
        due = guard.affords_a_look or epoch == descent.epochs
        if descent.watched and due and not guard.over:
            guard.stops(recovers=descent.recovers and epoch < descent.epochs)
    optimizer.zero_grad(set_to_none=True)
    problem.facts |= {"steps": total, "paused": paused, "epochs": epoch}


def _backward(
    problem: TextProblem,
    objective: Objective,
    weights: list[nn.Parameter],
    indices: tuple[Ints, Ints],
) -> float:
    """Give the weights the clipped gradient of a batch; return its norm before that."""
    forgotten, retained = indices
    problem.ledger.count("forget", len(forgotten))
    problem.ledger.count("retain", len(retained))
    for weight in weights:
        weight.grad = None
    for loss in objective.parts(forgotten, retained, problem.shared.accumulate):
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return float(nn.utils.clip_grad_norm_(weights, problem.shared.clip))


def both_sides(problem: TextProblem) -> Callable[[int], Iterator[tuple[Ints, Ints]]]:
    """Return batches that pass over the forget set once an epoch, each with as many retain rows."""
    stays = Endless(problem)

    def batches(epoch: int) -> Iterator[tuple[Ints, Ints]]:
        for forgotten in problem.forget_batches(epoch):
            yield forgotten, stays.take(len(forgotten))

    return batches


def forget_alone(problem: TextProblem) -> Callable[[int], Iterator[tuple[Ints, Ints]]]:
    """Return batches that pass over the forget set once an epoch."""
    none = np.zeros(0, dtype=np.int64)
    return lambda epoch: ((forgotten, none) for forgotten in problem.forget_batches(epoch))


def retain_alone(problem: TextProblem) -> Callable[[int], Iterator[tuple[Ints, Ints]]]:
    """Return batches of retain rows, as many an epoch as the forget set would make."""
    stays, none = Endless(problem), np.zeros(0, dtype=np.int64)
    return lambda _epoch: ((none, stays.take(problem.shared.batch)) for _ in range(problem.steps))


def split_batch(
    problem: TextProblem, forgotten: Ints, retained: Ints
) -> tuple[torch.Tensor, Batch, SequenceLoss]:
    """Return the logits of forget sequences, their batch, and the losses of retain sequences.

    From one forward pass.

    Parameters
    ----------
    problem
        Its model is evaluated.
    forgotten, retained
        Indices of the sequences.
    """
    together = problem.forget.take(forgotten).followed_by(problem.retain.take(retained))
    batch = problem.tuned.batch(together, np.arange(len(together)))
    logits, at = problem.tuned.forward(batch.inputs), len(forgotten)
    rest = sequence_loss(logits[at:], batch.labels[at:])
    return logits[:at], Batch(batch.inputs[:at], batch.labels[:at]), rest


def split_losses(
    problem: TextProblem, forget: Sequences, forgotten: Ints, retained: Ints
) -> tuple[SequenceLoss, SequenceLoss]:
    """Return the losses of forget sequences and of retain ones, from one forward pass.

    Parameters
    ----------
    problem
        Its model is evaluated.
    forget
        What `forgotten` are indices of.
    forgotten, retained
        Indices of the sequences.
    """
    together = forget.take(forgotten).followed_by(problem.retain.take(retained))
    batch = problem.tuned.batch(together, np.arange(len(together)))
    found = sequence_loss(problem.tuned.forward(batch.inputs), batch.labels)
    at = len(forgotten)
    return (
        SequenceLoss(found.nll[:at], found.counts[:at]),
        SequenceLoss(found.nll[at:], found.counts[at:]),
    )


def by_sequence(indices: Ints) -> float:
    """Return how many sequences there are: what a mean over sequences weighs by."""
    return float(len(indices))


def by_token(sequences: Sequences) -> Weighs:
    """Return what a mean over answer tokens weighs by: how many the sequences have."""
    counted = sequences.counted
    return lambda indices: float(counted[indices].sum())
