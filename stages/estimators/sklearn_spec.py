"""The family of scikit-learn's classifiers and regressors, named by import path."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.stages.config.train import INCREMENTAL_ON_NEW_ROWS, INCREMENTAL_ON_UNION, TrainParams
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.estimators.imported_weights import SKOPS_FILES
from unlearn.stages.estimators.option_names import SET_BY_TRAINING
from unlearn.stages.estimators.sklearn_times import training_seconds
from unlearn.stages.estimators.spec import EstimatorSpec, FeatureTraining, both_tasks
from unlearn.stages.rows.outputs import Outputs

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator


def _build(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    from unlearn.stages.estimators.sklearn_models import SklearnEstimator

    del inputs, code  # found out by `fit`; and none of it is the user's code
    return SklearnEstimator(train, outputs, sliced=sliced)


def _has_probabilities(train: TrainParams) -> bool:
    from unlearn.stages.estimators.sklearn_models import gives_probabilities

    return gives_probabilities(train)


def _facts(_train: TrainParams) -> dict[str, str]:
    from unlearn.stages.estimators.sklearn_models import blas_facts

    return blas_facts()


#: The option that names the quantile of each regressor that can predict one, its default, and the
#: loss with which it does; None where it always does.
_QUANTILES: dict[str, tuple[str, float | None, str | None]] = {
    "sklearn.ensemble.GradientBoostingRegressor": ("alpha", 0.9, "quantile"),
    "sklearn.ensemble.HistGradientBoostingRegressor": ("quantile", None, "quantile"),
    "sklearn.linear_model.QuantileRegressor": ("quantile", 0.5, None),
}


def _quantile(train: TrainParams) -> float | None:
    option, default, loss = _QUANTILES.get(train.model, ("", None, ""))
    if not option or (loss is not None and train.options.get("loss") != loss):
        return None
    value = train.options.get(option, default)
    return None if value is None else float(value)


SKLEARN = EstimatorSpec(
    name="a class below sklearn.",
    answers_to=lambda model: re.fullmatch(r"sklearn(\.[A-Za-z]\w*)+", model) is not None,
    kind="sklearn",
    training=FeatureTraining(_build, needs_two_classes=True, counts_epochs=False),
    # Which of the two an estimator is, only importing it tells: building it does.
    tasks=both_tasks,
    quantile=_quantile,
    can_slice=lambda model: model in INCREMENTAL_ON_UNION | INCREMENTAL_ON_NEW_ROWS,
    takes_weights=True,
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
