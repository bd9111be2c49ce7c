"""SCRUB: a student that disobeys its teacher on the forget rows and follows it on the others."""

from collections.abc import Iterator

import torch
from torch import nn
from unlearn.stages.config.methods import ScrubSettings
from unlearn.stages.unlearn.tabular.iterate import iterate, outputs, sgd, steps_of
from unlearn.stages.unlearn.tabular.problem import Run
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.teacher import Taught, ask, divergence


def scrub(
    model: nn.Module, forget: Rows, retain: Rows, settings: ScrubSettings, run: Run
) -> nn.Module:
    """Alternate steps away from the original on forget rows with steps towards it on retain rows.

    The teacher is the original, frozen; the student starts as it. With
    d(x) = T^2 * KL(softmax(teacher(x) / T) || softmax(student(x) / T)):

        max-steps    SGD on - mean_{forget batch} d(x_j)
        min-steps    SGD on mean_{retain batch} (alpha * d(x_i) + gamma * CE(f(x_i; w), y_i))

    An epoch is one pass of max-steps, in the first `forget_epochs` epochs only, and then one pass
    of min-steps. Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023, section 3
    (the objective and its alternation, Algorithm 1). The factor T^2 keeps gradients of one size
    at all temperatures, as in the authors' code and in Hinton et al. 2015.

    d has its minimum, with a gradient of 0, where the student is the teacher: the max-steps of
    the first epoch move a network without dropout by rounding alone, and disobedience starts from
    what the first min-steps changed. It takes two epochs, so ten of training, to forget at all.

    "Rewinding" to the reference forget error (SCRUB+R, same section) is the guard's work: it looks
    at the ends of epochs, since max-steps are meant to cost accuracy and min-steps to win it back,
    and goes back to the epoch whose forget loss is nearest to that of unseen rows.

    Costs one pass over either side for the teacher's answers, then up to `forget_epochs` passes
    over the forget rows and `epochs` over the retain rows.
    """
    run.guard.watch(model)
    gone, stay = ask(model, forget, "forget", run), ask(model, retain, "retain", run)
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )

    def apart(batch: Taught, answers: torch.Tensor) -> torch.Tensor:
        return settings.temperature**2 * divergence(batch, answers, settings.temperature).mean()

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        if epoch < settings.forget_epochs:
            for batch in run.batches(gone, epoch, "forget"):
                yield -apart(batch, outputs(model, batch, "forget"))
        for batch in run.batches(stay, epoch, "retain"):
            answers = outputs(model, batch, "retain")
            own = run.objective.losses(answers, batch.targets).mean()
            yield settings.alpha * apart(batch, answers) + settings.gamma * own

    iterate(
        model,
        optimizer,
        losses,
        run,
        epochs=run.epochs_of(settings.epochs),
        steps=steps_of(run, gone) + steps_of(run, stay),
        looks="epochs",
    )
    return run.guard.settle(model)
