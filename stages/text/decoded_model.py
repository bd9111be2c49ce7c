"""A language model as decoding reads it: all its adapters together, or one for each sequence."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from unlearn.stages.text.stacked_adapters import Routes, stack

#: Returns log-probabilities of every next token: shape (sequences, length, vocabulary). It takes
#: sequences of tokens that are padded on the right, and the number of the adapter of each.
Read = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]


@dataclass(frozen=True)
class DecodedModel:
    """What decoding takes of a model.

    Parameters
    ----------
    module
        A model of transformers, or of PEFT with adapters.
    adapters
        Names of the adapters; none for a whole model.
    routed
        Whether each sequence is read by one adapter. Otherwise all of them read it, and the mean of
        their log-probabilities counts.
    read
        Reads whole sequences without a cache. It decides what is right: `JointModel` is only used
        if it agrees.
    context
        Tokens that the model reads at most.
    ends
        Tokens that end a text.
    device
        Where the model is.
    half
        Whether it computes in bfloat16.
    """

    module: nn.Module
    adapters: tuple[str, ...]
    routed: bool
    read: Read
    context: int
    ends: frozenset[int]
    device: torch.device
    half: bool = False

    @property
    def copies(self) -> int:
        """How many adapters read each sequence."""
        return 1 if self.routed else max(1, len(self.adapters))


class JointModel:
    """A model with all its adapters stacked, which keeps keys and values of what it has read.

    Parameters
    ----------
    model
        The model.
    """

    def __init__(self, model: DecodedModel) -> None:
        self.copies = model.copies
        self._model = model
        self._routes = Routes()
        self._module: Any = model.module
        if model.adapters:
            self._module = stack(model.module, model.adapters, self._routes)
        taken = inspect.signature(self._module.forward).parameters
        # The earlier name gives way to the later one from some version on.
        self._cache = next((name for name in ("cache", "past_key_values") if name in taken), "")
        self._takes = taken.keys()

    @property
    def keeps_keys(self) -> bool:
        """Whether the model has a cache of keys and values, and takes positions."""
        return bool(self._cache) and "attention_mask" in self._takes

    def new_keys(self) -> Any:
        """Return an empty cache of keys and values."""
        from transformers import DynamicCache

        # Without the configuration: a layer that attends to a window keeps all keys, too, so that
        # sequences of different lengths can be joined. The mask has the window.
        return DynamicCache()

    def next_logs(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        keys: Any,
        routes: Sequence[int],
        *,
        mask: torch.Tensor | None = None,
        last: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return log-probabilities of the token after each sequence, shape (sequences, vocabulary).

        Parameters
        ----------
        inputs
            The tokens that are new to the keys, shape (sequences, length).
        positions
            Their places in each sequence, of the same shape.
        keys
            The cache of what was read before, `copies` times the sequences; it grows.
        routes
            The adapter of each sequence, where the model is routed.
        mask
            Which columns of the cache and of the new tokens count, shape (sequences, columns);
            None if all do.
        last
            Column of each sequence's last token, shape (sequences,); by default the last column.
        """
        count = self.copies
        arguments: dict[str, Any] = {self._cache: keys, "use_cache": True}
        if mask is not None:
            arguments["attention_mask"] = mask.repeat(count, 1)
        if "position_ids" in self._takes:
            arguments["position_ids"] = positions.repeat(count, 1)
        if last is None:
            last = torch.full((len(inputs),), inputs.shape[1] - 1, device=inputs.device)
        column = last
        if "logits_to_keep" in self._takes:
            # Of all the other positions the vocabulary is what takes memory.
            kept, column = torch.unique(last, return_inverse=True)
            arguments["logits_to_keep"] = kept
        self._routes.adapters = (
            torch.tensor(routes, device=inputs.device)
            if self._model.routed and self._model.adapters
            else None
        )
        device = self._model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._model.half):
            logits = self._module(input_ids=inputs.repeat(count, 1), **arguments).logits
        each = torch.arange(len(inputs), device=inputs.device)
        found = logits.view(count, len(inputs), *logits.shape[1:])[:, each, column]
        mean = torch.log_softmax(found.float(), dim=-1).mean(dim=0)
        return mean if count == 1 else torch.log_softmax(mean, dim=-1)
