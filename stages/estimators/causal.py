"""Causal language models, tuned slice by slice: an adapter on the frozen base, or all weights."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from unlearn.stages.config.text import CausalOptions, LanguageOptions, LoraOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import torch_machine, torch_state
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text import adapters
from unlearn.stages.text.base import (
    check_fit,
    find_base,
    load_module,
    load_tokenizer,
    shared_module,
)
from unlearn.stages.text.encoding import Encoder
from unlearn.stages.text.sequences import Batch, Sequences

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TextSlice:
    """What one slice's tuning reads.

    Parameters
    ----------
    sequences
        Of the rows of slices 1..r, in slice order.
    steps
        Batches to take.
    seed
        The seed of an epoch of this slice, by its number from 0.
    number, slices
        The slice, from 1, and how many there are.
    """

    sequences: Sequences
    steps: int
    seed: Callable[[int], int]
    number: int = 1
    slices: int = 1


class CausalEstimator:
    """A causal language model all of whose weights are tuned.

    Parameters
    ----------
    train
        The settings.
    layout
        Columns of the rows.
    root
        The project's folder, which the base's path starts from.

    Raises
    ------
    InputError
        If the base is not as params.yaml pins it, or does not load.
    """

    has_probabilities = True
    options_model: type[LanguageOptions] = CausalOptions

    def __init__(self, train: TrainParams, layout: Layout, root: Path) -> None:
        torch_machine.be_deterministic()
        self.train = train
        self.options = self.options_model.model_validate(train.options)
        self.device = torch_machine.find_device(train.device)
        self._folder = find_base(self.options, root)
        tokenizer = load_tokenizer(self._folder)
        self.encoder = Encoder(tokenizer, self.options, layout)
        self._base: PreTrainedModel | None = self._load()
        check_fit(tokenizer, self._base)

    @property
    def _half(self) -> bool:
        return self.options.precision == "bfloat16"

    def _load(self) -> "PreTrainedModel":
        # Weights that are trained stay float32: steps of theirs are too small for bfloat16.
        return load_module(self._folder, self.options, self.device, half=False)

    @property
    def base(self) -> "PreTrainedModel":
        """The base as its files have it, without any adapter."""
        if self._base is None:
            self._base = self._load()
        return self._base

    def _take_base(self) -> "PreTrainedModel":
        """Return a base to be changed: `base` is another one from now on, read when asked for.

        So there is one in memory, and not two, while a model is tuned or asked.
        """
        base, self._base = self.base, None
        return base

    def base_to_change(self) -> "PreTrainedModel":
        """Return a base whose weights may be changed in place."""
        return self.base

    def _start(self, seed: int) -> tuple[nn.Module, list[nn.Parameter]]:
        """Return the model as it is before the first slice, and what of it is trained."""
        del seed  # the base's weights are where training starts
        module = self._take_base()
        if self.options.checkpointing:
            compute_twice(module)
        return module, [weight for weight in module.parameters() if weight.requires_grad]

    def _put(self, module: nn.Module, weights: Tensors) -> None:
        put_weights(module, weights)

    def _take(self, module: nn.Module) -> Tensors:
        return tuned_weights(module)

    def fit_slice(self, state: bytes | None, data: TextSlice, init_seed: int) -> bytes:
        """Take `data.steps` steps on the cross-entropy of answers, in epochs over the union.

        Parameters
        ----------
        state
            The state to go on from; None at the start.
        data
            The sequences and the budget.
        init_seed
            Seed of everything that is drawn once, before the first slice.
        """
        module, trained = self._start(init_seed)
        optimizer = torch_state.make_optimizer(self.train.optimizer, trained)
        if state is not None:
            tensors = load_tensors(state)
            self._put(module, torch_state.weights_of(tensors))
            torch_state.restore_optimizer(tensors, optimizer)
        weights = self._tune(module, trained, optimizer, data)
        return save_tensors(torch_state.snapshot(weights, optimizer))

    def _tune(
        self,
        module: nn.Module,
        trained: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        data: TextSlice,
    ) -> Tensors:
        """Take the steps of a slice; return all tuned weights, those of earlier slices too."""
        module.train()
        taken = epoch = 0
        while taken < data.steps:
            taken += self._epoch(module, trained, optimizer, data, (epoch, taken))
            epoch += 1
        module.eval()
        weights = self._take(module)
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise InputError(
                f"{self.train.model} diverged: its weights are no longer finite",
                "decrease train.optimizer.rate",
            )
        return weights

    def _epoch(
        self,
        module: nn.Module,
        trained: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        data: TextSlice,
        at: tuple[int, int],
    ) -> int:
        epoch, taken = at
        torch_machine.seed_all(data.seed(epoch))
        order = torch.randperm(len(data.sequences)).numpy()
        steps = 0
        for start in range(0, len(order), self.train.batch):
            if taken + steps == data.steps:
                break
            part = order[start : start + self.train.batch]
            batch = data.sequences.batch(part, self.encoder.pad, self.device)
            self._step(module, trained, optimizer, batch)
            steps += 1
        return steps

    def _step(
        self,
        module: nn.Module,
        trained: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        batch: Batch,
    ) -> None:
        optimizer.zero_grad(set_to_none=True)
        tokens = len(batch.targets)
        for piece in batch.pieces(self.options.accumulate):
            # Over all tokens of the batch, so that its parts weigh as they would together.
            loss = answer_loss(self.forward(module, piece.inputs), piece) / tokens
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(trained, self.options.clip)
        optimizer.step()

    def forward(self, module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits of every next token, shape (sequences, length, vocabulary)."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            logits: torch.Tensor = module(input_ids=inputs, use_cache=False).logits
        return logits

    def export(self, state: bytes) -> bytes:
        """Return the weights, without the optimizer."""
        return save_tensors(torch_state.weights_of(load_tensors(state)))

    def describe(self) -> dict[str, Any]:
        """Return what rebuilds the model, beside its settings."""
        return {}

    def open(self, model: bytes, description: dict[str, Any]) -> nn.Module:
        """Return the tuned model, in evaluation mode; what is opened again is a new one.

        Parameters
        ----------
        model
            What `export` returned.
        description
            What stands beside it in model.json.

        Raises
        ------
        InputError
            If the weights do not fit.
        """
        del description  # says nothing more of a whole model
        module: nn.Module = self._take_base()
        put_weights(module, load_tensors(model))
        return module.eval()


class LoraEstimator(CausalEstimator):
    """A low-rank adapter on a base whose own weights never change; see `CausalEstimator`."""

    options_model = LoraOptions

    def __init__(self, train: TrainParams, layout: Layout, root: Path) -> None:
        super().__init__(train, layout, root)
        options = LoraOptions.model_validate(train.options)
        self.shape = adapters.shape_of(options, self.base)
        self._dropout = options.dropout
        self._wrapped: PeftModel | None = None

    def _load(self) -> "PreTrainedModel":
        return shared_module(self._folder, self.options, self.device, half=self._half)

    def base_to_change(self) -> "PreTrainedModel":
        """Return a base whose weights may be changed in place: a copy of the shared ones."""
        return copy.deepcopy(self.base)

    def _start(self, seed: int) -> tuple[nn.Module, list[nn.Parameter]]:
        # The base is read once: nothing that a slice does changes it.
        if self._wrapped is None:
            self._wrapped = adapters.wrap(self._take_base(), self.shape, dropout=self._dropout)
            if self.options.checkpointing:
                compute_twice(self._wrapped)
        adapters.redraw(self._wrapped, seed)
        return self._wrapped, adapters.parameters(self._wrapped)

    def _put(self, module: nn.Module, weights: Tensors) -> None:
        adapters.restore(module, weights)

    def _take(self, module: nn.Module) -> Tensors:
        return adapters.snapshot(module)

    def describe(self) -> dict[str, Any]:
        """Return the adapter's shape."""
        return {"adapter": self.shape.as_json()}

    def open(self, model: bytes, description: dict[str, Any]) -> nn.Module:
        """Return a new base with the adapter on it; see `CausalEstimator.open`."""
        shape = adapters.Shape.from_json(description["adapter"])
        wrapped: nn.Module = adapters.wrap(self._take_base(), shape)
        adapters.restore(wrapped, load_tensors(model))
        return wrapped.eval()


