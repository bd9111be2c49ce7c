"""The families of XGBoost's boosted trees."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.stages.config.boosted import XGBoostOptions, XGBoostRegressorOptions
from unlearn.stages.config.params import Params
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.declared import (
    MOST_SHARDS,
    NATIVE,
    check_native,
    native_columns,
    predicts_numbers,
)
from unlearn.stages.estimators.formats import WeightsFormat
from unlearn.stages.estimators.spec import EstimatorSpec, Extra, FeatureTraining, TrainingSize
from unlearn.stages.estimators.tensors import NamedTensor
from unlearn.stages.rows.outputs import Outputs

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator

_REGRESSOR = "xgboost.XGBRegressor"

#: Levels of a tree without a limit, about.
_NO_LIMIT = 10


def _build(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    XGBOOST.check_installed()
    from unlearn.stages.estimators.boosted.xgboost_models import XGBoostEstimator

    del sliced, code  # it takes one slice, and has no code of the user's
    return XGBoostEstimator(train, inputs, outputs)


def _read(content: bytes) -> list[NamedTensor]:
    from unlearn.stages.estimators.boosted.xgboost_file import read_tensors

    return read_tensors(content)


def _options(model: str, options: Mapping[str, Any]) -> XGBoostOptions | XGBoostRegressorOptions:
    kind = XGBoostRegressorOptions if model == _REGRESSOR else XGBoostOptions
    return kind.model_validate(dict(options))


def _check(params: Params) -> None:
    options = _options(params.train.model, params.train.options)
    check_native(params, options.monotone_constraints)
    features = params.dataset.features
    categorical = [name for name, kind in features.items() if kind == "categorical"]
    if options.tree_method == "exact" and categorical:
        raise InputError(
            "train.options.tree_method: exact takes no categorical feature, and "
            f"{categorical[0]!r} is one; hist and approx do"
        )


def _seconds(size: TrainingSize) -> float:
    """Return about how long trees are grown: measured on Adult and on rows of normal numbers."""
    options = _options(size.model, size.options)
    trees = options.n_estimators * (options.num_parallel_tree or 1) * size.problems
    depth = options.max_depth or _NO_LIMIT
    return trees * (1e-3 + 1e-9 * size.rows * size.inputs * depth)


def _quantile(train: TrainParams) -> float | None:
    return XGBoostRegressorOptions.model_validate(train.options).quantile_alpha


XGBOOST = EstimatorSpec(
    name="xgboost.XGBClassifier",
    models=("xgboost.XGBClassifier",),
    kind="xgboost",
    training=FeatureTraining(
        _build, preprocessor=native_columns, needs_two_classes=True, counts_epochs=False
    ),
    options=XGBoostOptions,
    can_slice=lambda _model: False,
    # Some options do not go together, which only the library knows.
    trial="fit",
    seconds=_seconds,
    most_shards=MOST_SHARDS,
    preprocessing=NATIVE,
    takes_weights=True,
    native=True,
    check=_check,
    format=WeightsFormat("XGBoost JSON", ".xgboost.json", _read),
    file_name="model.xgboost.json",
    extra=Extra("xgboost", ("xgboost", "xgboost-cpu")),
    preload=("unlearn.stages.estimators.boosted.xgboost_models",),
)

XGBOOST_REGRESSOR = replace(
    XGBOOST,
    name=_REGRESSOR,
    models=(_REGRESSOR,),
    options=XGBoostRegressorOptions,
    tasks=predicts_numbers,
    quantile=_quantile,
)
