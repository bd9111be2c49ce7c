"""How far one language model's answers are from another's, token by token."""

from dataclasses import dataclass

import torch
from unlearn.stages.text.scoring import BATCH, Forward
from unlearn.stages.text.sequences import Sequences


@dataclass(frozen=True)
class Apart:
    """How far a model is from a reference, over answer tokens.

    Parameters
    ----------
    disagreement
        Share of tokens at which the two find another token likeliest.
    divergence
        Mean KL(reference || model) of the next token's distribution, in nats.
    """

    disagreement: float
    divergence: float


def measure_apart(
    model: Forward,
    reference: Forward,
    sequences: Sequences,
    pad: int,
    *,
    device: torch.device | str = "cpu",
) -> Apart:
    """Ask two models about sequences, batch by batch: nothing of the vocabulary's size is kept.

    Every answer token counts the same, whichever sequence it is in. See `distance` for classes.

    Parameters
    ----------
    model, reference
        Whose answers are compared: how surprised the model would be by the reference's.
    sequences
        What to ask about, with at least one token that the loss counts.
    pad
        A token to fill up with.
    device
        Where both are.
    """
    differ, total, tokens = 0, 0.0, 0
    with torch.inference_mode():
        for _, batch in sequences.batches(BATCH, pad, device):
            one, two = (
                torch.log_softmax(of(batch.inputs)[:, :-1][batch.counted].float(), dim=-1)
                for of in (model, reference)
            )
            differ += int((one.argmax(dim=-1) != two.argmax(dim=-1)).sum())
            # 0 * -inf is no number, and counts nothing.
            chances = two.exp()
            gaps = torch.where(chances > 0, chances * (two - one), 0.0)
            total += float(gaps.double().sum())
            tokens += len(one)
    return Apart(differ / tokens, total / tokens)
