"""Two teachers: an incompetent one for the forget rows, the original for the others."""

from collections.abc import Iterator

import torch
from unlearn.stages.config.methods import BadTeacherSettings
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.base.ranges import RATE, Span, Whole
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.tabular.iterate import both, iterate, mixed
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.teacher import ask, divergence


def bad_teacher(problem: TabularProblem) -> None:
    """Learn the forget rows from a network that knows nothing, the others from the original.

    With l = 1 for a forget row and 0 for a retain row, the loss of a row is

        L(x, l) = (1 - l) * KL(p_original(x) || p_student(x)) + l * KL(p_bad(x) || p_student(x))

    where p = softmax(logits / T), the student starts as the original, and the bad teacher has
    random weights. A step is one of Adam on the mean over a batch of both sides' rows.
    Chundawat et al., "Can Bad Teaching Induce Forgetting?", AAAI 2023, section 4 (the unlearning
    objective); Adam, its rate, one epoch and 30 % of the retain rows are the authors'.

    The answers of random weights differ from those on unseen rows, which the model answers well:
    without the guard this forgets too much.

    Costs one pass over the forget rows and `retain_share` of the retain rows for the teachers'
    answers, and up to `epochs` times the same for the steps.
    """
    model, forget, retain = problem.model, problem.forget, problem.retain
    settings: BadTeacherSettings = problem.settings
    problem.guard.watch(model)
    # At least one row: an empty side has nothing to say.
    count = max(1, round(settings.retain_share * len(retain)))
    chosen = torch.randperm(len(retain), generator=draws(problem, "retain share"))[:count]
    taught_forget = ask(problem.fresh(), forget, "forget", problem)
    taught_retain = ask(model, retain.take(chosen.to(retain.targets.device)), "retain", problem)

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for forget_batch, retain_batch in mixed(problem, taught_forget, taught_retain, epoch):
            forget_answers, retain_answers = both(model, forget_batch, retain_batch)
            parts = [
                divergence(forget_batch, forget_answers, settings.temperature),
                divergence(retain_batch, retain_answers, settings.temperature),
            ]
            yield torch.cat(parts).mean()

    iterate(
        model,
        torch.optim.Adam(model.parameters(), lr=settings.rate, fused=True),
        losses,
        problem,
        epochs=problem.epochs_of(settings.epochs),
        steps=-(-(len(taught_forget) + len(taught_retain)) // problem.batch),
        looks="recovers",
    )
    problem.guard.settle(model)


register(
    Method(
        "bad_teacher",
        "tabular",
        BadTeacherSettings,
        bad_teacher,
        ranges={
            "temperature": Span(1.0, 8.0),
            "retain_share": Span(0.1, 1.0),
            "rate": RATE,
            "epochs": Whole(1, 5),
        },
    )
)
