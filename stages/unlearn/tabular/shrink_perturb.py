"""Shrink and perturb: weights move towards fresh ones, and are trained on the retain rows."""

import torch
from unlearn.stages.config.retain_methods import ShrinkPerturbSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, FACTOR, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.retain_descent import train_on_retain


def shrink_perturb(problem: TabularProblem) -> None:
    """Move all weights towards newly drawn ones, then train on the retain rows.

        w <- keep * w + (1 - keep) * v            v drawn as for a new model
        w <- step of training's own optimizer on mean_{i in retain batch} CE(f(x_i; w), y_i)

    with a rate that falls along half a cosine from `rate_factor` times training's to 0 over all
    steps. Ash and Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020, section 4: it
    lets a network that was trained on one set of rows learn another one as well as a new network
    does. Here it takes away what single rows left in the weights, and keeps enough that few epochs
    suffice.

    Weights that training does not change stay, and so do running statistics of BatchNorm, which
    follow the retain rows. The loss has no term for the forget rows. The first step loses accuracy
    on purpose: the guard looks after the last step alone, and returns the original if more than
    the budget is still lost then.

    Costs up to `epochs` passes over the retain rows and none over the forget rows.
    """
    model = problem.model
    settings: ShrinkPerturbSettings = problem.settings
    problem.guard.watch(model, ascends=False)
    drawn = dict(problem.fresh().named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.mul_(settings.keep).add_(drawn[name], alpha=1 - settings.keep)
    train_on_retain(problem, wanted=settings.epochs, rate_factor=settings.rate_factor)


register(
    Method(
        "shrink_perturb",
        "tabular",
        ShrinkPerturbSettings,
        shrink_perturb,
        # At 0 it is a new model, at 1 fine-tuning.
        ranges={"keep": Span(0.1, 0.9), "rate_factor": FACTOR, "epochs": EPOCHS},
    )
)
