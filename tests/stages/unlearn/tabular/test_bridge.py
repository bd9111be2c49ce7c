"""From a model's folder to a module for methods, and back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.config.methods import CertifiedRemovalSettings, InfluenceSettings
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.perturbed_logistic import draw_noise
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.tabular.bridge import Opened, open_model
from unlearn.stages.unlearn.tabular.certified_removal import certified_removal
from unlearn.stages.unlearn.tabular.influence import influence

from tests.stages.conftest import MLP, make_recipe, make_rows, put
from tests.stages.estimators.perturbed import PREPROCESSING
from tests.stages.unlearn.tabular.problems import applied, make_run

ROWS = make_rows(90)
LINEAR = "sklearn.linear_model."
MODELS: dict[str, dict[str, Any]] = {
    "mlp": MLP,
    "dropout": MLP | {"options": {"hidden": [5], "dropout": 0.3}},
    "LogisticRegression": {"model": f"{LINEAR}LogisticRegression", "options": {"max_iter": 5000}},
    "RidgeClassifier": {"model": f"{LINEAR}RidgeClassifier"},
    "perturbed_logistic": {
        "model": "perturbed_logistic",
        "options": {"sigma": 1.0, "regularization": 0.1},
        "preprocessing": PREPROCESSING,
    },
}

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(inputs)
        self.last = torch.nn.Linear(inputs, classes)

    def forward(self, rows):
        return self.last(self.norm(rows))

def build(inputs, classes):
    return Net(inputs, classes)
"""


def recipe_of(train: dict[str, Any], code: Path | None = None) -> Recipe:
    recipe = make_recipe(train, code=code)
    if train["model"] != "perturbed_logistic":
        return recipe
    features: dict[str, FeatureKind] = {
        name: kind for name, kind in recipe.layout.features.items() if kind != "categorical"
    }
    return replace(recipe, layout=replace(recipe.layout, features=features))


def seed_of(recipe: Recipe) -> int:
    return recipe.key.seed(recipe.seed, "s000", "init")


def trained(recipe: Recipe, folder: Path) -> ShardModel:
    rows = ROWS.select([*recipe.layout.schema.names])
    put(folder, train_shard(recipe, plan_shard(recipe, "s000", rows, None), None).files)
    return read_shard_model(folder, "the original")


def opened(recipe: Recipe, model: ShardModel) -> Opened:
    return open_model(model, recipe.code, init_seed=seed_of(recipe))


