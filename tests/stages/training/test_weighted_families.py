"""Families that take weights of rows: more weight counts more, and 1 changes nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.mlp import MlpEstimator, build_mlp
from unlearn.stages.estimators.sklearn_models import SklearnEstimator
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import WEIGHT, targets
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel

from tests.stages.conftest import LAYOUT, make_recipe, make_rows, train_at_once

Floats = npt.NDArray[np.float64]

ROWS = make_rows(120)
TRUTH = targets(ROWS, LAYOUT)

NET = "from torch import nn\n\ndef build(inputs, classes):\n    return nn.Linear(inputs, classes)\n"
OWN = (
    "from sklearn.linear_model import LogisticRegression\n"
    "from sklearn.pipeline import make_pipeline\n"
    "from sklearn.preprocessing import StandardScaler\n\n"
    "def build():\n    return make_pipeline(StandardScaler(), LogisticRegression())\n"
)
NEIGHBOURS = (
    "from sklearn.neighbors import KNeighborsClassifier\n\n"
    "def build():\n    return KNeighborsClassifier()\n"
)
NETWORK: dict[str, Any] = {"epochs": 20, "batch": 16, "device": "cpu", "optimizer": {"rate": 0.02}}
UNSCALED = {"scale": "none", "impute": "zero"}
RANGES = {"range": {"age": [0, 1], "income": [0, 1]}}
NATIVE = {"scale": "none", "impute": "none"}
FAMILIES: dict[str, tuple[dict[str, Any], str]] = {
    "mlp": ({"model": "mlp", **NETWORK}, ""),
    "module": ({"model": "code.py:build", **NETWORK}, NET),
    "scikit-learn": ({"model": "sklearn.linear_model.LogisticRegression"}, ""),
    "pipeline": ({"model": "sklearn:code.py:build"}, OWN),
    **{
        library: ({"model": model, "preprocessing": NATIVE, "options": options}, "")
        for library, (model, options) in {
            "xgboost": ("xgboost.XGBClassifier", {"n_estimators": 8, "max_depth": 2}),
            "lightgbm": ("lightgbm.LGBMClassifier", {"n_estimators": 8}),
            "catboost": ("catboost.CatBoostClassifier", {"iterations": 8, "depth": 2}),
        }.items()
    },
}


def with_weights(rows: pa.Table, weights: Floats) -> pa.Table:
    return rows.append_column(WEIGHT, pa.array(weights, pa.float64()))


def recipe_of(family: str, folder: Path, *, weighted: bool = True, slices: int = 1) -> Recipe:
    train, code = FAMILIES[family]
    pytest.importorskip(family if family in ("xgboost", "lightgbm", "catboost") else "sklearn")
    path = folder / "code.py"
    path.write_text(code, encoding="utf-8")
    recipe = make_recipe(train, slices=slices, code=path if code else None)
    return replace(recipe, layout=replace(LAYOUT, weighted=weighted))


def answers(recipe: Recipe, rows: pa.Table) -> Floats:
    model = ShardModel.of_files(train_at_once(recipe, rows))
    assert model.kind != "constant"
    return model.predictor(recipe.code).probabilities(ROWS)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_weights_of_1_give_the_model_without_weights(family: str, tmp_path: Path) -> None:
    plain = answers(recipe_of(family, tmp_path, weighted=False), ROWS)
    ones = answers(recipe_of(family, tmp_path), with_weights(ROWS, np.ones(len(TRUTH))))

    assert np.allclose(ones, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_class_with_more_weight_is_expected_more(family: str, tmp_path: Path) -> None:
    recipe = recipe_of(family, tmp_path)
    shares = []
    for weight in (0.05, 1.0, 20.0):
        weights = np.where(TRUTH == 0, weight, 1.0)
        shares.append(answers(recipe, with_weights(ROWS, weights))[:, 0].mean())

    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05


@pytest.mark.parametrize(
    "model", ["linear_model.LogisticRegression", "ensemble.AdaBoostClassifier"]
)
def test_whole_weights_are_copies_of_rows_and_rows_of_weight_0_are_none(model: str) -> None:
    """Where training reads all rows at once."""
    draw = np.random.default_rng(5)
    inputs, truth = draw.normal(size=(80, 3)), draw.integers(0, 3, 80)
    weights = draw.integers(0, 4, 80)
    copies = np.repeat(np.arange(80), weights)
    estimator = SklearnEstimator(TrainParams(model=f"sklearn.{model}"), Outputs(3), sliced=False)

    found, expected = (
        estimator.predictor(estimator.fit_slice(None, each, 1)).probabilities(inputs)  # type: ignore[union-attr]  # a classifier
        for each in (
            SliceData(inputs, truth, 80, 1, lambda _: 0, weights=weights.astype(float)),
            SliceData(inputs[copies], truth[copies], len(copies), 1, lambda _: 0),
        )
    )

    assert np.allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("outputs", [Outputs(3), Outputs(centre=1.0, scale=2.0)])
def test_weighted_steps_end_where_autograd_ends(outputs: Outputs) -> None:
    draw = np.random.default_rng(2)
    inputs = draw.normal(size=(60, 5)).astype(np.float32)
    truth: Any = draw.normal(size=60) if outputs.is_number else draw.integers(0, 3, 60)
    data = SliceData(inputs, truth, 60, 30, lambda epoch: epoch, weights=draw.exponential(size=60))
    train = TrainParams.model_validate(
        {"model": "mlp", "options": {"hidden": [9], "dropout": 0.2}, "batch": 16, "device": "cpu"}
    )
    own = MlpEstimator(train, 5, outputs)
    plain = TorchEstimator(train, 5, outputs, build_mlp)

    found, expected = (load(each.export(each.fit_slice(None, data, 7))) for each in (own, plain))
    alike = load(own.export(own.fit_slice(None, replace(data, weights=None), 7)))

    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4)
    assert any(not torch.allclose(alike[name], found[name], atol=1e-3) for name in found)
