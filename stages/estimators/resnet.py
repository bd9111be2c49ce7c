"""A small residual network for pictures of 16 to 64 pixels."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from unlearn.stages.config.networks import RESNET_FULL_SIDE, ResnetOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.packing import InputShape

#: Channels, height and width.
_PICTURE = 3
#: Two stages halve a picture.
SMALLEST_SIDE = 4
#: Name of the input where there is one only.
_ONLY = "input"


class ResidualNetwork(nn.Module):
    """A trunk of convolutions for each picture, and one linear layer on all that they found.

    Other tensors, and the numbers of other features, go to that layer as they are.

    Parameters
    ----------
    shapes
        Shapes of the inputs by name, without the rows.
    outputs
        Classes, or 1 for a regression.
    options
        Its size.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], outputs: int, options: ResnetOptions
    ) -> None:
        super().__init__()
        # By place: the name of a feature may be none that a module can have.
        self._names = list(shapes)
        self.trunks = nn.ModuleDict(
            {
                str(place): _Trunk(shape, options)
                for place, shape in enumerate(shapes.values())
                if len(shape) == _PICTURE
            }
        )
        found = 4 * options.width * len(self.trunks)
        found += sum(_size(shape) for shape in shapes.values() if len(shape) != _PICTURE)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(found, outputs)

    def forward(self, inputs: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits of rows, shape (rows, outputs)."""
        values = [inputs] if isinstance(inputs, torch.Tensor) else [inputs[n] for n in self._names]
        found = []
        for place, value in enumerate(values):
            trunk = str(place)
            found.append(self.trunks[trunk](value) if trunk in self.trunks else value.flatten(1))
        answers: torch.Tensor = self.head(self.dropout(torch.cat(found, dim=1)))
        return answers


class _Trunk(nn.Module):
    """Three stages of residual blocks; each but the first halves the picture."""

    def __init__(self, shape: tuple[int, ...], options: ResnetOptions) -> None:
        super().__init__()
        channels, height, width = shape
        stride = 2 if max(height, width) > RESNET_FULL_SIDE else 1
        self.first = nn.Sequential(
            _convolution(channels, options.width, stride), _norm(options, options.width), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        for before, after in pairwise(options.width * factor for factor in (1, 1, 2, 4)):
            blocks += [_Block((before, after), options)]
            blocks += [_Block((after, after), options) for _ in range(options.blocks - 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        # A mean, and no adaptive pooling, whose gradient is not deterministic on a GPU.
        mean: torch.Tensor = self.blocks(self.first(pictures)).mean(dim=(2, 3))
        return mean


class _Block(nn.Module):
    """Two convolutions, whose result is added to their input.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2. The last
    normalisation starts at 0 (Goyal et al., "Accurate, Large Minibatch SGD", 2017): a block is the
    identity at first.
    """

    def __init__(self, channels: tuple[int, int], options: ResnetOptions) -> None:
        super().__init__()
        before, after = channels
        stride = 1 if before == after else 2
        last = _norm(options, after)
        nn.init.zeros_(last.weight)
        self.change = nn.Sequential(
            _convolution(before, after, stride),
            _norm(options, after),
            nn.ReLU(),
            _convolution(after, after, 1),
            last,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            halving = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(halving, _norm(options, after))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = torch.relu(self.change(inputs) + self.shortcut(inputs))
        return changed


def _convolution(before: int, after: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _norm(options: ResnetOptions, channels: int) -> nn.GroupNorm | nn.BatchNorm2d:
    if options.norm == "batch":
        return nn.BatchNorm2d(channels)
    # Wu and He, "Group Normalization", ECCV 2018: no row is normalised by another.
    return nn.GroupNorm(min(8, channels // 4), channels)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def build_resnet(shape: InputShape | int, classes: int, **options: Any) -> nn.Module:
    """Return the built-in residual network.

    Parameters
    ----------
    shape
        Shape of the picture, (channels, height, width); or shapes by name where rows have several
        inputs.
    classes
        Width of the last layer.
    **options
        As `ResnetOptions`.

    Raises
    ------
    InputError
        If there is no picture, or one is smaller than the network halves it.
    """
    if isinstance(shape, int):
        shape = (shape,)
    shapes = shape if isinstance(shape, dict) else {_ONLY: shape}
    pictures = [each for each in shapes.values() if len(each) == _PICTURE]
    if not pictures:
        raise InputError(
            "train.model: resnet reads pictures, and no feature of schema.yaml is one",
            "a picture is written as `photo: {kind: image, shape: [3, 32, 32]}`; mlp reads numbers",
        )
    if small := [each for each in pictures if min(each[1:]) < SMALLEST_SIDE]:
        raise InputError(
            f"train.model: resnet reads pictures of {SMALLEST_SIDE} pixels and more, "
            f"and one is of {small[0][1]} x {small[0][2]}"
        )
    return ResidualNetwork(shapes, classes, ResnetOptions.model_validate(options))