@pytest.fixture(params=[*MODELS, "net"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    if request.param != "net":
        return recipe_of(MODELS[request.param])
    code = tmp_path / "net.py"
    code.write_text(NET)
    return recipe_of(MLP | {"model": "net.py:build", "options": {}}, code)


def test_the_module_answers_as_the_model_does(recipe: Recipe, tmp_path: Path) -> None:
    model = trained(recipe, tmp_path / "model")
    found = opened(recipe, model)
    rows = found.rows(ROWS)

    with torch.no_grad():
        answers = found.module.eval()(rows.inputs)

    expected = model.predictor(recipe.code).probabilities(ROWS)
    assert np.array_equal(answers.argmax(dim=1), expected.argmax(axis=1))
    if model.has_probabilities:
        assert np.allclose(torch.softmax(answers.double(), dim=1), expected, atol=1e-6)
    labels = [f"c{place}" for place in rows.targets]
    assert labels == ROWS["unlearn.target"].to_pylist()


def test_closed_unchanged_it_is_the_same_model(recipe: Recipe, tmp_path: Path) -> None:
    model = trained(recipe, tmp_path / "model")
    found = opened(recipe, model)

    expected = model.weights or b""
    if model.kind == "sklearn":  # skops numbers what it has read again
        expected = skops_file.dump(skops_file.load(expected))
    assert found.close(found.module) == expected


def test_what_changes_in_the_module_changes_in_the_file(recipe: Recipe, tmp_path: Path) -> None:
    model = trained(recipe, tmp_path / "model")
    found = opened(recipe, model)
    with torch.no_grad():
        for value in found.module.parameters():
            value.mul_(-1)

    again = ShardModel(model.description, found.close(found.module))

    assert again.digest != model.digest
    with torch.no_grad():
        answers = found.module.eval()(found.rows(ROWS).inputs)
    put(tmp_path / "again", {str(model.description["file"]): again.weights or b""})
    put(tmp_path / "again", {"model.json": json.dumps(model.description).encode()})
    reread = read_shard_model(tmp_path / "again", "it").predictor(recipe.code).probabilities(ROWS)
    assert np.array_equal(answers.argmax(dim=1), reread.argmax(axis=1))


def test_fresh_modules_follow_from_their_seed(recipe: Recipe, tmp_path: Path) -> None:
    found = opened(recipe, trained(recipe, tmp_path / "model"))
    one, same, other = (found.fresh(seed) for seed in (1, 1, 2))

    def numbers(module: nn.Module) -> torch.Tensor:
        return nn.utils.parameters_to_vector(module.parameters()).detach()

    assert torch.equal(numbers(one), numbers(same))
    assert not torch.equal(numbers(one), numbers(other))
    assert not torch.equal(numbers(one), numbers(found.module))
    assert {name: value.dtype for name, value in one.state_dict().items()} == {
        name: value.dtype for name, value in found.module.state_dict().items()
    }


def test_weights_that_are_no_numbers_are_not_written(recipe: Recipe, tmp_path: Path) -> None:
    found = opened(recipe, trained(recipe, tmp_path / "model"))
    with torch.no_grad():
        next(found.module.parameters()).view(-1)[0] = torch.nan

    with pytest.raises(NotApplicableError, match="no longer finite"):
        found.close(found.module)


@pytest.mark.parametrize("name", ["LogisticRegression", "RidgeClassifier", "perturbed_logistic"])
def test_a_convex_model_is_at_the_minimum_of_its_objective(name: str, tmp_path: Path) -> None:
    settings = MODELS[name]
    if name == "LogisticRegression":
        settings = settings | {"options": {"max_iter": 5000, "tol": 1e-9}}
    recipe = recipe_of(settings)
    found = opened(recipe, trained(recipe, tmp_path / "model"))

    value = found.objective.total(found.module, found.rows(ROWS))

    for slope in torch.autograd.grad(value, list(found.module.parameters())):
        assert float(slope.abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("name", "decay", "expected"), [("sgd", 0.1, 0.1), ("adam", 0.1, 0.1), ("adamw", 0.1, 0.0)]
)
def test_weight_decay_is_a_penalty_per_row_unless_it_is_decoupled(
    name: str, decay: float, expected: float, tmp_path: Path
) -> None:
    recipe = recipe_of(MLP | {"optimizer": {"name": name, "weight_decay": decay}})
    objective = opened(recipe, trained(recipe, tmp_path / "model")).objective

    assert (objective.loss, objective.l2, objective.l2_per_row) == ("cross_entropy", 0.0, expected)


def test_sgd_with_decay_comes_to_rest_where_the_objective_does(tmp_path: Path) -> None:
    # One layer, whole batches, many steps: gradient descent ends where the gradient is 0.
    recipe = recipe_of(
        MLP
        | {
            "options": {"hidden": []},
            "batch": 90,
            "epochs": 400,
            "optimizer": {"name": "sgd", "rate": 0.2, "momentum": 0.9, "weight_decay": 0.05},
        }
    )
    found = opened(recipe, trained(recipe, tmp_path / "model"))
    value = found.objective.total(found.module, found.rows(ROWS)) / 90

    for slope in torch.autograd.grad(value, list(found.module.parameters())):
        assert float(slope.abs().max()) < 1e-5


def test_the_noise_is_that_of_the_training_and_comes_from_its_seed(tmp_path: Path) -> None:
    recipe = recipe_of(MODELS["perturbed_logistic"])
    found = opened(recipe, trained(recipe, tmp_path / "model"))

    assert found.objective.sigma == 1.0
    expected = draw_noise(seed_of(recipe), 1.0, found.module)  # type: ignore[arg-type]  # its kind
    assert torch.equal(found.objective.noise["weight"], expected)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"model": "sklearn.ensemble.RandomForestClassifier"}, "RandomForestClassifier"),
        ({"model": "sklearn.naive_bayes.GaussianNB"}, "GaussianNB"),
        (
            {"model": f"{LINEAR}LogisticRegression", "options": {"class_weight": "balanced"}},
            "class_weight",
        ),
    ],
)
def test_other_models_are_named(train: dict[str, Any], said: str, tmp_path: Path) -> None:
    recipe = recipe_of(train)
    model = trained(recipe, tmp_path / "model")

    with pytest.raises(NotApplicableError, match=said):
        opened(recipe, model)


