"""From rows as bytes to what a network reads; see `packing.py`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from unlearn.stages.config.networks import PixelParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.packing import Packing, Part

#: What a network gets: its one array, or arrays by the names of the parts.
NetworkInput = torch.Tensor | dict[str, torch.Tensor]

_BYTE = 255.0


@dataclass(frozen=True)
class Unpack:
    """A forward pre-hook: gives a module the parts of its rows in place of their bytes.

    Pictures become float32, (pixel / 255 - mean) / std, so that no number is learned from the
    rows.

    Parameters
    ----------
    packing
        The parts of a row.
    pixels
        The shift and the scale of pictures.
    channels_last
        Whether pictures are in PyTorch's memory format of this name, which some processors
        compute faster with. Their shape is the same.
    """

    packing: Packing
    pixels: PixelParams
    channels_last: bool = False

    def __post_init__(self) -> None:
        for part in self.packing.images:
            for name in ("mean", "std"):
                numbers = getattr(self.pixels, name)
                if len(numbers) not in (1, part.shape[0]):
                    raise InputError(
                        f"train.pixels.{name} has {len(numbers)} numbers, and {part.name!r} has "
                        f"{part.shape[0]} channels",
                        "write one number, or one for each channel",
                    )

    def __call__(self, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the arguments of `forward`; those that are no rows as bytes stay as they are."""
        rows = args[0] if args else None
        if not isinstance(rows, torch.Tensor) or rows.dtype != torch.uint8:
            return None
        return (self.unpacked(rows), *args[1:])

    def unpacked(self, rows: torch.Tensor) -> NetworkInput:
        """Return the parts of rows, given their bytes, shape (rows, width)."""
        found = {part.name: self._part(rows, part) for part in self.packing.parts}
        return next(iter(found.values())) if len(found) == 1 else found

    def _part(self, rows: torch.Tensor, part: Part) -> torch.Tensor:
        own = rows[:, part.start : part.end]
        if part.kind != "image":
            return own.contiguous().view(torch.float32).reshape(-1, *part.shape)
        pictures = own.reshape(-1, *part.shape)
        if self.channels_last:
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        return self.scaled(pictures)

    def scaled(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return pictures as the network reads them, float32, given their bytes."""
        # One multiplication and one addition: (x / 255 - mean) / std.
        std = torch.tensor(self.pixels.std, device=pictures.device).reshape(-1, 1, 1)
        mean = torch.tensor(self.pixels.mean, device=pictures.device).reshape(-1, 1, 1)
        return pictures.to(torch.float32).mul_(1.0 / (_BYTE * std)).sub_(mean / std)
