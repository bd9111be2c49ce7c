"""The family of scikit-learn's classifiers, named by import path."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.stages.config.train import INCREMENTAL_ON_NEW_ROWS, INCREMENTAL_ON_UNION, TrainParams
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.estimators.imported_weights import SKOPS_FILES
from unlearn.stages.estimators.option_names import SET_BY_TRAINING
from unlearn.stages.estimators.sklearn_times import training_seconds
from unlearn.stages.estimators.spec import EstimatorSpec, FeatureTraining

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator


def _build(
    train: TrainParams, inputs: int, classes: int, *, sliced: bool, code: Path | None
) -> "Estimator":
    from unlearn.stages.estimators.sklearn_models import SklearnEstimator

    del inputs, code  # found out by `fit`; and none of it is the user's code
    return SklearnEstimator(train, classes, sliced=sliced)


def _has_probabilities(train: TrainParams) -> bool:
    from unlearn.stages.estimators.sklearn_models import SklearnEstimator

    return SklearnEstimator(train, classes=2, sliced=False).has_probabilities


def _facts(_train: TrainParams) -> dict[str, str]:
    from unlearn.stages.estimators.sklearn_models import blas_facts

    return blas_facts()


SKLEARN = EstimatorSpec(
    name="a class below sklearn.",
    answers_to=lambda model: re.fullmatch(r"sklearn(\.[A-Za-z]\w*)+", model) is not None,
    kind="sklearn",
    training=FeatureTraining(_build, needs_two_classes=True, counts_epochs=False),
    can_slice=lambda model: model in INCREMENTAL_ON_UNION | INCREMENTAL_ON_NEW_ROWS,
    trial="fit",
    set_by_training=SET_BY_TRAINING,
    has_probabilities=_has_probabilities,
    format=SKOPS,
    file_name="model.skops",
    libraries=("scikit-learn",),
    seconds=training_seconds,
    facts=_facts,
    preload=(
        "unlearn.stages.estimators.sklearn_models",
        "unlearn.stages.estimators.skops_library",
    ),
    importers=SKOPS_FILES,
)
