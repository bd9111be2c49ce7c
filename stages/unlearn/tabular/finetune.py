"""Fine-tuning: training goes on, on the retain rows alone."""

from collections.abc import Iterator

import torch
from torch import nn
from unlearn.stages.config.methods import FinetuneSettings
from unlearn.stages.unlearn.tabular.iterate import iterate, mean_loss, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import Run
from unlearn.stages.unlearn.tabular.rows import Rows


def finetune(
    model: nn.Module, forget: Rows, retain: Rows, settings: FinetuneSettings, run: Run
) -> nn.Module:
    """Descend the loss of the retain rows, in the hope that the others fade.

        w <- SGD step on mean_{i in retain batch} CE(f(x_i; w), y_i)

    with momentum, weight decay, and a rate that falls along half a cosine to 0 over all steps.
    Golatkar, Achille and Soatto, CVPR 2020, section 6 ("fine-tune" among the baselines); the
    settings are those of Jia et al., NeurIPS 2023. Nothing in it pushes the forget rows out, so
    that the guard lets it go on where their loss is at its target from the start.

    Costs up to `epochs` passes over the retain rows and none over the forget rows; only the guard's
    probes read some of those.
    """
    del forget
    run.guard.watch(model, climbs=False)
    epochs, steps = run.epochs_of(settings.epochs), steps_of(run, retain)
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for batch in run.batches(retain, epoch, "retain"):
            yield mean_loss(model, batch, "retain", run)
            # Asked for the next loss: the step is taken.
            schedule.step()

    iterate(
        model,
        optimizer,
        losses,
        run,
        epochs=epochs,
        steps=steps,
        looks="patient",
    )
    return run.guard.settle(model)
