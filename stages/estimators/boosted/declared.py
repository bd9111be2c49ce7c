"""What the declarations of all libraries for boosted trees have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from unlearn.stages.config.params import Params
from unlearn.stages.config.section import Task
from unlearn.stages.config.train import PreprocessingParams, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.preprocessing import Preprocessor

#: With more shards, ensembles of boosted trees lose more than one point of accuracy on UCI Adult.
MOST_SHARDS = 5

#: Trees need no scales, and these libraries have a way of their own for what is missing.
NATIVE = PreprocessingParams(scale="none", impute="none")


def predicts_numbers(_model: str) -> tuple[Task, ...]:
    """Return the task of a family of regressors."""
    return ("regression",)


def native_columns(rows: pa.Table, layout: Layout, train: TrainParams) -> "Preprocessor":
    """Return what passes columns on as they are, categories as their codes."""
    from unlearn.stages.estimators.preprocessing import native_preprocessor

    del train
    return native_preprocessor(rows, layout)


def check_native(params: Params, monotone: Sequence[int] | None = None) -> None:
    """Refuse what these models do not have.

    Parameters
    ----------
    params
        The settings.
    monotone
        The option `monotone_constraints`.
    """
    if params.train.preprocessing != NATIVE:
        raise InputError(
            f"train.preprocessing: {params.train.model} takes `scale: none` and `impute: none`, "
            "because it reads missing values and categories as they are"
        )
    features = params.dataset.features
    if monotone is None:
        return
    if len(monotone) != len(features):
        raise InputError(
            f"train.options.monotone_constraints has {len(monotone)} values, and schema.yaml has "
            f"{len(features)} features"
        )
    wide = [name for name, kind in features.items() if kind in ("calendar", "hashed_text")]
    if wide:
        raise InputError(
            f"train.options.monotone_constraints: {wide[0]!r} is {features[wide[0]]}, and features "
            "of that kind become several columns"
        )
    for (name, kind), sign in zip(features.items(), monotone, strict=True):
        if sign and kind == "categorical":
            raise InputError(
                f"train.options.monotone_constraints: {name!r} is categorical and takes 0"
            )
