"""The family of estimators with scikit-learn's interface: the user's own, and other packages'."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from unlearn.stages.config.methods import own_code
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.estimators.option_names import SET_BY_TRAINING
from unlearn.stages.estimators.spec import (
    EstimatorSpec,
    FeatureTraining,
    both_tasks,
    fit_numbers,
    stored_numbers,
)
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator
    from unlearn.stages.estimators.spec import RowTransform, StoredTransform

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _answers_to(model: str) -> bool:
    path = model.removeprefix(SKLEARN_INTERFACE)
    return path != model and (own_code(path) is not None or _CLASS.fullmatch(path) is not None)


def _build(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    from unlearn.stages.estimators.own_sklearn import OwnEstimator

    del inputs, sliced  # found out by `fit`; and it never goes on from a state
    return OwnEstimator(train, outputs, code)


def _transform(rows: pa.Table, layout: Layout, train: TrainParams) -> "RowTransform":
    if not train.raw:
        return fit_numbers(rows, layout, train)
    from unlearn.stages.estimators.raw_columns import raw_columns

    return raw_columns(rows, layout)


def _stored(value: "StoredTransform", train: TrainParams) -> "RowTransform":
    if not train.raw:
        return stored_numbers(value, train)
    from unlearn.stages.estimators.raw_columns import RawColumns

    return RawColumns.from_json(value)


def _facts(train: TrainParams) -> dict[str, str]:
    from unlearn.stages.estimators.own_packages import package_versions
    from unlearn.stages.estimators.sklearn_models import blas_facts

    return blas_facts() | package_versions(train)


OWN_SKLEARN = EstimatorSpec(
    name="sklearn:path/to/model.py:build",
    answers_to=_answers_to,
    kind="own_sklearn",
    training=FeatureTraining(
        _build,
        preprocessor=_transform,
        stored=_stored,
        needs_two_classes=True,
        counts_epochs=False,
    ),
    # Which of the two an estimator is, only building it tells.
    tasks=both_tasks,
    can_slice=lambda _model: False,
    trial="two fits",
    set_by_training=(*SET_BY_TRAINING, "memory"),
    takes_weights=True,
    takes_raw=True,
    format=SKOPS,
    file_name="model.skops",
    libraries=("scikit-learn",),
    facts=_facts,
    preload=(
        "unlearn.stages.estimators.own_sklearn",
        "unlearn.stages.estimators.skops_library",
    ),
)
