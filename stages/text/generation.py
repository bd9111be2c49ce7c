"""Greedy generation: the most probable token each time."""

from collections.abc import Sequence

import torch
from unlearn.stages.text.scoring import Forward

#: Tokens of a text that are compared with a draft, at most.
_COMPARED = 8


def greedy(
    forward: Forward,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    most: int,
    context: int,
    device: torch.device | str = "cpu",
    drafts: Sequence[Sequence[int]] = (),
) -> list[list[int]]:
    """Return the continuations of prompts, each up to the token that ends a text.

    Shorter prompts are padded on the right, and each is read at its own last token: in a causal
    model nothing that comes later reaches it. Without a key-value cache, so that it works with any
    causal model.

    A pass through the model reads each text together with a guess of its next tokens, copied from
    where a draft has the text's last tokens. The guess is taken as far as each of its tokens is
    the most probable one, and one token more. The texts are the same whatever the drafts are, up
    to the rounding of sums in another order. Yang et al., "Inference with Reference: Lossless
    Acceleration of Large Language Models", 2023.

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
    drafts
        Texts that the prompts and their continuations resemble. Where they do, there are fewer
        passes than tokens; without drafts, a pass for each token.
    """
    found: list[list[int]] = [[] for _ in prompts]
    # Each prompt has its own limit: a short one in a batch with a long one is answered in full.
    rooms = [min(most, max(0, context - len(prompt))) for prompt in prompts]
    going = [at for at, room in enumerate(rooms) if room]
    while going:
        texts = [[*prompts[at], *found[at]] for at in going]
        # Of the last token that there is room for, nothing has to be read.
        guesses = [
            _guess(text, drafts, rooms[at] - len(found[at]) - 1)
            for at, text in zip(going, texts, strict=True)
        ]
        with torch.no_grad():
            following = _following(forward, texts, guesses, end, device)
        left = []
        for at, guess, said in zip(going, guesses, following, strict=True):
            right = 0
            while right < len(guess) and guess[right] == said[right] != end:
                right += 1
            found[at] += said[:right]
            if said[right] == end:
                continue
            found[at].append(said[right])
            if len(found[at]) < rooms[at]:
                left.append(at)
        going = left
    return found


def _following(
    forward: Forward,
    texts: Sequence[list[int]],
    guesses: Sequence[list[int]],
    end: int,
    device: torch.device | str,
) -> list[list[int]]:
    """Return the most probable token after each text, and after each token of its guess."""
    read = [text + guess for text, guess in zip(texts, guesses, strict=True)]
    width = max(map(len, read))
    tokens = torch.tensor([tokens + [end] * (width - len(tokens)) for tokens in read])
    said: list[list[int]] = forward(tokens.to(device)).argmax(dim=-1).tolist()
    return [
        row[len(text) - 1 : len(both)] for row, text, both in zip(said, texts, read, strict=True)
    ]


def _guess(text: Sequence[int], drafts: Sequence[Sequence[int]], most: int) -> list[int]:
    """Return what a draft has behind the last tokens of a text, at most this number of tokens.

    Of several places the one before which most tokens are the same, then the one that is as far
    from the beginning of its draft as the text is long, as near as can be.
    """
    found: list[int] = []
    best = (0, 0)
    for draft in drafts:
        for place in range(1, len(draft)):
            if draft[place - 1] != text[-1]:
                continue
            same = 1
            limit = min(_COMPARED, place, len(text))
            while same < limit and draft[place - 1 - same] == text[-1 - same]:
                same += 1
            if (near := (same, -abs(place - len(text)))) > best:
                best, found = near, list(draft[place : place + most])
    return found
