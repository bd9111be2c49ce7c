"""What training keeps between slices: weights and the optimizer, as named tensors."""

from collections.abc import Mapping

import torch
from safetensors.torch import save as save_tensors
from torch import nn
from unlearn.stages.config.train import OptimizerParams

#: What the names of weights, and of what an optimizer keeps, begin with in a state.
WEIGHTS = "model."
OPTIMIZER = "optimizer."

Tensors = dict[str, torch.Tensor]


def make_optimizer(params: OptimizerParams, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that params.yaml names, for these weights."""
    rate, decay = params.rate, params.weight_decay
    if params.name == "sgd":
        return torch.optim.SGD(
            weights, lr=rate, momentum=params.momentum, weight_decay=decay, fused=True
        )
    kind = torch.optim.AdamW if params.name == "adamw" else torch.optim.Adam
    return kind(weights, lr=rate, weight_decay=decay, fused=True)


def snapshot(
    weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer | None
) -> Tensors:
    """Return all that the next step reads, as named tensors on the CPU.

    The optimizer is None where the next slice begins with a new one.
    """
    tensors = {f"{WEIGHTS}{name}": value for name, value in weights.items()}
    kept = {} if optimizer is None else optimizer.state_dict()["state"]
    for index, slots in kept.items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"{OPTIMIZER}{index}.{slot}"] = torch.as_tensor(value)
    # Cloned: tied weights share memory, which safetensors refuses.
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def weights_of(tensors: Tensors) -> Tensors:
    """Return the weights in what `snapshot` took, by their own names."""
    return {
        name.removeprefix(WEIGHTS): value
        for name, value in tensors.items()
        if name.startswith(WEIGHTS)
    }


def restore_optimizer(tensors: Tensors, optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer the state in what `snapshot` took."""
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        if name.startswith(OPTIMIZER):
            index, _, slot = name.removeprefix(OPTIMIZER).partition(".")
            state.setdefault(int(index), {})[slot] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def module_bytes(module: nn.Module) -> bytes:
    """Return a module's parameters and buffers as a safetensors file, as `export` would."""
    # Cloned: tied weights share memory, which safetensors refuses.
    return save_tensors(
        {
            name: value.detach().cpu().contiguous().clone()
            for name, value in module.state_dict().items()
        }
    )
