"""One whole model: the base with an adapter merged into its weights, as transformers writes it."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import torch
from safetensors.torch import load as load_tensors
from torch import nn
from unlearn.stages.config.text import LanguageOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import put_weights
from unlearn.stages.project.files import json_bytes
from unlearn.stages.text.adapters import Shape, Tensors
from unlearn.stages.text.base import find_base, load_exact_module
from unlearn.stages.text.torch_threads import one_thread
from unlearn.stages.training.shard_model import ShardModel

Precision = Literal["float32", "bfloat16", "float16"]

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_CONFIG = "config.json"

#: Where a checkpoint may say what it was loaded from: a path of the machine that made it.
_NAMES = ("_name_or_path", "name_or_path")

#: A file of weights is about as large at most.
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class WholeModel:
    """A model ready to be written.

    Parameters
    ----------
    module
        The model, its weights in the precision in which they are written.
    base
        The folder of the base.
    pinned
        Names of the files that the base is loaded from.
    precision
        The precision of the weights; None for that of the base.
    """

    module: Any
    base: Path
    pinned: tuple[str, ...]
    precision: Precision | None


def merge_into_base(
    model: ShardModel, options: LanguageOptions, root: Path, precision: Precision | None
) -> WholeModel:
    """Return the base with an adapter merged into its weights, or with all of its tuned weights.

    Products and sums are computed in float64 on one thread and rounded once.

    Parameters
    ----------
    model
        An adapter, or a whole tuned model.
    options, root
        The settings of the base, and the project's folder.
    precision
        Of the weights; None for that of the base.

    Raises
    ------
    InputError
        If the base is not the pinned one, or is quantised.
    """
    folder = find_base(options, root)
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    if config.get("quantization_config") is not None:
        raise InputError(
            "the base is quantised, and an adapter cannot be merged into its weights exactly",
            "export the adapter: `--as adapter`",
        )
    module = load_exact_module(folder)
    dtype = None if precision is None else getattr(torch, precision)
    weights = load_tensors(model.weights or b"")
    with torch.inference_mode():
        if "adapter" in model.description:
            _add(module, Shape.from_json(model.description["adapter"]), weights, dtype)
        else:
            dtype = dtype or next(module.parameters()).dtype
            put_weights(module.float(), weights)
        if dtype is not None:
            module.to(dtype)
    return WholeModel(module.eval(), folder, tuple(sorted(options.files)), precision)


def _add(module: nn.Module, shape: Shape, tensors: Tensors, dtype: torch.dtype | None) -> None:
    """Add an adapter's update to the weights of its layers, which are rounded once."""
    from transformers.pytorch_utils import Conv1D

    with one_thread():
        for target in shape.targets:
            layer = module.get_submodule(target)
            key = f"base_model.model.{target}"
            down, up = tensors[f"{key}.lora_A.weight"], tensors[f"{key}.lora_B.weight"]
            update = up.double() @ down.double() * (shape.alpha / shape.rank)
            weight: Any = layer.weight
            turned = update.T if isinstance(layer, Conv1D) else update
            weight.data = (weight.double() + turned).to(dtype or weight.dtype)


def write_whole_model(whole: WholeModel, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
    """Write a model into an empty folder: weights, configuration, tokenizer and templates.

    Parameters
    ----------
    whole
        The model.
    folder
        The folder, which is there.
    most_bytes
        The size of a file of weights at most, if no single tensor is larger.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".weights-") as scratch:
        whole.module.save_pretrained(scratch, max_shard_size=most_bytes)
        for path in sorted(Path(scratch).iterdir()):
            if path.suffix == ".safetensors" or path.name == _INDEX:
                shutil.move(path, folder / path.name)
    for name, content in _beside(whole):
        (folder / name).write_bytes(content)


def _beside(whole: WholeModel) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the base but its weights, without paths of the machine it came from."""
    for name in whole.pinned:
        if name.endswith(".safetensors") or name == _INDEX:
            continue
        content = (whole.base / name).read_bytes()
        yield name, _of_nowhere(name, content, whole.precision) if "json" in name else content


def _of_nowhere(name: str, content: bytes, precision: Precision | None) -> bytes:
    """Return a JSON file without paths; with the precision, if it is the configuration."""
    try:
        value = json.loads(content)
    except ValueError:
        return content
    if not isinstance(value, dict):
        return content
    changed = dict(value)
    for key in _NAMES:
        if isinstance(path := changed.get(key), str) and PurePath(path).is_absolute():
            del changed[key]
    if name == _CONFIG and precision is not None:
        for key in ("dtype", "torch_dtype"):
            if key in changed or key == "dtype":
                changed[key] = precision
    return content if changed == value else json_bytes(changed)
