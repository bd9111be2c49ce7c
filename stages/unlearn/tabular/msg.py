"""Masked small gradients: weights that the forget rows hardly pull at are drawn again."""

import torch
from unlearn.stages.config.retain_methods import MsgSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, FACTOR, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.retain_descent import train_on_retain
from unlearn.stages.unlearn.tabular.saliency import salient


def msg(problem: TabularProblem) -> None:
    """Draw the weights with the smallest gradients again, then train on the retain rows.

        g = grad mean_{i in forget} CE(f(x_i; w), y_i)          at the original w
        w_k <- v_k for the `share` of all weights with the smallest abs(g_k), v drawn as for a
                   new model
        w <- step of training's own optimizer on mean_{i in retain batch} CE(f(x_i; w), y_i)

    with a rate that falls along half a cosine from `rate_factor` times training's to 0 over all
    steps. Cadet et al., "Deep Unlearn: Benchmarking Machine Unlearning for Image Classification",
    EuroS&P 2025 (Masked Small Gradients, from the NeurIPS 2023 competition on unlearning). Rows
    that are known by heart have small gradients: weights that hold them are at rest. Training's
    optimizer and the cosine are those of the other methods here.

    Weights that training does not change stay. Equal gradients are taken in the order of the
    weights, the last ones first. The first step loses accuracy on purpose: the guard looks after
    the last step alone, and returns the original if more than the budget is still lost then.

    Costs one pass over the forget rows, and up to `epochs` passes over the retain rows.
    """
    model = problem.model
    settings: MsgSettings = problem.settings
    problem.guard.watch(model, ascends=False)
    stays = salient(model, problem.forget, 1 - settings.share, problem)
    drawn = dict(problem.fresh().named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in stays:
                weight.copy_(torch.where(stays[name], weight, drawn[name]))
    train_on_retain(problem, wanted=settings.epochs, rate_factor=settings.rate_factor)


register(
    Method(
        "msg",
        "tabular",
        MsgSettings,
        msg,
        ranges={"share": Span(0.05, 0.95), "rate_factor": FACTOR, "epochs": EPOCHS},
    )
)
