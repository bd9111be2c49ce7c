"""The family of logistic regressions whose objective is perturbed."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from unlearn.stages.config.dataset import NUMBER_KINDS
from unlearn.stages.config.params import Params
from unlearn.stages.config.train import PerturbedLogisticOptions, PreprocessingParams, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.imported_weights import TENSOR_FILES
from unlearn.stages.estimators.spec import EstimatorSpec, FeatureTraining, TrainingSize
from unlearn.stages.estimators.torch_spec import TORCH_FILE, TORCH_LIBRARIES, torch_facts
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator
    from unlearn.stages.estimators.preprocessing import Preprocessor

_LEARNS_NOTHING = PreprocessingParams(scale="none", impute="zero")


def _build(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    from unlearn.stages.estimators.perturbed_logistic import PerturbedLogisticEstimator

    del sliced, code  # it takes one slice, and has no code of the user's
    return PerturbedLogisticEstimator(train, inputs, outputs.classes)


def _preprocessor(rows: pa.Table, layout: Layout, train: TrainParams) -> "Preprocessor":
    from unlearn.stages.estimators.preprocessing import fixed_preprocessor

    del rows  # what is learned from them has no certificate
    return fixed_preprocessor(layout, train)


def _check(params: Params) -> None:
    """Refuse everything that would be learned from the rows outside the weights."""
    if params.train.preprocessing != _LEARNS_NOTHING:
        raise InputError(
            "train.preprocessing: perturbed_logistic takes `scale: none` and `impute: zero`, "
            "because anything learned from the rows is not covered by the certificate; use "
            "`options.range` to scale"
        )
    features = params.dataset.features
    # One-hot columns are a list of the categories that the rows have.
    categorical = [name for name, kind in features.items() if kind == "categorical"]
    if categorical:
        raise InputError(
            "features in schema.yaml: perturbed_logistic takes no categorical feature, and "
            f"{categorical[0]!r} is one"
        )
    ranges = PerturbedLogisticOptions.model_validate(params.train.options).range
    numeric = [name for name, kind in features.items() if kind in NUMBER_KINDS]
    unknown = sorted(set(ranges) - set(numeric)) if isinstance(ranges, dict) else []
    if unknown:
        near = difflib.get_close_matches(unknown[0], numeric, n=1)
        raise InputError(
            f"train.options.range: {unknown[0]!r} is no numeric feature",
            *(f"did you mean `{name}`?" for name in near),
        )


def _seconds(size: TrainingSize) -> float:
    """Return about how long a model for each class is fitted."""
    return 50e-9 * size.rows * size.inputs * size.problems


PERTURBED_LOGISTIC = EstimatorSpec(
    name="perturbed_logistic",
    models=("perturbed_logistic",),
    kind="perturbed_logistic",
    training=FeatureTraining(_build, preprocessor=_preprocessor, counts_epochs=False),
    options=PerturbedLogisticOptions,
    can_slice=lambda _model: False,
    seconds=_seconds,
    preprocessing=_LEARNS_NOTHING,
    check=_check,
    format=SAFETENSORS,
    file_name=TORCH_FILE,
    libraries=TORCH_LIBRARIES,
    facts=torch_facts,
    preload=("unlearn.stages.estimators.perturbed_logistic",),
    importers=TENSOR_FILES,
)
