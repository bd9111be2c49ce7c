"""NegGrad+: descent on the retain rows and ascent on the forget rows in every step."""

from collections.abc import Iterator

import torch
from unlearn.stages.config.methods import NegativeGradientPlusSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, RATE, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import both, iterate, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import TabularProblem


def negative_gradient_plus(problem: TabularProblem) -> None:
    """Take SGD steps on a weighted difference of the two sides' losses.

        L(w) = alpha * mean_{retain batch} CE(f(x_i; w), y_i)
               - (1 - alpha) * mean_{forget batch} CE(f(x_j; w), y_j)

    Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023 (NegGrad+, theirs, among
    the baselines of the experiments). The second term has no bound: the guard ends it at the loss
    of unseen rows.

    An epoch reads the larger side once, and the smaller side repeatedly in the same steps: as many
    rows as two epochs of training, and counted as such. Costs up to `epochs` passes over the retain
    rows, and as many batches of the forget rows as of those.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: NegativeGradientPlusSettings = problem.settings
    problem.guard.watch(model)
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    larger = max(len(retain), len(forget))
    steps = max(steps_of(problem, retain), steps_of(problem, forget))

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        retain_batches, forget_batches = (
            problem.endless(retain, epoch, "retain"),
            problem.endless(forget, epoch, "forget"),
        )
        for _ in range(steps):
            retain_batch, forget_batch = next(retain_batches), next(forget_batches)
            forget_answers, retain_answers = both(model, forget_batch, retain_batch)
            descent = problem.objective.losses(retain_answers, retain_batch.targets).mean()
            ascent = problem.objective.losses(forget_answers, forget_batch.targets).mean()
            yield settings.alpha * descent - (1 - settings.alpha) * ascent

    iterate(
        model,
        optimizer,
        losses,
        problem,
        epochs=problem.epochs_of(settings.epochs, cost=2 * larger / (len(forget) + len(retain))),
        steps=steps,
        looks="recovers",
    )
    problem.guard.settle(model)


register(
    Method(
        "negative_gradient_plus",
        "tabular",
        NegativeGradientPlusSettings,
        negative_gradient_plus,
        # Below .5 ascent on the forget rows outweighs all else.
        ranges={"alpha": Span(0.5, 1.0), "rate": RATE, "epochs": EPOCHS},
    )
)
