"""Greedy generation: the most probable token each time."""

from collections.abc import Sequence

import torch
from unlearn.stages.text.scoring import Forward


def greedy(
    forward: Forward,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    most: int,
    context: int,
    device: torch.device | str = "cpu",
) -> list[list[int]]:
    """Return the continuations of prompts, each up to the token that ends a text.

    Shorter prompts are padded on the right, and each is read at its own last token: in a causal
    model nothing that comes later reaches it. Without a key-value cache, which answers of a few
    dozen tokens do not need.

    Parameters
    ----------
    forward
        The model.
    prompts
        Tokens of each, at least one.
    end
        What ends a text; it is not part of it.
    most
        Tokens at most.
    context
        Tokens that the model reads at most, prompt included.
    device
        Where the model is.
    """
    found: list[list[int]] = [[] for _ in prompts]
    if not prompts:
        return found
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    # Each prompt has its own limit: a short one in a batch with a long one is answered in full.
    rooms = (context - lengths).clamp(min=0, max=most)
    tokens = torch.full((len(prompts), int((lengths + rooms).max())), end)
    for at, prompt in enumerate(prompts):
        tokens[at, : len(prompt)] = torch.tensor(prompt)
    tokens, lengths, rooms = (of.to(device) for of in (tokens, lengths, rooms))
    each = torch.arange(len(prompts), device=device)
    done = rooms == 0
    for step in range(int(rooms.max())):
        with torch.no_grad():
            logits = forward(tokens[:, : int(lengths.max())])
        following = logits[each, lengths - 1].argmax(dim=-1)
        done |= (following == end) | (rooms <= step)
        if bool(done.all()):
            break
        going = ~done
        tokens[each[going], lengths[going]] = following[going]
        lengths = lengths + going
        for at in each[going].tolist():
            found[at].append(int(following[at]))
    return found
