"""Fine-tuning: training continues on the retain rows only."""

from collections.abc import Iterator

import torch
from unlearn.stages.config.methods import FinetuneSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import iterate, mean_loss, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import TabularProblem


def finetune(problem: TabularProblem) -> None:
    """Descend the loss of the retain rows, in the hope that the others fade.

        w <- SGD step on mean_{i in retain batch} CE(f(x_i; w), y_i)

    with momentum, weight decay, and a rate that falls along half a cosine to 0 over all steps.
    Golatkar, Achille and Soatto, CVPR 2020, section 6 ("fine-tune" among the baselines); the
    settings are those of Jia et al., NeurIPS 2023. The loss has no term for the forget rows, so the
    guard lets it continue if their loss is at its target from the start.

    Costs up to `epochs` passes over the retain rows and none over the forget rows; only the guard's
    probes read some of those.
    """
    model, retain = problem.model, problem.retain
    settings: FinetuneSettings = problem.settings
    problem.guard.watch(model, ascends=False)
    epochs, steps = problem.epochs_of(settings.epochs), steps_of(problem, retain)
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for batch in problem.batches(retain, epoch, "retain"):
            yield mean_loss(model, batch, "retain", problem)
            # Asked for the next loss: the step is taken.
            schedule.step()

    iterate(
        model,
        optimizer,
        losses,
        problem,
        epochs=epochs,
        steps=steps,
        looks="recovers",
    )
    problem.guard.settle(model)


register(
    Method(
        "finetune",
        "tabular",
        FinetuneSettings,
        finetune,
        # Its default rate, .1, is for networks trained with large steps: room on both sides.
        ranges={"rate": Span(1e-4, 1.0, logarithmic=True), "epochs": EPOCHS},
    )
)
