"""Sampled generation: the next token drawn from the most probable ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from unlearn.stages.text.scoring import Forward


@dataclass(frozen=True)
class Draw:
    """How a token is drawn: from softmax(logits / temperature) over the most probable tokens.

    Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", ACL 2018, section 5.1.

    Parameters
    ----------
    generator
        What is drawn from, on the CPU.
    top
        How many tokens are drawn from, at least 1; 1 is greedy.
    temperature
        Larger than 0.
    """

    generator: torch.Generator
    top: int
    temperature: float

    def tokens(self, logits: torch.Tensor) -> list[int]:
        """Return a token for each row of logits, shape (rows, vocabulary)."""
        values, places = logits.float().cpu().topk(min(self.top, logits.shape[1]), dim=1)
        shares = torch.softmax(values / self.temperature, dim=1)
        drawn = torch.multinomial(shares, 1, generator=self.generator)
        return [int(token) for token in places.gather(1, drawn).squeeze(1).tolist()]


def sample(
    forward: Forward,
    prompts: Sequence[Sequence[int]],
    draw: Draw,
    *,
    end: int,
    most: Sequence[int],
    context: int,
    device: torch.device | str = "cpu",
) -> list[list[int]]:
    """Return continuations of prompts, each up to the token that ends a text.

    Prompts of different lengths are read together, without a key-value cache: see `greedy`.

    Parameters
    ----------
    forward
        The model.
    prompts
        Tokens of each, at least one.
    draw
        How a token is drawn.
    end
        What ends a text; it is not part of it.
    most
        Tokens at most, of each.
    context
        Tokens that the model reads at most, prompt included.
    device
        Where the model is.
    """
    texts = [list(prompt) for prompt in prompts]
    starts = [len(prompt) for prompt in prompts]
    rooms = [min(limit, context - start) for limit, start in zip(most, starts, strict=True)]
    going = [at for at, room in enumerate(rooms) if room > 0]
    while going:
        width = max(len(texts[at]) for at in going)
        tokens = torch.tensor([texts[at] + [end] * (width - len(texts[at])) for at in going])
        last = torch.tensor([len(texts[at]) - 1 for at in going])
        with torch.no_grad():
            logits = forward(tokens.to(device))[torch.arange(len(going)), last.to(device)]
        left = []
        for at, token in zip(going, draw.tokens(logits), strict=True):
            if token == end:
                continue
            texts[at].append(token)
            if len(texts[at]) - starts[at] < rooms[at]:
                left.append(at)
        going = left
    return [text[start:] for text, start in zip(texts, starts, strict=True)]
