"""An adapter of a lower rank: the best one in the Frobenius norm, layer by layer.

The update of a layer, B A, is never formed. Both factors are split by QR, and the small core by a
singular value decomposition (Eckart and Young, "The approximation of one matrix by another of lower
rank", Psychometrika 1936). In float64, on one thread, with fixed signs: the same bytes each time.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from unlearn.stages.errors import InputError
from unlearn.stages.text.adapters import Shape, Tensors
from unlearn.stages.text.torch_threads import one_thread


@dataclass(frozen=True)
class Compressed:
    """An adapter of a lower rank.

    Parameters
    ----------
    shape, tensors
        The adapter.
    errors
        By layer, the Frobenius norm of what was left out, as a share of the update's norm.
    error
        The same for all layers together.
    """

    shape: Shape
    tensors: Tensors
    errors: dict[str, float]
    error: float


def compress(shape: Shape, tensors: Tensors, rank: int) -> Compressed:
    """Return the nearest adapter of a lower rank.

    Parameters
    ----------
    shape, tensors
        The adapter.
    rank
        The new rank.

    Raises
    ------
    InputError
        If the rank is not lower than the adapter's.
    """
    if not 1 <= rank < shape.rank:
        raise InputError(f"rank {rank} is not below that of the adapter, which is {shape.rank}")
    scale = shape.alpha / shape.rank
    found: Tensors = {}
    errors: dict[str, float] = {}
    lost = whole = 0.0
    with one_thread():
        for target in shape.targets:
            key = f"base_model.model.{target}"
            down, up = f"{key}.lora_A.weight", f"{key}.lora_B.weight"
            first, second, values = _split(tensors[down], tensors[up] * scale, rank)
            found[down], found[up] = first, second
            of_layer, of_rest = float((values**2).sum()), float((values[rank:] ** 2).sum())
            errors[target] = sqrt(of_rest / of_layer) if of_layer else 0.0
            lost, whole = lost + of_rest, whole + of_layer
    error = sqrt(lost / whole) if whole else 0.0
    return Compressed(Shape(rank, float(rank), shape.targets), found, errors, error)


def _split(
    down: torch.Tensor, up: torch.Tensor, rank: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return both factors of a lower rank, and all singular values of their old product."""
    left, left_core = torch.linalg.qr(up.double())
    right, right_core = torch.linalg.qr(down.double().T.contiguous())
    before, values, after = torch.linalg.svd(left_core @ right_core.T, full_matrices=False)
    columns, rows = left @ before[:, :rank], after[:rank] @ right.T
    # A pair of singular vectors has no sign of its own: the largest entry of the left one is made
    # positive.
    places = columns.abs().argmax(dim=0)
    signs = torch.where(columns.gather(0, places[None])[0] < 0, -1.0, 1.0).double()
    roots = values[:rank].sqrt()
    columns, rows = columns * (signs * roots), rows * (signs * roots)[:, None]
    # A layer smaller than the rank is filled up: all layers of an adapter have one rank.
    filled_up = torch.zeros(up.shape[0], rank, dtype=torch.float64)
    filled_down = torch.zeros(rank, down.shape[1], dtype=torch.float64)
    filled_up[:, : columns.shape[1]] = columns
    filled_down[: rows.shape[0]] = rows
    return filled_down.to(down.dtype), filled_up.to(up.dtype), values
