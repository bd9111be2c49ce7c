"""The libraries for boosted trees, with settings that are quick to train."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from unlearn.stages.config.section import Task
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import Estimator, SliceData
from unlearn.stages.estimators.registry import find_spec, make_estimator
from unlearn.stages.estimators.spec import EstimatorSpec
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import TARGET
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel

from tests.stages.conftest import LAYOUT, make_recipe, make_rows, train_at_once

#: Missing values and categories are left to the library.
NATIVE = {"scale": "none", "impute": "none"}

ROWS = make_rows(90)

NUMBER_LAYOUT = replace(LAYOUT, classes=(), task="regression", target_scale=(40_000.0, 9_000.0))


def number_rows(count: int = 90) -> pa.Table:
    """Return rows whose target is an amount of money that follows from the features."""
    rows = make_rows(count)
    age = rows["age"].to_numpy()
    rome = np.array(rows["city"].to_pylist()) == "Rome"
    amount = 40_000 + 3_000 * age + 2_000 * rome
    at = rows.column_names.index(TARGET)
    return rows.set_column(at, NUMBER_LAYOUT.schema.field(TARGET), pa.array(amount, pa.float64()))


@dataclass(frozen=True)
class Library:
    """A library, and how a test uses it.

    Parameters
    ----------
    module
        Its module, which is also the name of the extra.
    model
        Value of `train.model`.
    options
        Options with which it learns `ROWS` within a second.
    trees, depth
        What it calls the number of trees and their depth.
    """

    module: str
    model: str
    options: dict[str, Any]
    trees: str = "n_estimators"
    depth: str = "max_depth"
    task: Task = "classification"

    def require(self) -> None:
        """Skip the test where the library is missing; the extra `test` installs it."""
        pytest.importorskip(self.module)

    @property
    def outputs(self) -> Outputs:
        """Return what its models answer with; of three classes."""
        return Outputs(3) if self.task == "classification" else NUMBER_LAYOUT.outputs

    def more(self, trees: int, **options: Any) -> dict[str, Any]:
        """Return options for so many trees, and more options."""
        return {self.trees: trees, **options}

    @property
    def spec(self) -> EstimatorSpec:
        """Return the declaration."""
        return find_spec(self.model)

    def train(self, **options: Any) -> dict[str, Any]:
        """Return the section `train`, with more options."""
        return {
            "model": self.model,
            "options": self.options | options,
            "preprocessing": NATIVE,
        }

    def estimator(self, inputs: int = 4, classes: int = 3, **options: Any) -> Estimator:
        """Return the estimator for so many columns and classes."""
        train = TrainParams.model_validate(self.train(**options))
        outputs = Outputs(classes) if self.task == "classification" else self.outputs
        return make_estimator(train, inputs, outputs, sliced=False, code=None)

    def recipe(self, **options: Any) -> Recipe:
        """Return a recipe for rows of `make_rows`, or of `number_rows`."""
        recipe = make_recipe(self.train(**options))
        return replace(recipe, layout=NUMBER_LAYOUT) if self.task == "regression" else recipe

    def fit(self, rows: pa.Table = ROWS, **options: Any) -> ShardModel:
        """Return a model of rows."""
        return ShardModel.of_files(train_at_once(self.recipe(**options), rows))


LIBRARIES = {
    "xgboost": Library("xgboost", "xgboost.XGBClassifier", {"n_estimators": 5}),
    "lightgbm": Library(
        "lightgbm",
        "lightgbm.LGBMClassifier",
        {"n_estimators": 15, "min_child_samples": 5, "min_data_per_group": 5, "cat_smooth": 1.0},
    ),
    "catboost": Library(
        "catboost",
        "catboost.CatBoostClassifier",
        {"iterations": 10, "depth": 4, "learning_rate": 0.5},
        "iterations",
        "depth",
    ),
}


REGRESSORS = {
    "xgboost": replace(LIBRARIES["xgboost"], model="xgboost.XGBRegressor", task="regression"),
    "lightgbm": replace(LIBRARIES["lightgbm"], model="lightgbm.LGBMRegressor", task="regression"),
    "catboost": replace(
        LIBRARIES["catboost"], model="catboost.CatBoostRegressor", task="regression"
    ),
}


def of_classes(*names: str) -> pa.Table:
    """Return the rows of some classes."""
    return ROWS.filter(pa.array(np.isin(ROWS[TARGET].to_pylist(), names)))


def with_cities(*names: str | None) -> pa.Table:
    """Return the first rows with these cities."""
    rows = ROWS.slice(0, len(names))
    at = rows.column_names.index("city")
    return rows.set_column(at, rows.schema.field(at), pa.array(names, pa.string()))


def slice_of(count: int, *, classes: int = 3) -> SliceData:
    """Return rows as an estimator reads them: three numbers and a category of five."""
    draw = np.random.default_rng(count)
    truth = draw.integers(0, classes, count)
    numbers = draw.normal(size=(count, 3)) + truth[:, None]
    numbers[draw.random(numbers.shape) < 0.1] = np.nan
    inputs = np.column_stack([numbers, draw.integers(0, 5, count)])
    return SliceData(
        inputs.astype(np.float32), truth, count, 1, lambda _epoch: 0, categories=(0, 0, 0, 6)
    )
