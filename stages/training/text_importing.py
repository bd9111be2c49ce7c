"""A tuned checkpoint from elsewhere: a whole model of the base's shape, or an adapter on the base.

Weights are read from safetensors alone; of an adapter also what PEFT writes beside them.
"""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import CausalEstimator, LoraEstimator, tuned_weights
from unlearn.stages.estimators.causal_spec import ADAPTER_FILE
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.text import adapters
from unlearn.stages.text.base import check_causal, load_module, pin_files
from unlearn.stages.text.scoring import score
from unlearn.stages.training.shard_model import ShardModel, describe_model

_ADAPTER_CONFIG = "adapter_config.json"

#: Rows of either side that an imported model is asked about.
_MOST = 500

#: What an adapter may not have: none of it is a low-rank matrix that can be added up.
_BEYOND: dict[str, Any] = {
    "use_dora": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "bias": "none",
    "layer_replication": None,
    "lora_bias": False,
    "target_parameters": None,
    "trainable_token_indices": None,
    "alora_invocation_tokens": None,
    "use_qalora": False,
    "use_bdlora": None,
    "arrow_config": None,
    "kasa_config": None,
    "monteclora_config": None,
}

#: How the two matrices may have started. Other ways change the base's own weights, and an adapter
#: of theirs is none on the base as it is.
_STARTS = (None, True, False, "gaussian")


def read_checkpoint(context: Context, folder: Path, rows: int) -> ShardModel:
    """Read a folder that holds what `train.model` names.

    Parameters
    ----------
    context
        The project: its base is what an adapter stands on, or what a whole model was tuned from.
    folder
        A checkpoint of transformers, or an adapter of PEFT.
    rows
        How many rows the model was tuned on.

    Raises
    ------
    InputError
        If it is of another kind, cannot be read safely, or does not fit the base.
    """
    train, layout = context.params.train, context.layout
    estimator = make_text_estimator(train, layout, context.project.root)
    is_adapter = (folder / _ADAPTER_CONFIG).is_file()
    if isinstance(estimator, LoraEstimator) != is_adapter:
        found = "an adapter" if is_adapter else "no adapter"
        raise InputError(
            f"{folder.name} is {found}, and train.model is {train.model}",
            "lora takes a folder that PEFT wrote, causal_lm one of a whole model",
        )
    check_causal(estimator.base)
    described = estimator.describe()
    if is_adapter:
        shape, tensors = _read_adapter(folder)
        _check_layers(folder.name, shape, estimator.base)
        wrapped = adapters.wrap(estimator.base, shape)
        adapters.restore(wrapped, tensors)
        described["adapter"] = shape.as_json()
    else:
        tensors = _read_whole(estimator, folder)
    return ShardModel(
        describe_model(train, layout, rows, described),
        save_tensors(tensors),
    )


def _read_adapter(folder: Path) -> tuple[adapters.Shape, adapters.Tensors]:
    name = folder.name
    try:
        config = json.loads((folder / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / ADAPTER_FILE)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except FileNotFoundError:
        raise InputError(
            f"{name} has no {ADAPTER_FILE}; other formats can run code and are never loaded"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, SafetensorError):
        raise InputError(f"{name} is not readable as an adapter of PEFT") from None
    if rank < 1 or not math.isfinite(alpha):
        raise InputError(
            f"{name} has r {rank} and lora_alpha {alpha}: a rank is 1 or more, and alpha a number"
        )
    for setting, plain in _BEYOND.items():
        if config.get(setting) not in (plain, None):
            raise InputError(f"{name} is more than a low-rank adapter: it has {setting}")
    if config.get("init_lora_weights") not in _STARTS:
        raise InputError(
            f"{name} is on another base: init_lora_weights {config['init_lora_weights']!r} changes "
            "it",
            "PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...) converts "
            "it to a plain adapter",
        )
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise InputError(f"{name} is no LoRA adapter")
    if config.get("use_rslora"):
        alpha *= math.sqrt(rank)  # its scale is alpha / sqrt(rank)
    return adapters.Shape(rank, alpha, _targets(name, tensors)), _plain(tensors)


def _targets(name: str, tensors: dict[str, torch.Tensor]) -> tuple[str, ...]:
    """Return the layers that an adapter is on, in the order of its file."""
    start, end = "base_model.model.", ".lora_A.weight"
    found = [key for key in tensors if key.endswith(end)]
    layers = tuple(key.removeprefix(start).removesuffix(end) for key in found)
    expected = {f"{start}{layer}.lora_{side}.weight" for layer in layers for side in "AB"}
    if not layers or expected != tensors.keys():
        raise InputError(f"{name} holds other weights than those of an adapter's two matrices")
    return layers


def _check_layers(name: str, shape: adapters.Shape, base: torch.nn.Module) -> None:
    """Refuse an adapter on what the base does not have, which PEFT would stumble on."""
    layers = set(adapters.linear_layers(base))
    for target in shape.targets:
        if target not in layers:
            raise InputError(
                f"{name} is on {target}, which is no linear layer of the base that takes an adapter"
            )


def _plain(tensors: dict[str, torch.Tensor]) -> adapters.Tensors:
    return {key: value.float().contiguous().clone() for key, value in tensors.items()}


def _read_whole(estimator: CausalEstimator, folder: Path) -> adapters.Tensors:
    pin_files(folder, folder.name)
    module = load_module(folder, estimator.options, torch.device("cpu"), half=False)
    weights = tuned_weights(module)
    mine = {name: value.shape for name, value in estimator.base.named_parameters()}
    if {name: value.shape for name, value in weights.items()} != mine:
        raise InputError(
            f"{folder.name} has other weights than {estimator.options.base}",
            "train.options.base must be the model before fine-tuning",
        )
    return weights


def token_accuracies(
    context: Context, model: ShardModel, training: pa.Table, holdout: pa.Table
) -> tuple[float, float, float]:
    """Return what share of answer tokens a model gives as the likeliest, in [0, 1].

    Parameters
    ----------
    context, model
        The project and the model.
    training, holdout
        Rows of either side; at most 500 of each are asked about.

    Returns
    -------
    tuple of float
        On the training rows, on the held-out rows; and on the training rows by the base alone.
    """
    estimator = make_text_estimator(context.params.train, context.layout, context.project.root)
    some, others = fewest(training, _MOST), fewest(holdout, _MOST)
    # Before the adapter is put on it: the base is one object.
    base = _right(estimator, estimator.base, some)
    opened = estimator.open(model.weights or b"", model.description)
    return _right(estimator, opened, some), _right(estimator, opened, others), base


def _right(estimator: CausalEstimator, module: torch.nn.Module, rows: pa.Table) -> float:
    sequences = estimator.encoder.encode(rows).sequences
    found = score(
        lambda inputs: estimator.forward(module, inputs),
        sequences,
        estimator.encoder.pad,
        device=estimator.device,
    ).right
    return float(found.mean()) if len(found) else 0.0