@pytest.mark.parametrize("kind", ["empty", "constant"])
def test_a_model_without_weights_is_named(kind: str) -> None:
    with pytest.raises(NotApplicableError, match=kind):
        open_model(ShardModel({"kind": kind}, None), None, init_seed=1)


def test_influence_goes_all_the_way_from_file_to_file(tmp_path: Path) -> None:
    recipe = recipe_of(MODELS["RidgeClassifier"])
    model = trained(recipe, tmp_path / "model")
    found = opened(recipe, model)
    kept, gone = ROWS.slice(9), ROWS.slice(0, 9)

    module = applied(
        influence,
        found.module,
        found.rows(gone),
        found.rows(kept),
        InfluenceSettings(),
        make_run(found.objective),
    )
    again = opened(recipe, ShardModel(model.description, found.close(module)))

    # Training from scratch on the same columns of numbers.
    value = again.objective.total(again.module, again.rows(kept))
    for slope in torch.autograd.grad(value, list(again.module.parameters())):
        assert float(slope.abs().max()) < 1e-6


def test_certified_removal_goes_all_the_way_from_file_to_file(tmp_path: Path) -> None:
    recipe = recipe_of(MODELS["perturbed_logistic"])
    model = trained(recipe, tmp_path / "model")
    found = opened(recipe, model)
    kept, gone = ROWS.slice(1), ROWS.slice(0, 1)
    run = make_run(found.objective)

    module = applied(
        certified_removal,
        found.module,
        found.rows(gone),
        found.rows(kept),
        CertifiedRemovalSettings(),
        run,
    )
    again = opened(recipe, ShardModel(model.description, found.close(module)))

    retrained = train_shard(
        recipe,
        plan_shard(recipe, "s000", kept.select([*recipe.layout.schema.names]), None),
        None,
    )
    target = opened(
        recipe, ShardModel(model.description, retrained.files["model.safetensors"])
    ).module
    start = opened(recipe, model).module

    def away(one: nn.Module) -> float:
        numbers = nn.utils.parameters_to_vector
        return float((numbers(one.parameters()) - numbers(target.parameters())).detach().norm())

    assert away(again.module) * 10 < away(start)
    assert run.facts["residual_bound"] <= run.facts["residual_budget"]


def test_logistic_regression_is_turned_as_scikit_learn_solved_it(tmp_path: Path) -> None:
    recipe = recipe_of(MODELS["LogisticRegression"])
    found = opened(recipe, trained(recipe, tmp_path / "model"))
    rows = found.rows(ROWS)
    plain = LogisticRegression(max_iter=5000).fit(rows.inputs.numpy(), rows.targets.numpy())

    with torch.no_grad():
        likely = torch.softmax(found.module(rows.inputs), dim=1)

    assert np.allclose(likely, plain.predict_proba(rows.inputs.numpy()), atol=1e-12)
