"""What methods are told that a network's training made small is what it did make small."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.unlearn.tabular.apply import with_class_weights
from unlearn.stages.unlearn.tabular.bridge import Opened, open_model

from tests.stages.conftest import make_recipe, make_rows, put

ROWS = make_rows(90)
NET = """
import torch

def build(inputs, classes):
    return torch.nn.Linear(inputs, classes)

def squares(outputs, targets):
    truth = torch.nn.functional.one_hot(targets, outputs.shape[1])
    return ((outputs - truth) ** 2).sum(dim=1)
"""
# One layer, whole batches, many steps: gradient descent ends where the gradient is 0.
TRAIN: dict[str, Any] = {
    "model": "net.py:build",
    "batch": 90,
    "epochs": 500,
    "device": "cpu",
    "optimizer": {"name": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 0.05},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "label_smoothing": {"label_smoothing": 0.2},
    "class_weight": {"class_weight": {"c0": 4.0}},
    "balanced": {"class_weight": "balanced"},
    "both": {"class_weight": {"c1": 3.0, "c2": 0.5}, "label_smoothing": 0.1},
    "loss": {"loss": "net.py:squares"},
}


def opened(settings: dict[str, Any], folder: Path) -> tuple[Recipe, Opened]:
    code = folder / "net.py"
    code.write_text(NET, encoding="utf-8")
    recipe = replace(make_recipe(TRAIN | settings, code=code), root=folder)
    put(folder / "model", train_shard(recipe, plan_shard(recipe, "s000", ROWS, None), None).files)
    model = read_shard_model(folder / "model", "the original")
    return recipe, open_model(model, code, init_seed=1, root=folder)


def steepest(found: Opened) -> float:
    value = found.objective.total(found.module, found.rows(ROWS)) / 90
    slopes = torch.autograd.grad(value, list(found.module.parameters()))
    return max(float(slope.abs().max()) for slope in slopes)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_training_comes_to_rest_where_the_objective_does(name: str, tmp_path: Path) -> None:
    recipe, found = opened(SETTINGS[name], tmp_path)

    objective = with_class_weights(found.objective, recipe.train, recipe.layout, ROWS)

    assert steepest(replace(found, objective=objective)) < 1e-4
    plain = replace(objective, network=None, class_weights=None)
    assert steepest(replace(found, objective=plain)) > 1e-3
