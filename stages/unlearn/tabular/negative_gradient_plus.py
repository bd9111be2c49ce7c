"""NegGrad+: descent on the retain rows and ascent on the forget rows in every step."""

from collections.abc import Iterator

import torch
from torch import nn
from unlearn.stages.config.methods import NegativeGradientPlusSettings
from unlearn.stages.unlearn.tabular.iterate import both, iterate, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import Run
from unlearn.stages.unlearn.tabular.rows import Rows


def negative_gradient_plus(
    model: nn.Module, forget: Rows, retain: Rows, settings: NegativeGradientPlusSettings, run: Run
) -> nn.Module:
    """Take SGD steps on a weighted difference of the two sides' losses.

        L(w) = alpha * mean_{retain batch} CE(f(x_i; w), y_i)
               - (1 - alpha) * mean_{forget batch} CE(f(x_j; w), y_j)

    Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023 (NegGrad+, theirs, among
    the baselines of the experiments). The second term has no bound: the guard ends it at the loss
    of unseen rows.

    An epoch reads the larger side once, and the smaller as often as that takes: as many rows as
    two epochs of training, and counted as such. Costs up to `epochs` passes over the retain rows,
    and as many batches of the forget rows as of those.
    """
    run.guard.watch(model)
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    larger = max(len(retain), len(forget))
    steps = max(steps_of(run, retain), steps_of(run, forget))

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        stays, leaves = run.endless(retain, epoch, "retain"), run.endless(forget, epoch, "forget")
        for _ in range(steps):
            staying, leaving = next(stays), next(leaves)
            gone, kept = both(model, leaving, staying)
            descent = run.objective.losses(kept, staying.targets).mean()
            ascent = run.objective.losses(gone, leaving.targets).mean()
            yield settings.alpha * descent - (1 - settings.alpha) * ascent

    iterate(
        model,
        optimizer,
        losses,
        run,
        epochs=run.epochs_of(settings.epochs, cost=2 * larger / (len(forget) + len(retain))),
        steps=steps,
        looks="patient",
    )
    return run.guard.settle(model)
