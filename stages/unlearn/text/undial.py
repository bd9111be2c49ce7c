"""Self-distillation with adjusted logits: the model's own answers, without the token to forget."""

import torch
from unlearn.stages.config.text import UndialSettings
from unlearn.stages.text.losses import undial_loss
from unlearn.stages.text.sequences import Batch
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.against_retain import descend_tokens_against_retain
from unlearn.stages.unlearn.text.problem import TextProblem


def undial(problem: TextProblem) -> None:
    """Learn the tuned model's own answers with the logit of each forget token lowered.

        L(w) = alpha * mean_i CE(softmax(t_i - beta * onehot(y_i)), p_i) + (1 - alpha) * CE(retain)

    See `losses.undial_loss`; t are the logits of the tuned model, asked in every step. The authors
    have no retain side, which is an alpha of 1.

    Costs up to `epochs` passes over the forget rows, twice, and as many over as many retain rows.
    """
    settings: UndialSettings = problem.settings
    tuned = problem.tuned
    tuned.keep()
    problem.guard.watch()

    def forget(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        # Once more than for the student, which `descend` counts.
        problem.ledger.count("forget", len(batch))
        with tuned.reference() as module:
            teacher = tuned.forward(batch.inputs, module)
        return undial_loss(logits, teacher, batch.labels, settings.beta)

    descend_tokens_against_retain(problem, settings.alpha, forget, reads=3)


register(Method("undial", "text", UndialSettings, undial))
