"""A model's weights through four bits and back, in plain torch.

Zhang et al., "Catastrophic Failure of LLM Unlearning via Quantization", ICLR 2025 (first "Does your
LLM truly unlearn? An embarrassingly simple approach to recover unlearned knowledge", 2024):
unlearning moves weights by so little that rounding them to four bits can bring back what was
forgotten. What counts is which weights a model computes with, so they are rounded here and kept in
their own precision: nothing gets smaller or faster, and no special kernel is needed.
"""

import copy
from typing import Any

import torch
from torch import nn

#: The sixteen numbers of NF4, quantiles of the normal distribution scaled to [-1, 1] with an exact
#: zero: Dettmers et al., "QLoRA", NeurIPS 2023, appendix E.
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


def round_trip(weight: torch.Tensor, block: int = 64) -> torch.Tensor:
    """Return a weight as it is after NF4: a new tensor of the same shape and type.

    The weight's rows one after the other are cut into blocks, the last one maybe shorter. Each is
    divided by its largest absolute value, every quotient goes to the nearest number of `NF4`, the
    lower one of two equally near, and is multiplied again (Dettmers et al., "QLoRA", NeurIPS 2023,
    section 3; 64 is theirs). The largest values of the blocks stay in single precision: rounding
    these as well, "double quantisation", saves memory and moves weights by little.

    Parameters
    ----------
    weight
        Of any shape and floating-point type.
    block
        How many weights share a scale, at least 1.
    """
    if block < 1:
        raise ValueError(f"A block has at least one weight, not {block}")
    flat = weight.detach().reshape(-1).float()
    blocks = nn.functional.pad(flat, (0, -len(flat) % block)).view(-1, block)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    codes = torch.tensor(NF4, dtype=torch.float32, device=weight.device)
    between = (codes[1:] + codes[:-1]) / 2
    # A block of zeros has no scale to divide by, and stays one of zeros.
    nearest = torch.bucketize(blocks / torch.where(scale > 0, scale, 1.0), between)
    rounded = (codes[nearest] * scale).view(-1)[: len(flat)]
    return rounded.view(weight.shape).to(weight.dtype)


def quantised(module: nn.Module, block: int = 64) -> nn.Module:
    """Return a copy of a model whose linear layers' weights have been through `round_trip`.

    As QLoRA's users load a model: all linear layers but the output head, and neither embeddings
    nor biases nor norms. The head is what `get_output_embeddings` gives, which every language
    model of transformers has, and any layer that shares its weight with an embedding.

    What is rounded is what would be deployed, adapters merged: a layer and its adapter rounded one
    by one do not add up to it.

    Parameters
    ----------
    module
        The model; it is left as it is.
    block
        See `round_trip`.

    Raises
    ------
    ValueError
        If an adapter is not merged, or there is no linear layer to round: the copy would say
        nothing about the model.
    """
    if any(hasattr(layer, "base_layer") for layer in module.modules()):  # as peft wraps layers
        raise ValueError("The model has an adapter: merge it before quantising")
    rounded = copy.deepcopy(module)
    layers = _rounded_layers(rounded)
    if not layers:
        raise ValueError("The model has no linear layer other than its head: nothing to quantise")
    with torch.no_grad():
        for layer in layers:
            weight = layer.weight
            # Conv1D keeps it the other way round: blocks go along what one output is summed over.
            across = not isinstance(layer, nn.Linear)
            trip = round_trip(weight.T, block).T if across else round_trip(weight, block)
            weight.copy_(trip)
    return rounded


def roundable(module: nn.Module) -> bool:
    """Return whether a model has a linear layer that `quantised` would round."""
    return bool(_rounded_layers(module))


def _rounded_layers(module: nn.Module) -> list[Any]:
    from transformers.pytorch_utils import Conv1D

    kept = _heads_and_embeddings(module)
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, nn.Linear | Conv1D) and id(layer.weight) not in kept
    ]


def _heads_and_embeddings(module: nn.Module) -> set[int]:
    """Return the identities of the weights that stay as they are."""
    kept = [layer.weight for layer in module.modules() if isinstance(layer, nn.Embedding)]
    for part in module.modules():
        head = getattr(part, "get_output_embeddings", lambda: None)()
        if head is not None:
            kept.append(head.weight)
    return {id(weight) for weight in kept}
