"""Fits on few rows, which find wrong settings before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.trial import (
    check_repeatable,
    is_untried,
    notes_on_options,
    try_settings,
)

from tests.stages.conftest import MLP, make_recipe, make_rows, put, train_at_once

ROWS = make_rows(80)
TREE = "sklearn.tree.DecisionTreeClassifier"


def of(model: str, **options: Any) -> Recipe:
    return make_recipe({"model": model, "options": options})


def own(folder: Path, body: str, **settings: Any) -> Recipe:
    """Return a recipe of an estimator that a function with this body returns."""
    code = folder / "model.py"
    code.write_text(f"from sklearn.linear_model import *\nimport numpy as np\n{body}")
    return make_recipe({"model": "sklearn:model.py:build", **settings}, code=code)


def test_right_settings_are_tried_without_a_word() -> None:
    assert try_settings(of(TREE, max_depth=3), ROWS) is None
    assert try_settings(of(TREE, max_depth=3), ROWS.slice(0, 0)) is None
    assert try_settings(replace(of("sklearn.naive_bayes.GaussianNB"), slices=3), ROWS) is None


@pytest.mark.parametrize(
    ("recipe", "message", "hint"),
    [
        (of(TREE, max_depth=-3), "train.options: .*'max_depth' parameter .* Got -3 instead", None),
        (of(TREE, max_dept=3), "does not take 'max_dept'", "did you mean `max_depth`?"),
        (
            of("sklearn.ensemble.BaggingClassifier", n_estimators__a=3),
            "does not take 'n_estimators__a'",
            "did you mean `n_estimators`?",
        ),
        (of("sklearn.naive_bayes.GaussianNB", n_jobs=1), "does not take 'n_jobs'", "training sets"),
    ],
)
def test_a_wrong_option_is_an_error_with_the_words_of_the_library(
    recipe: Recipe, message: str, hint: str | None
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        try_settings(recipe, ROWS)

    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    assert hint is None or hint in caught.value.hints[0]


def test_rows_that_are_refused_alone_are_no_error() -> None:
    # It splits the rows of each class into 12 parts, and 20 rows have too few of each.
    folds = of("sklearn.linear_model.LogisticRegressionCV", cv=12, l1_ratios=[0.0], max_iter=10)
    said = try_settings(folds, ROWS.slice(0, 20))

    assert said is not None
    assert said.startswith("sklearn.linear_model.LogisticRegressionCV cannot be trained")


def test_options_that_training_sets_are_said_to_have_no_effect() -> None:
    forest = of("sklearn.ensemble.RandomForestClassifier", n_jobs=2, random_state=1, max_depth=2)

    notes = notes_on_options(forest)
    assert [note.split("'")[1] for note in notes] == ["n_jobs", "random_state"]
    assert "has no effect, because training sets n_jobs itself" in notes[0]
    assert notes_on_options(make_recipe(MLP)) == []


def test_settings_are_untried_until_a_model_was_trained_with_them(tmp_path: Path) -> None:
    recipe = of(TREE, max_depth=3)
    folders = {"s000": tmp_path / "s000"}

    assert is_untried(recipe, folders)
    put(tmp_path / "s000", train_at_once(recipe, ROWS))
    assert not is_untried(recipe, folders)
    assert is_untried(of(TREE, max_depth=4), folders)
    (tmp_path / "s000/lineage.json").write_text("{", encoding="utf-8")
    assert is_untried(recipe, folders)
    assert not is_untried(make_recipe(MLP), folders)


DRAWS = """
from itertools import count

COUNT = count()

class Own(LogisticRegression):
    def fit(self, rows, targets):
        {line}
        return super().fit(rows, targets)

def build():
    return Own()
"""


@pytest.mark.parametrize(
    ("line", "repeats"),
    [
        ("self.drawn_ = np.random.default_rng().normal()", False),
        ("import time; self.at_ = time.perf_counter()", False),
        ("self.count_ = next(COUNT)", False),
        ("self.drawn_ = np.random.normal()", True),
        ("import random; self.drawn_ = random.random()", True),
        ("self.drawn_ = np.random.default_rng(3).normal()", True),
    ],
)
def test_an_estimator_that_differs_from_fit_to_fit_is_refused(
    tmp_path: Path, line: str, *, repeats: bool
) -> None:
    recipe = own(tmp_path, DRAWS.format(line=line))

    if repeats:
        check_repeatable(recipe)
        assert try_settings(recipe, ROWS) is None
        return
    with pytest.raises(InputError, match="two fits of .* with the same seed give two different"):
        check_repeatable(recipe)
    with pytest.raises(InputError, match="two fits of .* with the same seed give two different"):
        try_settings(recipe, ROWS)


def test_a_torch_module_of_ones_own_is_tried_too(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    train = MLP | {"model": "net.py:build", "options": {"wide": 8}}
    code.write_text(
        "import torch\ndef build(inputs, classes, width=8):\n"
        "    return torch.nn.Linear(inputs, classes + 1 - 1)\n"
    )

    with pytest.raises(InputError, match="does not take 'wide'") as caught:
        try_settings(make_recipe(train, code=code), ROWS)
    assert caught.value.hints == ("did you mean `width`?",)
    assert try_settings(make_recipe(train | {"options": {}}, code=code), ROWS) is None
    code.write_text(code.read_text().replace("classes + 1 - 1", "2"))
    with pytest.raises(InputError, match="cannot be trained"):
        try_settings(make_recipe(train | {"options": {}}, code=code), ROWS)
    code.write_text("from sklearn.svm import SVC\ndef build(*_):\n    return SVC()\n")
    with pytest.raises(InputError, match="does not return a torch module") as caught:
        try_settings(make_recipe(train | {"options": {}}, code=code), ROWS)
    assert "sklearn:net.py:build" in caught.value.hints[0]
