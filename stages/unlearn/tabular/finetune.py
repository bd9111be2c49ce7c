"""Fine-tuning: training continues on the retain rows only."""

from unlearn.stages.config.methods import FinetuneSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, FACTOR, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import sgd
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.retain_descent import descend_retain, train_on_retain


def finetune(problem: TabularProblem) -> None:
    """Descend the loss of the retain rows, in the hope that the others fade.

        w <- step of `optimizer` on mean_{i in retain batch} CE(f(x_i; w), y_i)

    with a rate that falls along half a cosine to 0 over all steps. Golatkar, Achille and Soatto,
    CVPR 2020, section 6 ("fine-tune" among the baselines). `optimizer: sgd` has the settings of Jia
    et al., NeurIPS 2023; `training` is training's own, with the momentum and decay of
    `train.optimizer` and `rate_factor` times its rate; the guard looks at its result alone. The
    loss has no term for the forget rows, so the guard lets it continue if their loss is at its
    target from the start.

    Costs up to `epochs` passes over the retain rows and none over the forget rows; only the guard's
    probes read some of those.
    """
    settings: FinetuneSettings = problem.settings
    problem.guard.watch(problem.model, ascends=False)
    if settings.optimizer == "training":
        train_on_retain(problem, wanted=settings.epochs, rate_factor=settings.rate_factor)
        return
    optimizer = sgd(
        problem.model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    descend_retain(problem, optimizer, wanted=settings.epochs)


def _unread(settings: FinetuneSettings) -> frozenset[str]:
    """Return the settings of the optimizer that is not used."""
    of_sgd = frozenset({"rate", "momentum", "weight_decay"})
    return of_sgd if settings.optimizer == "training" else frozenset({"rate_factor"})


register(
    Method(
        "finetune",
        "tabular",
        FinetuneSettings,
        finetune,
        # Its default rate, .1, is for networks trained with large steps: room on both sides.
        ranges={
            "rate": Span(1e-4, 1.0, logarithmic=True),
            "rate_factor": FACTOR,
            "epochs": EPOCHS,
        },
        unread=_unread,
    )
)
