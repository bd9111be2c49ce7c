"""Rows as a network reads them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import nn
from unlearn.stages.estimators.torch_predictors import one_number

#: Rows with arrays that are passed through a network together.
_ARRAYS_AT_ONCE = 128


@dataclass(frozen=True)
class Rows:
    """Preprocessed rows.

    A subclass may add tensors; every one of them has as many rows.

    Parameters
    ----------
    inputs
        Shape (rows, width): numbers; or bytes where features are arrays.
    targets
        Class indices, shape (rows,); or numbers in the pinned scale of the target, as floats.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: torch.Tensor) -> Self:
        """Return the rows at these places, shape (index,), or where a mask is true."""
        return self._at(index)

    def pieces(self, size: int) -> Iterator[Self]:
        """Yield all rows in their order, in batches."""
        for start in range(0, len(self), size):
            yield self._at(slice(start, start + size))

    def _at(self, places: torch.Tensor | slice) -> Self:
        return replace(self, **{f.name: getattr(self, f.name)[places] for f in fields(self)})


def piece_size(inputs: torch.Tensor, most: int) -> int:
    """Return how many rows are passed through a network together, so that they fit into memory.

    Parameters
    ----------
    inputs
        Rows as the network reads them: bytes where features are arrays, of which the values between
        layers take far more memory.
    most
        How many rows of numbers in columns.
    """
    return min(most, _ARRAYS_AT_ONCE) if inputs.dtype == torch.uint8 else most


def row_losses(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of every row that networks are trained on, shape (rows,).

    It is the cross-entropy of classes, or the squared error of numbers.

    Parameters
    ----------
    outputs
        What the model answers, shape (rows, classes); or (rows, 1) or (rows,).
    targets
        See `Rows`.
    """
    if targets.is_floating_point():
        return (one_number(outputs) - targets) ** 2
    return nn.functional.cross_entropy(outputs, targets, reduction="none")
