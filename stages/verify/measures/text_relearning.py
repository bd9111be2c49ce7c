"""What comes back of forgotten text when a model is tuned on other forgotten text.

Half of the forgotten rows are learned again, the other half is only asked about: what a model
merely hides comes back there, too, and what it never knew does not (Hu et al., "Unlearning or
Obfuscating? Jogging the Memory of Unlearned LLMs via Benign Relearning", ICLR 2025).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.causal import answer_loss
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.estimators.torch_machine import seed_all
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.text.sequences import Sequences

#: The share of training's epochs that is spent on learning again.
SHARE = 0.1


def relearning_budget(sequences: int, train: TrainParams) -> int:
    """Return how many steps a tenth of training's epochs on so many sequences is, at least 1."""
    return max(1, int(np.ceil(SHARE * train.epochs * sequences / train.batch)))


@contextmanager
def relearned(
    model: LanguageEnsemble, sequences: Sequences, train: TrainParams, seed: int
) -> Iterator[LanguageEnsemble]:
    """Yield a model of one member that was tuned some steps further; afterwards it is as before.

    Parameters
    ----------
    model
        The model, of one member: a new adapter is tuned where it has one, else all its weights.
    sequences
        What it is tuned on, at least one.
    train
        How the original was tuned: optimizer, rate, batch and clip are the same here.
    seed
        Of the order of the sequences, and of a new adapter.
    """
    tuned = model.to_tune_on(seed)
    weights = tuned.tuned_parameters()
    kept = [weight.detach().clone() for weight in weights]
    try:
        _tune(tuned, weights, sequences, train, seed)
        yield tuned
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)


def _tune(
    model: LanguageEnsemble,
    weights: list[nn.Parameter],
    sequences: Sequences,
    train: TrainParams,
    seed: int,
) -> None:
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = make_optimizer(train.optimizer, weights)
    steps, order = relearning_budget(len(sequences), train), np.zeros(0, dtype=np.int64)
    for step in range(steps):
        if len(order) == 0:
            seed_all((seed + step) % 2**63)
            order = torch.randperm(len(sequences)).numpy()
        part, order = order[: train.batch], order[train.batch :]
        batch = sequences.batch(part, model.encoder.pad, model.device)
        optimizer.zero_grad(set_to_none=True)
        loss = answer_loss(model.forward(batch.inputs), batch) / len(batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(weights, text_options(train).clip)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
