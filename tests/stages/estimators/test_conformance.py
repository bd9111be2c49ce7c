"""Every registered family of estimators passes the conformance suite."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.estimators.registry import find_spec, specs
from unlearn.stages.rows.shard_file import Layout

from tests.language_models import author_rows, language_recipe
from tests.stages.conftest import CLASSES, EXACT, FEATURES, MLP, NAIVE_BAYES, make_recipe, make_rows
from tests.stages.estimators.boosted.libraries import (
    LIBRARIES,
    NUMBER_LAYOUT,
    REGRESSORS,
    number_rows,
)
from tests.stages.estimators.conformance import CHECKS, CONTAINERS, Case
from tests.stages.estimators.own_models import NUMBERS, PIPELINE, THIRD_PARTY
from tests.stages.estimators.perturbed import PREPROCESSING
from tests.stages.picture_shards import BESIDE, PICTURES, picture_recipe, picture_rows

ROWS = make_rows(60)

#: Settings that learn the rows within a second.
LEARNS = {"epochs": 30, "optimizer": {"name": "adam", "rate": 0.02}}

FEATURE_CASES: dict[str, dict[str, Any]] = {
    "adam": MLP | LEARNS,
    "dropout and momentum": MLP
    | {
        "options": {"hidden": [6, 5], "dropout": 0.2, "activation": "tanh"},
        "optimizer": {"name": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 0.001},
        "epochs": 20,
    },
    "SGDClassifier": {
        "model": "sklearn.linear_model.SGDClassifier",
        "options": {"loss": "log_loss", "learning_rate": "adaptive", "eta0": 0.1},
        "epochs": 5,
    },
    "MLPClassifier": {
        "model": "sklearn.neural_network.MLPClassifier",
        "options": {"hidden_layer_sizes": [8], "learning_rate_init": 0.02},
        "epochs": 20,
    },
    "GaussianNB": NAIVE_BAYES,
    "LogisticRegression": {"model": "sklearn.linear_model.LogisticRegression"},
    "LinearSVC": {"model": "sklearn.svm.LinearSVC"},
    "exact_forest": EXACT | {"options": EXACT["options"] | {"share": 0.5}},
    "exact_boosting": EXACT | {"model": "exact_boosting"},
    "exact_linear": EXACT | {"model": "exact_linear"},
    "ridge": EXACT | {"model": "exact_linear", "options": EXACT["options"] | {"rule": "ridge"}},
    "fourier": EXACT | {"model": "exact_linear", "options": EXACT["options"] | {"fourier": 9}},
    "exact_naive_bayes": EXACT | {"model": "exact_naive_bayes"},
    **{name: library.train() for name, library in LIBRARIES.items()},
}

#: Exact models that also predict numbers, and their options.
EXACT_NUMBERS: dict[str, dict[str, Any]] = {
    "exact_forest": {"share": 0.5, "leaf": 2},
    "exact_boosting": {"trees": 60},
    "exact_linear": {},
}

RESNETS: dict[str, dict[str, Any]] = {
    "resnet": {},
    "resnet with columns": {
        "options": {"width": 8, "norm": "batch", "dropout": 0.1},
        "schedule": {"name": "one_cycle"},
        "label_smoothing": 0.1,
        "class_weight": "balanced",
        "clip": 1.0,
        "average": 0.2,
        "channels_last": True,
        "augment": {"crop": 1, "flip": True, "mixup": 0.2},
    },
}

NET = """
import torch

def build(inputs, classes, width=8):
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, width), torch.nn.ReLU(), torch.nn.Linear(width, classes)
    )
