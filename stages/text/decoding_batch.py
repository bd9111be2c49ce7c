"""Sequences that are read together, token by token: with keys and values kept, or read again."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional
from unlearn.stages.text.decoded_model import DecodedModel, JointModel

#: Tokens of the sequences that try out whether a model can be read with a cache.
_TRIED = (3, 7)

#: How many tokens are then added to each.
_STEPS = 2

#: What models raise that cannot be read in this way.
_REFUSED = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, NotImplementedError)


class DecodingBatch(Protocol):
    """Sequences in the order in which they were admitted."""

    def admit(self, prompts: Sequence[list[int]], routes: Sequence[int]) -> torch.Tensor:
        """Add sequences; return the log-probabilities of the token after each of these."""

    def advance(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each sequence; return the log-probabilities of the one after it."""

    def keep(self, places: Sequence[int]) -> None:
        """Remove all sequences but those at these places, which are ascending."""


def open_batch(model: DecodedModel) -> DecodingBatch:
    """Return an empty batch: one with a cache if the model gives the same answers with it."""
    if _can_keep_keys(model):
        return KeyedBatch(model)
    return RereadBatch(model)


def _can_keep_keys(model: DecodedModel) -> bool:
    """Return whether reading with a cache, in a batch of different lengths, changes nothing.

    Some models have no keys (recurrent ones), and some count positions in a way of their own.
    """
    joint = JointModel(model)
    if not joint.keeps_keys or model.context < max(_TRIED) + _STEPS:
        return False
    count = max(1, len(model.adapters))
    prompts = [[1 + at % 3 for at in range(length)] for length in _TRIED]
    routes = [at % count for at in range(len(prompts))]
    kept, read = KeyedBatch(model, joint), RereadBatch(model)
    pairs = []
    try:
        for prompt, route in zip(prompts, routes, strict=True):
            pairs.append((kept.admit([prompt], [route]), read.admit([prompt], [route])))
        pairs += [(kept.advance([1, 2]), read.advance([1, 2])) for _ in range(_STEPS)]
    except _REFUSED:
        return False
    # Experts and other kernels see the sequences in other groups, and round otherwise.
    rounding = 0.1 if model.half else 1e-3
    return all(bool(((one - two).abs() <= rounding * (1 + two.abs())).all()) for one, two in pairs)


