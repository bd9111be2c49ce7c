"""Two teachers: an incompetent one for the forget rows, the original for the others."""

from collections.abc import Iterator

import torch
from torch import nn
from unlearn.stages.config.methods import BadTeacherSettings
from unlearn.stages.unlearn.tabular.iterate import both, draws, iterate, mixed
from unlearn.stages.unlearn.tabular.problem import Run
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.teacher import ask, divergence


def bad_teacher(
    model: nn.Module, forget: Rows, retain: Rows, settings: BadTeacherSettings, run: Run
) -> nn.Module:
    """Learn the forget rows from a network that knows nothing, the others from the original.

    With l = 1 for a forget row and 0 for a retain row, the loss of a row is

        L(x, l) = (1 - l) * KL(p_original(x) || p_student(x)) + l * KL(p_bad(x) || p_student(x))

    where p = softmax(logits / T), the student starts as the original, and the bad teacher has
    random weights. A step is one of Adam on the mean over a batch of both sides' rows.
    Chundawat et al., "Can Bad Teaching Induce Forgetting?", AAAI 2023, section 4 (the unlearning
    objective); Adam, its rate, one epoch and 30 % of the retain rows are the authors'.

    A row that random weights answered stands out from unseen rows, whom the model answers well:
    without the guard this forgets too much.

    Costs one pass over the forget rows and `retain_share` of the retain rows for the teachers'
    answers, and up to `epochs` times the same for the steps.
    """
    run.guard.watch(model)
    # At least one row: an empty side has nothing to say.
    count = max(1, round(settings.retain_share * len(retain)))
    chosen = torch.randperm(len(retain), generator=draws(run, "retain share"))[:count]
    gone = ask(run.fresh(), forget, "forget", run)
    stay = ask(model, retain.take(chosen.to(retain.targets.device)), "retain", run)

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for leaving, staying in mixed(run, gone, stay, epoch):
            gone_answers, stay_answers = both(model, leaving, staying)
            parts = [
                divergence(leaving, gone_answers, settings.temperature),
                divergence(staying, stay_answers, settings.temperature),
            ]
            yield torch.cat(parts).mean()

    iterate(
        model,
        torch.optim.Adam(model.parameters(), lr=settings.rate, fused=True),
        losses,
        run,
        epochs=run.epochs_of(settings.epochs),
        steps=-(-(len(gone) + len(stay)) // run.batch),
        looks="patient",
    )
    return run.guard.settle(model)
