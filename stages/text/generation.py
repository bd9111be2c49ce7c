"""Greedy generation: the most probable token each time."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from unlearn.stages.text.scoring import Forward

#: Returns log-probabilities of the token after each sequence, shape (sequences, vocabulary), given
#: the tokens that are new to the keys, and the keys as the model's arguments.
Next = Callable[[torch.Tensor, dict[str, Any]], torch.Tensor]


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


def continue_prompts(
    following: Next,
    prompts: Sequence[Sequence[int]],
    keys: dict[str, Any],
    *,
    end: int,
    most: int,
    device: torch.device | str = "cpu",
) -> list[list[int]]:
    """Return the continuations of prompts, the most probable token each time.

    As `greedy` gives them, which takes prompts of any lengths, and a time that grows with the
    square of the answers'.

    Parameters
    ----------
    following
        The model.
    prompts
        Tokens of each, all of one length.
    keys
        As `new_keys` returned them.
    end
        What ends a text; it is not part of it.
    most
        Tokens at most.
    device
        Where the model is.
    """
    inputs = torch.tensor(prompts, device=device)
    found: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    with torch.inference_mode():
        for _ in range(most):
            tokens = following(inputs, keys).argmax(dim=-1)
            for at, token in enumerate(tokens.tolist()):
                done[at] = done[at] or token == end
                if not done[at]:
                    found[at].append(int(token))
            if all(done):
                break
            new = tokens[:, None]
            inputs = new if keys else torch.cat([inputs, new], dim=1)
    return found


def new_keys(module: nn.Module) -> dict[str, Any]:
    """Return room for the keys of what a model reads, as its argument; each call adds to them.

    Empty for a model that keeps something else than keys: it reads everything each time.
    """
    from transformers import DynamicCache

    model: Any = getattr(module, "get_base_model", lambda: module)()
    # The earlier name gives way to the later one from some version on.
    taken = inspect.signature(model.forward).parameters
    name = next((name for name in ("cache", "past_key_values") if name in taken), None)
    return {} if name is None else {name: DynamicCache(config=model.config)}
