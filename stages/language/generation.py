"""What a language model goes on to say: the most probable token each time."""

from collections.abc import Sequence

import torch
from unlearn.stages.language.scoring import Forward


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
    model nothing that comes later reaches it. Without a cache of keys, which answers of some
    dozens of tokens hardly need.

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
    room = min(most, context - int(lengths.max()))
    width = int(lengths.max()) + max(room, 0)
    tokens = torch.full((len(prompts), width), end)
    for at, prompt in enumerate(prompts):
        tokens[at, : len(prompt)] = torch.tensor(prompt)
    tokens, lengths = tokens.to(device), lengths.to(device)
    each = torch.arange(len(prompts), device=device)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for _ in range(room):
        with torch.no_grad():
            logits = forward(tokens[:, : int(lengths.max())])
        following = logits[each, lengths - 1].argmax(dim=-1)
        done |= following == end
        if bool(done.all()):
            break
        tokens[each, lengths] = following
        lengths = lengths + 1
        for at, token in enumerate(following.tolist()):
            if not done[at]:
                found[at].append(int(token))
    return found
