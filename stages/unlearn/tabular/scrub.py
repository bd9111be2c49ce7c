"""SCRUB: a student that disobeys its teacher on the forget rows and follows it on the others."""

from collections.abc import Iterator

import torch
from unlearn.stages.config.methods import ScrubSettings
from unlearn.stages.unlearn.base.ranges import EPOCHS, RATE, Span, Whole
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import iterate, outputs, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.teacher import Taught, ask, divergence

#: After how many epochs the authors' code lowers the rate.
_DECAY_AFTER = (5, 8, 9)


def scrub(problem: TabularProblem) -> None:
    """Alternate steps away from the original on forget rows with steps towards it on retain rows.

    The teacher is the original, frozen; the student starts as it. With
    d(x) = T^2 * KL(softmax(teacher(x) / T) || softmax(student(x) / T)):

        max-steps    SGD on - mean_{forget batch} d(x_j)
        min-steps    SGD on mean_{retain batch} (alpha * d(x_i) + gamma * CE(f(x_i; w), y_i))

    An epoch is one pass of max-steps, in the first `forget_epochs` epochs only, and then one pass
    of min-steps. Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023, section 3
    (the objective and its alternation, Algorithm 1). The factor T^2 keeps gradients of one size
    at all temperatures, as in the authors' code and in Hinton et al. 2015. Where numbers are
    predicted, d(x) is half the squared distance of both predictions, whatever T is (`divergence`).

    d has its minimum, with a gradient of 0, where the student is the teacher: the max-steps of
    the first epoch move a network without dropout by rounding alone, and disobedience starts from
    what the first min-steps changed. It takes two epochs, so ten of training, to forget at all.

    "Rewinding" to the reference forget error (SCRUB+R, same section) is the guard's work: it looks
    at the ends of epochs, since max-steps are meant to cost accuracy and min-steps to win it back,
    and goes back to the epoch whose forget loss is nearest to that of unseen rows.

    Costs one pass over either side for the teacher's answers, then up to `forget_epochs` passes
    over the forget rows and `epochs` over the retain rows.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: ScrubSettings = problem.settings
    problem.guard.watch(model)
    taught_forget, taught_retain = (
        ask(model, forget, "forget", problem),
        ask(model, retain, "retain", problem),
    )
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )

    def distance(batch: Taught, answers: torch.Tensor) -> torch.Tensor:
        return settings.temperature**2 * divergence(batch, answers, settings.temperature).mean()

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * settings.decay ** sum(epoch >= e for e in _DECAY_AFTER)
        if epoch < settings.forget_epochs:
            for batch in problem.batches(taught_forget, epoch, "forget"):
                yield -distance(batch, outputs(model, batch, "forget"))
        for batch in problem.batches(taught_retain, epoch, "retain"):
            answers = outputs(model, batch, "retain")
            own = problem.objective.losses(answers, batch.targets).mean()
            yield settings.alpha * distance(batch, answers) + settings.gamma * own

    iterate(
        model,
        optimizer,
        losses,
        problem,
        epochs=problem.epochs_of(settings.epochs),
        steps=steps_of(problem, taught_forget) + steps_of(problem, taught_retain),
        looks="epochs",
    )
    problem.guard.settle(model)


register(
    Method(
        "scrub",
        "tabular",
        ScrubSettings,
        scrub,
        ranges={
            # At 1 the teacher's answers as they are; much above 8 all classes look alike.
            "temperature": Span(1.0, 8.0),
            "alpha": Span(1e-4, 1.0, logarithmic=True),
            "gamma": Span(0.0, 1.0),
            "rate": RATE,
            "forget_epochs": Whole(1, 5),
            "epochs": EPOCHS,
        },
    )
)
