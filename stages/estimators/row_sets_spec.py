"""The families of models that are functions of the key and the set of their rows."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unlearn.stages.config.dataset import NUMBER_KINDS
from unlearn.stages.config.params import Params
from unlearn.stages.config.row_sets import (
    ExactBoostingOptions,
    ExactForestOptions,
    ExactLinearOptions,
    ExactNaiveBayesOptions,
    RowSetOptions,
)
from unlearn.stages.config.section import Task
from unlearn.stages.config.train import PreprocessingParams, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.spec import EstimatorSpec, RowSetTraining, TrainingSize
from unlearn.stages.rows.tokens import Key

if TYPE_CHECKING:
    from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape

_FILE = "model.safetensors"
_MODULES = "unlearn.stages.estimators.row_sets"

#: Reference models of families that are fitted by sums, each on half of the rows.
_REFERENCES = 8

#: Trees that `verify` fits again in a new project: of a forest of 100 trees about 5 % of a fit, and
#: of boosting about 10 %. Rows that are left in trees are found by counting them in every tree.
_TREES = 5

#: Numbers have grids in place of scales, and what is missing has a code.
_GRIDS = PreprocessingParams(scale="none", impute="zero")


_BOTH: tuple[Task, ...] = ("classification", "regression")


def _forest(train: TrainParams, key: Key, shape: "Shape") -> "RowSetEstimator[Any]":
    from unlearn.stages.estimators.row_sets.forest import ExactForest

    return ExactForest(key, shape, ExactForestOptions.model_validate(train.options))


def _boosting(train: TrainParams, key: Key, shape: "Shape") -> "RowSetEstimator[Any]":
    from unlearn.stages.estimators.row_sets.boosting import ExactBoosting

    return ExactBoosting(key, shape, ExactBoostingOptions.model_validate(train.options))


def _linear(train: TrainParams, key: Key, shape: "Shape") -> "RowSetEstimator[Any]":
    from unlearn.stages.estimators.row_sets.linear import ExactLinear

    return ExactLinear(key, shape, ExactLinearOptions.model_validate(train.options))


def _naive_bayes(train: TrainParams, key: Key, shape: "Shape") -> "RowSetEstimator[Any]":
    from unlearn.stages.estimators.row_sets.naive_bayes import ExactNaiveBayes

    return ExactNaiveBayes(key, shape, ExactNaiveBayesOptions.model_validate(train.options))


def _check(params: Params) -> None:
    """Refuse what these models do not have: other templates, scales, and numbers without grids."""
    model, train = params.train.model, params.train
    if params.kind != "exact":
        raise InputError(f"train.model: {model} is for the exact template only")
    if train.preprocessing != _GRIDS:
        raise InputError(
            f"train.preprocessing: {model} takes `scale: none` and `impute: zero`, because "
            "`train.options.range` has the scales, and missing values are a value of their own"
        )
    ends = RowSetOptions(range=train.options.get("range", {})).range
    numbers = [name for name, kind in params.dataset.features.items() if kind in NUMBER_KINDS]
    if missing := [name for name in numbers if name not in ends]:
        raise InputError(
            f"train.options.range: {model} needs [low, high] of each number and date, and "
            f"{missing[0]!r} has none"
        )
    if unknown := sorted(set(ends) - set(numbers)):
        raise InputError(f"train.options.range: {unknown[0]!r} is no number and no date")


def _check_linear(params: Params) -> None:
    _check(params)
    options = ExactLinearOptions.model_validate(params.train.options)
    if params.dataset.task == "regression" and options.rule == "discriminant":
        raise InputError(
            "train.options.rule: discriminant tells classes apart, and the task is regression",
            "`rule: ridge` predicts numbers",
        )


def _forest_seconds(size: TrainingSize) -> float:
    """Return about how long a forest is grown: measured on 100,000 rows of UCI Adult."""
    options = ExactForestOptions.model_validate(size.options)
    return 250e-9 * size.rows * options.trees * options.share * options.candidates


def _boosting_seconds(size: TrainingSize) -> float:
    """Return about how long a model is fitted: measured on 100,000 rows of UCI Adult."""
    options = ExactBoostingOptions.model_validate(size.options)
    features = min(options.features, size.inputs)
    work = options.trees * options.depth * (features + 8)
    return 4e-9 * size.rows * work * size.problems


def _linear_seconds(size: TrainingSize) -> float:
    """Return about how long sums are added: a product of matrices."""
    width = size.inputs + int(size.options.get("fourier", 0))
    return 3e-6 * size.rows + 1e-10 * size.rows * width * width


def _naive_bayes_seconds(size: TrainingSize) -> float:
    return 2e-6 * size.rows


def _linear_has_probabilities(train: TrainParams) -> bool:
    return ExactLinearOptions.model_validate(train.options).rule != "ridge"


def _spec(
    model: str,
    training: RowSetTraining,
    options: type[RowSetOptions],
    seconds: Callable[[TrainingSize], float],
    *,
    has_probabilities: Callable[[TrainParams], bool] = lambda _train: True,
    tasks: tuple[Task, ...] = ("classification",),
    check: Callable[[Params], None] = _check,
) -> EstimatorSpec:
    """Return the declaration of a family; its module has the name without `exact_`."""
    return EstimatorSpec(
        name=model,
        models=(model,),
        kind=model,
        training=training,
        format=SAFETENSORS,
        file_name=_FILE,
        options=options,
        tasks=lambda _model: tasks,
        can_slice=lambda _model: False,
        has_probabilities=has_probabilities,
        seconds=seconds,
        preprocessing=_GRIDS,
        check=check,
        preload=(f"{_MODULES}.{model.removeprefix('exact_')}",),
    )


EXACT_FOREST = _spec(
    "exact_forest",
    RowSetTraining(_forest, reruns=_TREES),
    ExactForestOptions,
    _forest_seconds,
    tasks=_BOTH,
)

EXACT_BOOSTING = _spec(
    "exact_boosting",
    RowSetTraining(_boosting, reruns=_TREES),
    ExactBoostingOptions,
    _boosting_seconds,
    tasks=_BOTH,
)

EXACT_LINEAR = _spec(
    "exact_linear",
    RowSetTraining(_linear, references=_REFERENCES),
    ExactLinearOptions,
    _linear_seconds,
    has_probabilities=_linear_has_probabilities,
    tasks=_BOTH,
    check=_check_linear,
)

EXACT_NAIVE_BAYES = _spec(
    "exact_naive_bayes",
    RowSetTraining(_naive_bayes, references=_REFERENCES),
    ExactNaiveBayesOptions,
    _naive_bayes_seconds,
)
