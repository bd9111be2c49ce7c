"""Weights of classes by label, through estimators of scikit-learn and one's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.class_weights import by_index
from unlearn.stages.estimators.skops_file import load
from unlearn.stages.rows.shard_file import TARGET, targets
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.trial import try_settings

from tests.stages.conftest import LAYOUT, make_recipe, make_rows, train_at_once

ROWS = make_rows(90)
MODEL = "sklearn.linear_model.LogisticRegression"


def answers(train: dict[str, Any], code: Path | None = None) -> Any:
    recipe = make_recipe(train, code=code)
    model = ShardModel.of_files(train_at_once(recipe, ROWS))
    return model, model.predictor(code).answers(ROWS)


def test_weights_by_label_are_those_of_the_class() -> None:
    plain, without = answers({"model": MODEL})
    model, found = answers({"model": MODEL, "options": {"class_weight": {"c0": 1, "c2": 50}}})

    assert plain.kind == model.kind == "sklearn"
    assert load(model.weights or b"").class_weight == {0: 1, 2: 50}
    inputs = model.predictor().preprocessor.transform(ROWS, np.float64)
    bare = LogisticRegression(class_weight={0: 1, 2: 50}).fit(inputs, targets(ROWS, LAYOUT))
    assert np.allclose(found, bare.predict_proba(inputs))
    assert found[:, 2].mean() > without[:, 2].mean() + 0.1


def test_weights_reach_the_parts_of_a_pipeline(tmp_path: Path) -> None:
    code = tmp_path / "model.py"
    code.write_text(
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def build(weights=None):\n"
        "    return make_pipeline(RandomForestClassifier(9, class_weight=weights))\n"
    )
    train = {"model": "sklearn:model.py:build"}
    _, plain = answers(train, code)
    _, once = answers(train | {"options": {"weights": {"c1": 0.001}}}, code)
    _, nested = answers(
        train | {"options": {"randomforestclassifier__class_weight": {"c1": 0.001}}}, code
    )

    assert np.array_equal(once, nested)
    assert once[:, 1].mean() < plain[:, 1].mean()


@pytest.mark.parametrize(
    ("weights", "name", "hint"),
    [
        ({"c0": 1, "c11": 2}, "'c11'", "did you mean `c1`?"),
        ({True: 1}, "True", "write the labels in quotes"),
        ({3: 1}, "3", "its keys are classes in schema.yaml"),
    ],
)
def test_a_weight_of_no_class_is_an_error(weights: dict[Any, Any], name: str, hint: str) -> None:
    recipe = make_recipe({"model": MODEL, "options": {"class_weight": weights}})

    with pytest.raises(InputError, match=f"class_weight has {name}, which is no class") as caught:
        try_settings(recipe, ROWS)
    assert hint in caught.value.hints[0]


def test_indices_of_older_projects_stay_unless_they_are_labels() -> None:
    assert by_index({0: 1, 2: 3}, ["a", "b", "c"]) == {0: 1, 2: 3}
    assert by_index({0: 1, 1: 3}, ["1", "0"]) == {1: 1, 0: 3}
    assert by_index({"1": 3}, ["1", "0"]) == {0: 3}


def test_the_rows_have_all_classes() -> None:
    assert set(ROWS[TARGET].to_pylist()) == {"c0", "c1", "c2"}
