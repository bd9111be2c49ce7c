"""Fine-tuning with a penalty on the absolute weights, which lets most of them fade."""

from unlearn.stages.config.retain_methods import L1SparseSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, FACTOR, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.retain_descent import train_on_retain


def l1_sparse(problem: TabularProblem) -> None:
    """Descend the loss of the retain rows and the sum of absolute weights.

        L(w) = mean_{i in retain batch} CE(f(x_i; w), y_i) + penalty * (1 - e / epochs) * |w|_1

    in epoch e = 0, 1, ... Jia et al., "Model Sparsity Can Simplify Machine Unlearning", NeurIPS
    2023, section 4 (sparsity-aware unlearning; the penalty that falls linearly is their choice, and
    the sum is over all parameters as in their code). Steps are those of training's own optimizer,
    with a rate that falls along half a cosine from `rate_factor` times training's to 0 over all
    steps; theirs are SGD.

    The loss has no term for the forget rows. The guard looks after the last step alone, and returns
    the original if more than the budget is lost then.

    Costs up to `epochs` passes over the retain rows and none over the forget rows.
    """
    model = problem.model
    settings: L1SparseSettings = problem.settings
    problem.guard.watch(model, ascends=False)
    train_on_retain(
        problem,
        wanted=settings.epochs,
        rate_factor=settings.rate_factor,
        l1=lambda epoch, epochs: settings.penalty * (1 - epoch / epochs),
    )


register(
    Method(
        "l1_sparse",
        "tabular",
        L1SparseSettings,
        l1_sparse,
        # Below 1e-6 hardly a weight fades, above 1e-2 nearly all do.
        ranges={
            "penalty": Span(1e-6, 1e-2, logarithmic=True),
            "rate_factor": FACTOR,
            "epochs": EPOCHS,
        },
    )
)
