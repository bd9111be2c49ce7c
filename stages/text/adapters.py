"""Low-rank adapters on a frozen model, by PEFT.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022. The layers that get one
are chosen here and passed to PEFT by full names, so that a part of a name never matches by chance.
"""

import difflib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from unlearn.stages.config.text import ALL_LINEAR, AdapterOptions
from unlearn.stages.errors import InputError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Shape:
    """What an adapter looks like: its rank, its scale times the rank, and the layers it is on."""

    rank: int
    alpha: float
    targets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the shape as JSON values."""
        return {"rank": self.rank, "alpha": self.alpha, "targets": list(self.targets)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Shape":
        """Return the shape that `as_json` described."""
        targets = tuple(map(str, value["targets"]))
        return cls(int(value["rank"]), float(value["alpha"]), targets)


def shape_of(options: AdapterOptions, module: nn.Module) -> Shape:
    """Return the shape of an adapter for a model; see `resolve_targets` for errors."""
    return Shape(options.rank, options.alpha, tuple(resolve_targets(module, options.targets)))


def linear_layers(module: nn.Module) -> list[str]:
    """Return the names of all linear layers but the output head, which is tied to words."""
    from transformers.pytorch_utils import Conv1D

    head = getattr(module, "get_output_embeddings", lambda: None)()
    return [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | Conv1D) and layer is not head
    ]


def resolve_targets(module: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """Return the whole names of the layers that an adapter is to be on.

    Parameters
    ----------
    module
        The model.
    targets
        `all-linear`, or names: whole, or their last parts from a dot on. `q_proj` is in every
        layer that has one, `layers.3.self_attn.q_proj` in layer 3 and not in 13 or 30.

    Raises
    ------
    InputError
        If a name matches no linear layer.
    """
    layers = linear_layers(module)
    if targets == ALL_LINEAR:
        return layers
    wanted = [targets] if isinstance(targets, str) else list(targets)
    for target in wanted:
        if not any(_is(name, target) for name in layers):
            parts = {".".join(name.split(".")[-n:]) for name in layers for n in range(1, 5)}
            near = difflib.get_close_matches(target, sorted(parts), n=1)
            raise InputError(
                f"targets: {target!r} is no linear layer of the base",
                *(f"did you mean `{meant}`?" for meant in near),
            )
    return [name for name in layers if any(_is(name, target) for target in wanted)]


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def wrap(
    module: "PreTrainedModel", shape: Shape, *, dropout: float = 0.0, name: str = "default"
) -> "PeftModel":
    """Put a new adapter on a model, whose own weights are frozen.

    The adapter changes nothing until it is trained: its second matrix is zero.
    """
    from peft import get_peft_model

    # PEFT warns about intended uses: several adapters, and full names.
    with warnings.catch_warnings(action="ignore"):
        wrapped: PeftModel = get_peft_model(module, _config(shape, dropout), adapter_name=name)
    _check_layers(wrapped, shape, name)
    return wrapped


def add(wrapped: "PeftModel", shape: Shape, name: str, weights: Tensors | None = None) -> None:
    """Add another adapter to those that a model has; with these weights, or a new one."""
    # PEFT warns about intended uses: several adapters, and full names.
    with warnings.catch_warnings(action="ignore"):
        wrapped.add_adapter(name, _config(shape, 0.0))
    _check_layers(wrapped, shape, name)
    if weights is not None:
        restore(wrapped, weights, name)


def _config(shape: Shape, dropout: float) -> Any:
    from peft import LoraConfig, TaskType

    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=dropout,
        target_modules=list(shape.targets),
        bias="none",
        task_type=TaskType.CAUSAL_LM,
    )


def _check_layers(wrapped: nn.Module, shape: Shape, name: str) -> None:
    """Make sure that the adapter is on the layers that were named, and on no others."""
    found = {
        layer.removeprefix("base_model.model.") for layer, _ in adapted_layers(wrapped, [name])
    }
    if found != set(shape.targets):
        odd = sorted(found ^ set(shape.targets))
        raise InputError(f"targets: the adapter is not on the layers named, but for {odd[0]}")


def adapted_layers(module: nn.Module, names: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the layers that have any of these adapters, with their full names."""
    from peft.tuners.lora import LoraLayer

    return [
        (path, layer)
        for path, layer in module.named_modules()
        if isinstance(layer, LoraLayer) and any(name in layer.lora_A for name in names)
    ]