class RereadBatch:
    """Sequences that are read from their beginning for each token, padded on the right."""

    def __init__(self, model: DecodedModel) -> None:
        self._model = model
        self._texts: list[list[int]] = []
        self._routes: list[int] = []

    def admit(self, prompts: Sequence[list[int]], routes: Sequence[int]) -> torch.Tensor:
        """Add sequences; see `DecodingBatch`."""
        self._texts += [list(prompt) for prompt in prompts]
        self._routes += routes
        return self._read(self._texts[-len(prompts) :], routes)

    def advance(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each sequence; see `DecodingBatch`."""
        for text, token in zip(self._texts, tokens, strict=True):
            text.append(token)
        return self._read(self._texts, self._routes)

    def keep(self, places: Sequence[int]) -> None:
        """Remove all other sequences; see `DecodingBatch`."""
        self._texts = [self._texts[at] for at in places]
        self._routes = [self._routes[at] for at in places]

    def _read(self, texts: Sequence[list[int]], routes: Sequence[int]) -> torch.Tensor:
        inputs, last = _padded(texts, self._model.device)
        with torch.inference_mode():
            logs = self._model.read(inputs, routes)
        each = torch.arange(len(texts), device=inputs.device)
        return torch.log_softmax(logs[each, last].float(), dim=-1)


class KeyedBatch:
    """Sequences whose keys and values are kept, for each adapter that reads them.

    All end in the same column: shorter ones have columns on the left that are masked. The rows of
    the cache are those of the first adapter, then those of the second, and so on.
    """

    def __init__(self, model: DecodedModel, joint: JointModel | None = None) -> None:
        self._joint = JointModel(model) if joint is None else joint
        self._device = model.device
        self._keys: Any = self._joint.new_keys()
        self._lengths: list[int] = []
        self._routes: list[int] = []

    def admit(self, prompts: Sequence[list[int]], routes: Sequence[int]) -> torch.Tensor:
        """Add sequences; see `DecodingBatch`."""
        inputs, last = _padded(prompts, self._device)
        width = inputs.shape[1]
        positions = torch.arange(width, device=self._device).expand(len(prompts), -1)
        keys = self._joint.new_keys()
        # Padding on the right needs no mask: nothing in a causal model reads what comes later.
        with torch.inference_mode():
            logs = self._joint.next_logs(inputs, positions, keys, routes, last=last)
            lengths = [len(prompt) for prompt in prompts]
            self._join(keys, lengths, width)
        self._lengths += lengths
        self._routes += routes
        return logs

    def _join(self, others: Any, lengths: Sequence[int], width: int) -> None:
        """Put the keys of new sequences behind those that there are."""
        mine = max(self._lengths, default=0)
        for at, layer in enumerate(others.layers):
            if not self._lengths:
                self._keys.update(*(self._aligned(x, lengths) for x in _both(layer)), at)
                continue
            own = self._keys.layers[at]
            pairs = zip(_both(own), _both(layer), strict=True)
            own.keys, own.values = (
                torch.cat(
                    [
                        self._apart(functional.pad(old, (0, 0, max(0, width - mine), 0))),
                        self._apart(
                            functional.pad(
                                self._aligned(new, lengths), (0, 0, max(0, mine - width), 0)
                            )
                        ),
                    ],
                    dim=1,
                ).flatten(0, 1)
                for old, new in pairs
            )

    def _aligned(self, keys: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return keys with the padding moved from the right to the left, where it is masked."""
        width = keys.shape[-2]
        if all(length == width for length in lengths):
            return keys
        parts = self._apart(keys)
        moved = [parts[:, at].roll(width - length, dims=-2) for at, length in enumerate(lengths)]
        return torch.stack(moved, dim=1).flatten(0, 1)

    def _apart(self, keys: torch.Tensor) -> torch.Tensor:
        """Return keys by adapter and sequence, shape (copies, sequences, heads, columns, size)."""
        return keys.view(self._joint.copies, -1, *keys.shape[1:])

    def advance(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add a token to each sequence; see `DecodingBatch`."""
        inputs = torch.tensor(tokens, device=self._device)[:, None]
        lengths = torch.tensor(self._lengths, device=self._device)[:, None]
        mask = None
        width = max(self._lengths)
        if min(self._lengths) < width:
            columns = torch.arange(width + 1, device=self._device)
            mask = (columns >= width - lengths).long()
        with torch.inference_mode():
            logs = self._joint.next_logs(inputs, lengths, self._keys, self._routes, mask=mask)
        self._lengths = [length + 1 for length in self._lengths]
        return logs

    def keep(self, places: Sequence[int]) -> None:
        """Remove all other sequences; see `DecodingBatch`."""
        if not places:
            self._keys, self._lengths, self._routes = self._joint.new_keys(), [], []
            return
        if len(places) == len(self._lengths):
            return
        width = max(self._lengths)
        self._lengths = [self._lengths[at] for at in places]
        self._routes = [self._routes[at] for at in places]
        unused = width - max(self._lengths)
        chosen = torch.tensor(places, device=self._device)
        for layer in self._keys.layers:
            layer.keys, layer.values = (
                self._apart(x[..., unused:, :]).index_select(1, chosen).flatten(0, 1)
                for x in _both(layer)
            )


def _both(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


def _padded(
    texts: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens padded on the right, shape (texts, longest), and the place of each last one."""
    lengths = [len(text) for text in texts]
    tokens = torch.zeros(len(texts), max(lengths), dtype=torch.long)
    for at, text in enumerate(texts):
        tokens[at, : len(text)] = torch.tensor(text)
    return tokens.to(device), (torch.tensor(lengths) - 1).to(device)