"""

CASES = (
    *FEATURE_CASES,
    "own module",
    *RESNETS,
    "own pipeline",
    "own pipeline of numbers",
    *(f"numbers of {name}" for name in REGRESSORS),
    *(f"numbers of {name}" for name in EXACT_NUMBERS),
    "perturbed_logistic",
    "lora",
    "causal_lm",
)

#: A network for pictures takes seconds for most checks.
MARKS = {"resnet with columns": pytest.mark.slow, "resnet": pytest.mark.slow}


def of_features(train: dict[str, Any], code: Path | None = None) -> Case:
    spec = find_spec(train["model"])
    recipe = make_recipe(train, code=code)
    return Case(spec, recipe, ROWS, CONTAINERS[spec.format.name])


def of_pictures(name: str) -> Case:
    """Return a case whose rows are pictures, some with a number and a category beside them."""
    layout = BESIDE if name.endswith("columns") else PICTURES
    recipe = picture_recipe({"epochs": 15, **RESNETS[name]}, layout=layout)
    rows = picture_rows(60, layout=layout)
    return Case(find_spec("resnet"), recipe, rows, CONTAINERS["safetensors"])


def of_numbers(name: str) -> Case:
    """Return a case whose target is a number, of a library for boosted trees or an exact model."""
    if name in EXACT_NUMBERS:
        train = EXACT | {"model": name, "options": EXACT["options"] | EXACT_NUMBERS[name]}
        recipe = replace(make_recipe(train), layout=NUMBER_LAYOUT)
        return Case(find_spec(name), recipe, number_rows(), CONTAINERS["safetensors"])
    library = REGRESSORS[name]
    library.require()
    container = CONTAINERS[library.spec.format.name]
    return Case(library.spec, library.recipe(), number_rows(), container)


def of_perturbed() -> Case:
    """Return a case without categories, whose list would be learned from the rows."""
    features = {name: kind for name, kind in FEATURES.items() if kind != "categorical"}
    train = {
        "model": "perturbed_logistic",
        "options": {"sigma": 0.1, "range": {"age": [0, 4], "income": [0, 1e6]}},
        "preprocessing": PREPROCESSING,
    }
    case = of_features(train)
    layout = Layout(features, CLASSES, subjects=False)  # type: ignore[arg-type]  # as JSON has it
    return replace(case, recipe=replace(case.recipe, layout=layout), rows=ROWS.drop(["city"]))


@pytest.fixture(scope="module")
def case_of(
    blank_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Case]]:
    """Return what makes a case by its name, and trains its model once."""

    @cache
    def make(name: str) -> Case:
        if name in LIBRARIES:
            LIBRARIES[name].require()
        if name in FEATURE_CASES | RESNETS:
            return of_pictures(name) if name in RESNETS else of_features(FEATURE_CASES[name])
        if name == "own module":
            code = tmp_path_factory.mktemp("own") / "net.py"
            code.write_text(NET, encoding="utf-8")
            return of_features(MLP | LEARNS | {"model": "net.py:build", "options": {}}, code)
        if name.startswith("own pipeline"):
            raw = name == "own pipeline"
            code = tmp_path_factory.mktemp("own") / "model.py"
            code.write_text(PIPELINE if raw else NUMBERS, encoding="utf-8")
            return of_features({"model": "sklearn:model.py:build", "raw": raw}, code)
        if name.startswith("numbers of "):
            return of_numbers(name.removeprefix("numbers of "))
        if name == "perturbed_logistic":
            return of_perturbed()
        return Case(
            find_spec(name),
            language_recipe(blank_base, name),
            author_rows(6),
            CONTAINERS["safetensors"],
        )

    yield make
    make.cache_clear()


def test_every_family_has_a_case(case_of: Callable[[str], Case]) -> None:
    assert {case_of(name).spec.name for name in CASES} == {spec.name for spec in specs()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in CASES])
def test_a_family_conforms(
    name: str,
    check: Callable[[Case, Path], None],
    case_of: Callable[[str], Case],
    tmp_path: Path,
) -> None:
    check(case_of(name), tmp_path)


@pytest.fixture(scope="module")
def third_party_case(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Case]]:
    """Return what makes a case of an estimator of another package, and trains it once."""

    @cache
    def make(package: str) -> Case:
        content, raw, types = THIRD_PARTY[package]
        code = tmp_path_factory.mktemp(package) / "model.py"
        code.write_text(content, encoding="utf-8")
        train = {"model": "sklearn:model.py:build", "raw": raw, "trusted_types": types}
        return of_features(train, code)

    yield make
    make.cache_clear()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.slow
@pytest.mark.parametrize("package", THIRD_PARTY)
def test_an_estimator_of_another_package_conforms(
    package: str,
    check: Callable[[Case, Path], None],
    third_party_case: Callable[[str], Case],
    tmp_path: Path,
) -> None:
    pytest.importorskip(package)
    check(third_party_case(package), tmp_path)
