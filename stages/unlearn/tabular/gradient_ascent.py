"""Gradient ascent on the forget rows, then repair on the retain rows."""

from collections.abc import Iterator

import torch
from unlearn.stages.config.methods import GradientAscentSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, RATE, Whole
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import iterate, mean_loss, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import TabularProblem


def gradient_ascent(problem: TabularProblem) -> None:
    """Climb the loss of the forget rows, then descend that of the retain rows.

        first    w <- w + rate * grad mean_{i in forget batch} CE(f(x_i; w), y_i)
        then     w <- w - repair_rate * grad mean_{i in retain batch} CE(f(x_i; w), y_i)

    Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020, section 6 (the
    negative gradient among the baselines). Plain stochastic gradients, without momentum.

    Cross-entropy has no maximum: without the guard the ascent ends in a destroyed model. The guard
    stops it at the loss of unseen rows. Repair continues only while it does not take the forget
    rows' loss back below that - or below what the climb reached, if that is less; what ended it is
    `repair_stopped_by` in the report. A climb that had to be taken back whole is not repaired.

    Costs up to `epochs` passes over the forget rows and `repair_epochs` over the retain rows.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: GradientAscentSettings = problem.settings
    guard = problem.guard
    guard.watch(model)

    def climb(epoch: int) -> Iterator[torch.Tensor]:
        for batch in problem.batches(forget, epoch, "forget"):
            yield -mean_loss(model, batch, "forget", problem)

    def repair(epoch: int) -> Iterator[torch.Tensor]:
        for batch in problem.batches(retain, epoch, "retain"):
            yield mean_loss(model, batch, "retain", problem)

    iterate(
        model,
        sgd(model, settings.rate),
        climb,
        problem,
        epochs=problem.epochs_of(settings.epochs),
        steps=steps_of(problem, forget),
    )
    model = guard.hold(model)
    iterate(
        model,
        sgd(model, settings.repair_rate),
        repair,
        problem,
        epochs=problem.epochs_of(settings.repair_epochs),
        steps=steps_of(problem, retain),
        looks="recovers",
    )
    problem.facts["repair_stopped_by"] = guard.held_by
    guard.settle(model)


register(
    Method(
        "gradient_ascent",
        "tabular",
        GradientAscentSettings,
        gradient_ascent,
        ranges={
            "rate": RATE,
            "epochs": EPOCHS,
            "repair_rate": RATE,
            # 0: no repair at all.
            "repair_epochs": Whole(0, 5),
        },
    )
)
