"""A tuned language model as methods change it: what of it is trained, and the model it was.

With an adapter of `unlearn.language.adapter` the tuned model is frozen, its own adapter on, and a
new adapter is all that is trained; the new one off, it is the tuned model again. Its own adapter
off as well, it would be the base, which never was the reference of anything.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from unlearn.stages.config.text import AdapterOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.causal import (
    LoraEstimator,
    Tensors,
    compute_twice,
    put_weights,
    tuned_weights,
)
from unlearn.stages.estimators.registry import make_text_estimator, text_options
from unlearn.stages.text import adapters
from unlearn.stages.text.losses import SequenceLoss, sequence_loss
from unlearn.stages.text.scoring import BATCH
from unlearn.stages.text.sequences import Batch, Sequences
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn.base.problem import NotApplicableError

#: The names of the adapters: the tuned model's own, as PEFT has it, and the new one.
_OWN, _NEW = "default", "unlearning"

#: In the names of an adapter's second matrices.
SECOND_MATRIX = ".lora_B."


class Tuned:
    """A tuned model, opened to be changed.

    Parameters
    ----------
    original
        The model as read from its folder.
    adapter
        What the new adapter looks like; None to train the tuned weights themselves.
    root
        The project's folder, which the base's path starts from.
    seed
        Of the new adapter's weights. Its second matrix is zero: it changes nothing at first.

    Attributes
    ----------
    module
        The model, in evaluation mode.
    weights
        What of it is trained, by name.

    Raises
    ------
    InputError
        If the base is not the one that was tuned, or a target of the adapter matches nothing.
    """

    def __init__(
        self, original: ShardModel, adapter: AdapterOptions | None, root: Path, seed: int
    ) -> None:
        if original.kind == "empty" or original.weights is None:
            raise NotApplicableError(f"a model of kind `{original.kind}` has no weights to change")
        train = TrainParams.model_validate(original.description["train"])
        self._estimator = make_text_estimator(train, original.layout, root)
        self._tensors: Tensors = load_tensors(original.weights)
        self._own: adapters.Shape | None = None
        self._new: adapters.Shape | None = None
        # Merging would round half-precision weights to others than those that are written.
        self._merged = text_options(train).precision == "float32"
        self.encoder = self._estimator.encoder
        self.device = self._estimator.device
        if adapter is not None:
            # Before any adapter is on: its matrices are linear layers as well.
            self._new = adapters.shape_of(adapter, self._estimator.base)
        self._kept: nn.Module | None = None
        self.module: nn.Module = self._open(original)
        if self._new is not None:
            self.module = self._with_new(self._new, seed)
        self.module.eval()
        self.weights = self._trained()
        self._freeze_others()
        if text_options(train).checkpointing:
            self._checkpoint()

    def _open(self, original: ShardModel) -> nn.Module:
        base: nn.Module = self._estimator.base
        if self._merged and self._new is not None:
            # The adapter is merged into its weights, which other models of this process share.
            base = self._estimator.base_to_change()
        if not isinstance(self._estimator, LoraEstimator):
            put_weights(base, self._tensors)
            return base
        self._own = adapters.Shape.from_json(original.description["adapter"])
        wrapped: nn.Module = adapters.wrap(base, self._own)
        adapters.restore(wrapped, self._tensors)
        return wrapped

    def _with_new(self, shape: adapters.Shape, seed: int) -> nn.Module:
        wrapped: Any = self.module
        if self._own is not None and not self._merged:
            adapters.add(wrapped, shape, _NEW)
        else:
            plain = wrapped if self._own is None else wrapped.merge_and_unload()
            wrapped = adapters.wrap(plain, shape, name=_NEW)
        adapters.redraw(wrapped, seed, _NEW)
        self._switch(wrapped, on=True)
        module: nn.Module = wrapped
        return module

    def _switch(self, wrapped: Any, *, on: bool) -> None:
        """Turn the new adapter on or off, beside the tuned model's own one where that is kept."""
        if self._own is not None and not self._merged:
            wrapped.base_model.set_adapter([_OWN, _NEW] if on else [_OWN])
        elif on:
            wrapped.base_model.enable_adapter_layers()
        else:
            wrapped.base_model.disable_adapter_layers()

    def _trained(self) -> dict[str, nn.Parameter]:
        if self._new is not None:
            chosen = adapters.parameters(self.module, _NEW)
        elif self._own is not None:
            chosen = adapters.parameters(self.module, _OWN)
        else:
            chosen = list(self.module.parameters())
        known = {id(weight) for weight in chosen}
        return {n: weight for n, weight in self.module.named_parameters() if id(weight) in known}

    def _freeze_others(self) -> None:
        for weight in self.module.parameters():
            weight.requires_grad_(False)
        for weight in self.weights.values():
            weight.requires_grad_(True)

    @property
    def has_new_adapter(self) -> bool:
        """Whether what is trained is a new adapter, not the tuned weights themselves."""
        return self._new is not None

    def restrict(self, trains: Callable[[str], bool]) -> None:
        """Train none but the weights whose names are accepted."""
        self.weights = {name: weight for name, weight in self.weights.items() if trains(name)}
        self._freeze_others()

    def _checkpoint(self) -> None:
        compute_twice(self.module)
        for layer in self.module.modules():
            # Layers ask this before they save memory; all below them, dropout too, stay as they
            # are: the reference is a model without dropout.
            if hasattr(layer, "gradient_checkpointing"):
                layer.training = True

    def forward(self, inputs: torch.Tensor, module: nn.Module | None = None) -> torch.Tensor:
        """Return logits of every next token, shape (sequences, length, vocabulary).

        Parameters
        ----------
        inputs
            Tokens, shape (sequences, length).
        module
            What to ask, where it is not the model as it is now.
        """
        chosen = self.module if module is None else module
        return self._estimator.forward(chosen, inputs)

    def keep(self) -> None:
        """Keep what `reference` takes while the tuned weights themselves are trained: a copy."""
        if self._new is None:
            self._kept = copy.deepcopy(self.module)

    @contextmanager
    def reference(self) -> Iterator[nn.Module]:
        """Yield the tuned model as it was, which gets no gradients, for as long as this lasts.

        Where its own weights are trained that takes `keep`, or nothing to have been trained yet.
        """
        with torch.no_grad():
            if self._new is None:
                yield self.module if self._kept is None else self._kept
                return
            self._switch(self.module, on=False)
            try:
                yield self.module
            finally:
                self._switch(self.module, on=True)
                # PEFT makes all adapters trainable that it turns on.
                self._freeze_others()

    def losses(self, sequences: Sequences, module: nn.Module | None = None) -> SequenceLoss:
        """Return what every sequence costs, on the CPU, without gradients.

        Parameters
        ----------
        sequences
            What to ask about.
        module
            What to ask, where it is not the model as it is now.
        """
        nll = torch.zeros(len(sequences))
        counts = torch.zeros(len(sequences), dtype=torch.int64)
        # Not inference mode: what a module stores there could not be trained on.
        with torch.no_grad():
            for indices, batch in sequences.batches(BATCH, self.encoder.pad, self.device):
                found = sequence_loss(self.forward(batch.inputs, module), batch.labels)
                at = torch.from_numpy(indices)
                nll[at], counts[at] = found.nll.cpu(), found.counts.cpu()
        return SequenceLoss(nll, counts)

    def batch(self, sequences: Sequences, indices: Any) -> Batch:
        """Return a padded batch of sequences, where the model is."""
        return sequences.batch(indices, self.encoder.pad, self.device)

    def close(self) -> tuple[bytes, dict[str, Any]]:
        """Return the weights file of a model of the original's kind, and what model.json says more.

        What was opened is of no use afterwards.

        Raises
        ------
        NotApplicableError
            If the weights are no longer finite.
        """
        if not all(bool(torch.isfinite(weight).all()) for weight in self.weights.values()):
            raise NotApplicableError("the method left weights that are no longer finite")
        if self._own is None:
            whole: Any = self.module if self._new is None else self.module.merge_and_unload()  # type: ignore[operator]  # of PEFT
            return save_tensors(tuned_weights(whole)), {}
        if self._new is None:
            return save_tensors(adapters.snapshot(self.module)), {}
        new = adapters.snapshot(self.module, _NEW)
        shape, tensors = adapters.together([(self._own, self._tensors), (self._new, new)])
        return save_tensors(tensors), {"adapter": shape.as_json()}
