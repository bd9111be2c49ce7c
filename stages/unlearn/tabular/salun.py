"""SalUn: random labels for the forget rows, and only the weights that they weigh on move."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from unlearn.stages.config.methods import SalunSettings
from unlearn.stages.unlearn.base.problem import NotApplicableError, draws
from unlearn.stages.unlearn.base.ranges import EPOCHS, RATE, Span
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import both, iterate, mixed, sgd
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.saliency import salient


def salun(problem: TabularProblem) -> None:
    """Train the salient weights on wrong labels for forget rows and right ones for retain rows.

        mask     m = 1 for the `share` of all weights with the largest
                 abs(grad mean_{i in forget} CE(f(x_i; w), y_i)) at the original w, else 0
        steps    w <- w + m * (SGD step on mean_{batch} CE(f(x_i; w), y'_i))

    where y' is drawn once for each forget row, evenly from the classes that are not its own, and
    is y for a retain row. Fan et al., "SalUn", ICLR 2024, section 4 (saliency mask and random
    labels); batches of both sides' rows in one order are the authors' code, and weigh the
    two terms of their objective by rows.

    The weights outside the mask stay to the bit: neither momentum nor weight decay moves them.
    Running statistics of BatchNorm are no weights, and follow the retain rows. Equal gradients
    are taken in the order of the weights.

    Costs one pass over the forget rows for the mask, and up to `epochs` passes over both sides.

    Raises
    ------
    NotApplicableError
        If there is one class only, so that no label is wrong.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: SalunSettings = problem.settings
    with torch.no_grad():
        classes = model.eval()(forget.inputs[:1]).shape[1]
    if classes < 2:  # noqa: PLR2004 - one class has no other
        raise NotApplicableError("the model knows one class only: there are no wrong labels")
    problem.guard.watch(model)
    mask = salient(model, forget, settings.share, problem)
    wrong = replace(forget, targets=other_labels(forget.targets, classes, problem))
    optimizer = sgd(
        model,
        settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for forget_batch, retain_batch in mixed(problem, wrong, retain, epoch):
            answers = torch.cat(both(model, forget_batch, retain_batch))
            labels = torch.cat([forget_batch.targets, retain_batch.targets])
            yield problem.objective.losses(answers, labels).mean()

    iterate(
        model,
        optimizer,
        losses,
        problem,
        epochs=problem.epochs_of(settings.epochs),
        steps=-(-(len(wrong) + len(retain)) // problem.batch),
        mask=mask,
        looks="recovers",
    )
    problem.guard.settle(model)


def other_labels(targets: torch.Tensor, classes: int, problem: TabularProblem) -> torch.Tensor:
    """Return for every row a class that is not its own, each equally likely."""
    steps = torch.randint(1, classes, targets.shape, generator=draws(problem, "wrong labels"))
    return (targets + steps.to(targets.device)) % classes


register(
    Method(
        "salun",
        "tabular",
        SalunSettings,
        salun,
        ranges={"share": Span(0.1, 1.0), "rate": RATE, "epochs": EPOCHS},
    )
)
