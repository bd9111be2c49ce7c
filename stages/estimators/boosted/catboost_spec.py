"""The families of CatBoost's boosted trees."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.stages.config.boosted import CatBoostOptions, CatBoostRegressorOptions
from unlearn.stages.config.params import Params
from unlearn.stages.config.train import TrainParams
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

_REGRESSOR = "catboost.CatBoostRegressor"


def _build(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    CATBOOST.check_installed()
    from unlearn.stages.estimators.boosted.catboost_models import CatBoostEstimator

    del sliced, code  # it takes one slice, and has no code of the user's
    return CatBoostEstimator(train, inputs, outputs)


def _read(content: bytes) -> list[NamedTensor]:
    from unlearn.stages.estimators.boosted.catboost_file import read_tensors

    return read_tensors(content)


def _options(model: str, options: Mapping[str, Any]) -> CatBoostOptions | CatBoostRegressorOptions:
    kind = CatBoostRegressorOptions if model == _REGRESSOR else CatBoostOptions
    return kind.model_validate(dict(options))


def _check(params: Params) -> None:
    options = _options(params.train.model, params.train.options)
    check_native(params, options.monotone_constraints)


def _seconds(size: TrainingSize) -> float:
    """Return about how long trees are grown: measured on Adult and on rows of normal numbers."""
    trees = _options(size.model, size.options).iterations * size.problems
    return trees * (1e-3 + 20e-9 * size.rows * size.inputs)


def _quantile(train: TrainParams) -> float | None:
    options = CatBoostRegressorOptions.model_validate(train.options)
    name, _, number = (options.loss_function or "").partition(":alpha=")
    return float(number) if name == "Quantile" else None


CATBOOST = EstimatorSpec(
    name="catboost.CatBoostClassifier",
    models=("catboost.CatBoostClassifier",),
    kind="catboost",
    training=FeatureTraining(
        _build, preprocessor=native_columns, needs_two_classes=True, counts_epochs=False
    ),
    options=CatBoostOptions,
    can_slice=lambda _model: False,
    # Some options do not go together, which only the library knows.
    trial="fit",
    seconds=_seconds,
    most_shards=MOST_SHARDS,
    preprocessing=NATIVE,
    takes_weights=True,
    native=True,
    check=_check,
    format=WeightsFormat("CatBoost JSON", ".catboost.json", _read),
    file_name="model.catboost.json",
    extra=Extra("catboost", ("catboost",)),
    preload=("unlearn.stages.estimators.boosted.catboost_models",),
)

CATBOOST_REGRESSOR = replace(
    CATBOOST,
    name=_REGRESSOR,
    models=(_REGRESSOR,),
    options=CatBoostRegressorOptions,
    tasks=predicts_numbers,
    quantile=_quantile,
)