def redraw(wrapped: nn.Module, seed: int, name: str = "default") -> None:
    """Draw an adapter's weights as for a new one; what they are follows from the seed alone."""
    torch.manual_seed(seed)
    for _, layer in adapted_layers(wrapped, [name]):
        layer.reset_lora_parameters(name, init_lora_weights=True)


def snapshot(wrapped: nn.Module, name: str = "default") -> Tensors:
    """Return an adapter's weights on the CPU, by the names that PEFT writes to its files."""
    tensors: Tensors = {}
    for path, layer in adapted_layers(wrapped, [name]):
        tensors[f"{path}.lora_A.weight"] = layer.lora_A[name].weight
        tensors[f"{path}.lora_B.weight"] = layer.lora_B[name].weight
    return {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}


def restore(wrapped: nn.Module, tensors: Tensors, name: str = "default") -> None:
    """Give an adapter the weights that `snapshot` took.

    Raises
    ------
    InputError
        If they are of another shape or other layers.
    """
    mine = _weights(wrapped, name)
    if mine.keys() != tensors.keys() or any(mine[k].shape != v.shape for k, v in tensors.items()):
        raise InputError("an adapter's weights do not fit the layers they are for")
    with torch.no_grad():
        for key, value in tensors.items():
            mine[key].copy_(value)


def _weights(wrapped: nn.Module, name: str) -> Tensors:
    found: Tensors = {}
    for path, layer in adapted_layers(wrapped, [name]):
        found[f"{path}.lora_A.weight"] = layer.lora_A[name].weight
        found[f"{path}.lora_B.weight"] = layer.lora_B[name].weight
    return found


def parameters(wrapped: nn.Module, name: str = "default") -> list[nn.Parameter]:
    """Return an adapter's weights as they are trained, in the order of the layers."""
    found = _weights(wrapped, name).values()
    return [weight for weight in found if isinstance(weight, nn.Parameter)]


def together(parts: Sequence[tuple[Shape, Tensors]]) -> tuple[Shape, Tensors]:
    """Return one adapter that adds up to several on the same model.

    B1 A1 s1 + B2 A2 s2 = [B1 s1, B2 s2] [A1; A2], layer by layer: the ranks add up, and each scale
    goes into its second matrix, so that alpha is the rank. A layer that one of them is not on gets
    zeros there.
    """
    targets = tuple(dict.fromkeys(target for shape, _ in parts for target in shape.targets))
    rank = sum(shape.rank for shape, _ in parts)
    tensors: Tensors = {}
    for target in targets:
        key = f"base_model.model.{target}"
        down, up = f"{key}.lora_A.weight", f"{key}.lora_B.weight"
        known = next(of for shape, of in parts if target in shape.targets)
        wide, high = known[down].shape[1], known[up].shape[0]
        firsts, seconds = [], []
        for shape, of in parts:
            on = target in shape.targets
            scale = shape.alpha / shape.rank
            firsts.append(of[down] if on else torch.zeros(shape.rank, wide))
            seconds.append(of[up] * scale if on else torch.zeros(high, shape.rank))
        tensors[down] = torch.cat(firsts).contiguous()
        tensors[up] = torch.cat(seconds, dim=1).contiguous()
    return Shape(rank, float(rank), targets), tensors


def peft_config(shape: Shape, base: str, revision: str | None = None) -> dict[str, Any]:
    """Return the configuration that PEFT reads with an adapter's weights, as JSON values.

    Parameters
    ----------
    shape
        The adapter's.
    base
        What the base is called: a name on the hub, or a relative path.
    revision
        The commit of a base from the hub; the setting is left out where it is None.
    """
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(shape.targets),
        "bias": "none",
        "inference_mode": True,
    }
    return config if revision is None else config | {"revision": revision}


@contextmanager
def averaged(wrapped: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Make some adapters of a model one, whose update is the mean of theirs, within the block."""
    layers = [layer for _, layer in adapted_layers(wrapped, names)]
    before = [dict(layer.scaling) for layer in layers]
    wrapped.base_model.set_adapter(list(names))  # type: ignore[operator, union-attr]  # of PEFT
    for layer in layers:
        for name in names:
            if name in layer.scaling:
                layer.scaling[name] /= len(names)
    try:
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)
