"""How fast a model learns the forgotten rows again: hidden rows are learned faster.

A model that only hides rows needs fewer steps to learn them again than one that was not trained on
them (Tarun et al., "Fast Yet Effective Machine Unlearning", TNNLS 2023, anamnesis index; Golatkar
et al., CVPR 2020, relearn time).
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from unlearn.stages.estimators.base import (
    Estimator,
    Inputs,
    Predictor,
    SliceData,
    Targets,
)
from unlearn.stages.verify.measures.utility import log_loss

#: Steps after which a model is taken not to learn the rows again.
MOST_STEPS = 200


@runtime_checkable
class Continues(Estimator, Protocol):
    """An estimator that can take a finished model up again."""

    def state_of(self, model: bytes) -> bytes:
        """Return a state to go on from, given what `export` wrote."""


#: Returns a model's mean loss, given the model, its rows and their targets.
LossOf = Callable[[Any, Inputs, Targets], float]


def class_loss(predictor: Predictor, inputs: Inputs, targets: Targets) -> float:
    """Return the mean cross-entropy of a classifier."""
    return log_loss(predictor.probabilities(inputs), targets)


def relearning_steps(
    estimator: Continues,
    model: bytes,
    inputs: Inputs,
    targets: Targets,
    loss: float,
    seed: int,
    loss_of: LossOf = class_loss,
) -> int | None:
    """Return the steps on the forgotten rows until a model knows them as the original did.

    Parameters
    ----------
    estimator
        Trains as the original was trained.
    model
        Content of the model's weights file.
    inputs, targets
        The forgotten rows, as the model reads them: shapes (rows, width) and (rows,).
    loss
        The original's mean loss on these rows, which is to be reached.
    seed
        Orders the rows.
    loss_of
        Returns a model's mean loss on rows, given what `Estimator.predictor` returns.

    Returns
    -------
    int or None
        0 if it knows them already; None if 200 steps are not enough.
    """
    if not np.isfinite(loss):
        return None
    state = estimator.state_of(model)

    def known(content: bytes) -> bool:
        return loss_of(estimator.predictor(content), inputs, targets) <= loss

    if known(model):
        return 0
    # Doubling, then bisection, from the start each time: exact to the step, with few trainings.
    low, high = 0, 1
    while high <= MOST_STEPS:
        if known(_after(estimator, state, inputs, targets, high, seed)):
            break
        low, high = high, high * 2
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if known(_after(estimator, state, inputs, targets, middle, seed)):
            high = middle
        else:
            low = middle
    return high


def _after(
    estimator: Continues,
    state: bytes,
    inputs: Inputs,
    targets: Targets,
    steps: int,
    seed: int,
) -> bytes:
    data = SliceData(
        inputs=inputs,
        targets=targets,
        new=len(targets),
        steps=steps,
        seed=lambda epoch: (seed + epoch) % 2**63,
    )
    return estimator.export(estimator.fit_slice(state, data, init_seed=seed))
