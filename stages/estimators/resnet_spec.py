"""The family of the built-in residual network."""

from itertools import pairwise
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.stages.config.networks import RESNET_FULL_SIDE, ResnetOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.imported_weights import TENSOR_FILES
from unlearn.stages.estimators.network_check import check_resnet
from unlearn.stages.estimators.packing import Packing
from unlearn.stages.estimators.spec import EstimatorSpec, TrainingSize, both_tasks
from unlearn.stages.estimators.torch_spec import (
    TORCH_FILE,
    TORCH_LIBRARIES,
    network_training,
    torch_facts,
)
from unlearn.stages.rows.outputs import Outputs

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator

#: Seconds for each multiplication of a forward pass, in a training step.
_MULTIPLICATION = 0.2e-9
#: Seconds for each step and residual block of a stage.
_STEP = 6e-3
_COLOURS = 3


def _network(
    train: TrainParams,
    inputs: int | Packing,
    outputs: Outputs,
    *,
    code: Path | None,
    root: Path | None,
) -> "Estimator":
    from unlearn.stages.estimators.resnet import build_resnet
    from unlearn.stages.estimators.torch_models import TorchEstimator

    del code
    return TorchEstimator(train, inputs, outputs, build_resnet, root=root)


def _seconds(size: TrainingSize) -> float:
    """Return about how long it trains, as measured by benchmarks/networks.py.

    Nearly all of it is convolutions. The inputs are taken for one square picture.
    """
    options = ResnetOptions.model_validate(size.options)
    channels = _COLOURS if size.inputs % _COLOURS == 0 else 1
    side = max(1, isqrt(size.inputs // channels))
    row = multiplications((channels, side, side), options) * _MULTIPLICATION
    steps = -(-size.rows // size.batch)
    return size.epochs * (size.rows * row + steps * _STEP * options.blocks)


def multiplications(shape: tuple[int, ...], options: ResnetOptions) -> int:
    """Return how many multiplications a forward pass of a picture takes."""
    channels, height, width = shape
    stride = 2 if max(height, width) > RESNET_FULL_SIDE else 1
    pixels = -(-height // stride) * -(-width // stride)
    total = 9 * channels * options.width * pixels
    for before, after in pairwise(options.width * factor for factor in (1, 1, 2, 4)):
        if after != before:
            pixels = max(1, pixels // 4)
            total += before * after * pixels
        total += 9 * (before + (2 * options.blocks - 1) * after) * after * pixels
    return total


RESNET = EstimatorSpec(
    name="resnet",
    models=("resnet",),
    kind="torch",
    training=network_training(_network),
    tasks=both_tasks,
    takes_weights=True,
    options=ResnetOptions,
    format=SAFETENSORS,
    file_name=TORCH_FILE,
    libraries=TORCH_LIBRARIES,
    seconds=_seconds,
    most_shards=5,
    check=check_resnet,
    facts=torch_facts,
    preload=("unlearn.stages.estimators.torch_models", "unlearn.stages.estimators.resnet"),
    importers=TENSOR_FILES,
)
