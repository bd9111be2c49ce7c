"""The families of torch modules: the built-in multilayer perceptron, and a module of one's own."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from unlearn.stages.config.methods import own_code
from unlearn.stages.config.train import MlpOptions, TrainParams
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.imported_weights import TENSOR_FILES
from unlearn.stages.estimators.network_check import check_network
from unlearn.stages.estimators.packing import Packing
from unlearn.stages.estimators.spec import (
    EstimatorSpec,
    FeatureTraining,
    NetworkBuilder,
    RowTransform,
    StoredTransform,
    TrainingSize,
    both_tasks,
)
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator

#: Modules that compute with torch take these versions and facts into their environment.
TORCH_LIBRARIES = ("torch",)
#: Name of a torch module's weights file.
TORCH_FILE = "model.safetensors"


def torch_facts(train: TrainParams) -> dict[str, str]:
    """Return what of this machine decides the numbers that torch computes."""
    from unlearn.stages.estimators.torch_machine import machine_facts

    return machine_facts(train)


#: Seconds for each hidden unit and row of a step, by activation, and of dropout.
_UNIT = {"relu": 0.0, "tanh": 2e-9, "sigmoid": 1e-9, "gelu": 8e-9}
_UNIT_DROPPED = 9e-9


def _build_mlp(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    from unlearn.stages.estimators.mlp import MlpEstimator

    del sliced, code  # the same however many slices there are
    return MlpEstimator(train, inputs, outputs)


def _own_network(
    train: TrainParams,
    inputs: int | Packing,
    outputs: Outputs,
    *,
    code: Path | None,
    root: Path | None,
) -> "Estimator":
    from unlearn.stages.estimators.torch_models import user_estimator

    if code is None:
        raise ValueError(f"{train.model} needs the path of its code")
    return user_estimator(train, inputs, outputs, code, root)


def network_training(network: NetworkBuilder) -> FeatureTraining:
    """Return the training of a family of networks, which read numbers and arrays.

    Parameters
    ----------
    network
        Builds the estimator.
    """

    def build(
        train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
    ) -> "Estimator":
        del sliced  # the same however many slices there are
        return network(train, inputs, outputs, code=code, root=None)

    return FeatureTraining(build, preprocessor=_fit_inputs, stored=_stored_inputs, network=network)


def _fit_inputs(rows: pa.Table, layout: Layout, train: TrainParams) -> RowTransform:
    from unlearn.stages.estimators.tensor_transform import fit_inputs

    return fit_inputs(rows, layout, train)


def _stored_inputs(value: StoredTransform, train: TrainParams) -> RowTransform:
    from unlearn.stages.estimators.tensor_transform import stored_inputs

    return stored_inputs(value, train)


def _mlp_seconds(size: TrainingSize) -> float:
    """Return about how long the built-in mlp trains.

    A step has a part for each layer, one for each weight (the optimizer), one for each weight and
    row (the matrix products), and one for each hidden unit and row (activation and dropout), as
    measured by benchmarks/training.py.
    """
    options = MlpOptions.model_validate(size.options)
    widths = [size.inputs, *options.hidden, max(1, size.classes)]
    weights = sum(above * below for above, below in pairwise(widths))
    unit = _UNIT[options.activation] + (_UNIT_DROPPED if options.dropout else 0.0)
    step = 20e-6 + 10e-6 * len(options.hidden) + 0.4e-9 * weights
    step += size.batch * (46e-12 * weights + unit * sum(options.hidden))
    return size.epochs * -(-size.rows // size.batch) * step


MLP = EstimatorSpec(
    name="mlp",
    models=("mlp",),
    kind="torch",
    training=FeatureTraining(_build_mlp),
    tasks=both_tasks,
    takes_weights=True,
    options=MlpOptions,
    format=SAFETENSORS,
    file_name=TORCH_FILE,
    libraries=TORCH_LIBRARIES,
    seconds=_mlp_seconds,
    facts=torch_facts,
    preload=("unlearn.stages.estimators.mlp",),
    importers=TENSOR_FILES,
)

OWN_MODULE = EstimatorSpec(
    name="path/to/net.py:build",
    answers_to=lambda model: own_code(model) is not None,
    trial="fit",
    kind="torch",
    training=network_training(_own_network),
    tasks=both_tasks,
    takes_weights=True,
    format=SAFETENSORS,
    file_name=TORCH_FILE,
    check=check_network,
    libraries=TORCH_LIBRARIES,
    facts=torch_facts,
    preload=("unlearn.stages.estimators.torch_models",),
    importers=TENSOR_FILES,
)