def answer_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the summed cross-entropy of the tokens that the loss counts, in nats, a scalar.

    Parameters
    ----------
    logits
        Shape (sequences, length, vocabulary).
    batch
        Its labels.
    """
    # The rows of answers first, then float32: of a large vocabulary all positions are too many.
    # Selected by index: a mask says the same, and its gradient takes longer.
    counted = nn.functional.pad(batch.counted, (0, 1))
    places = counted.reshape(-1).nonzero().squeeze(1)
    asked = logits.flatten(0, 1).index_select(0, places).float()
    return nn.functional.cross_entropy(asked, batch.targets, reduction="sum")


def compute_twice(module: nn.Module) -> None:
    """Make a model forget its activations and compute them again in the backward pass.

    Raises
    ------
    InputError
        If its layers cannot.
    """
    # The later name first: the earlier one warns of its end.
    later = getattr(module, "activation_checkpointing_enable", None)
    enable = later or module.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})  # type: ignore[operator]  # of a transformers model
    except ValueError:
        raise InputError(
            "the base does not support gradient checkpointing",
            "set train.options.checkpointing: false",
        ) from None


def tuned_weights(module: nn.Module) -> Tensors:
    """Return a whole model's parameters on the CPU, each once where weights are tied."""
    found = dict(module.named_parameters())  # tied ones come once
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}


def put_weights(module: nn.Module, weights: Tensors) -> None:
    """Give a model the weights that `tuned_weights` took.

    Raises
    ------
    InputError
        If they are not those of this model.
    """
    mine = dict(module.named_parameters())
    if mine.keys() != weights.keys() or any(mine[k].shape != v.shape for k, v in weights.items()):
        raise InputError("a model's weights do not fit the base they are for")
    with torch.no_grad():
        for name, value in weights.items():
            mine[name].copy_(value)
