"""The examples in docstrings, run as a reader would run them in a project's folder."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.config.params import Params
from unlearn.stages.context import check_params
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.language_models import author_rows, language_params, language_train
from tests.stages.conftest import KEY, make_context, make_params, run_stages

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    f"unlearn.{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}"
    for folder in ("cli", "stages")
    for path in (ROOT / folder).rglob("*.py")
    if re.search(r"(?m)^ *>>> ", path.read_text(encoding="utf-8"))
)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose final model says yes to large numbers, and three rows to ask it."""
    root = tmp_path_factory.mktemp("classifier")
    x = np.linspace(-1, 1, 80)
    frame = pd.DataFrame({"id": [f"r{n}" for n in range(80)], "x": x})
    frame["label"] = np.where(x > 0, "yes", "no")
    raw = make_params(
        shards=2, train={"model": "sklearn.naive_bayes.GaussianNB", "options": {}}
    ).model_dump(mode="json")
    raw["dataset"] |= {"features": {"x": "numeric"}, "classes": ["no", "yes"]}
    run_stages(make_context(root / "project", frame, check_params(raw)))
    pd.DataFrame({"x": [-0.9, 0.8, 1.0]}).to_csv(root / "project/new_rows.csv", index=False)
    return root / "project"


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory, blank_base: Path) -> Path:
    """Return a folder with a final model of one adapter."""
    root = tmp_path_factory.mktemp("language")
    params: Params = language_params(language_train(blank_base))
    recipe = Recipe.of(params, KEY, blank_base.parent)
    trained = train_shard(recipe, plan_shard(recipe, "s000", author_rows(4), None), None)
    model = ShardModel.of_files(trained.files)
    for name, content in final_model_files(params, blank_base.parent, [("s000", model)]):
        path = root / "models/final_model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / blank_base.name).symlink_to(blank_base)
    return root


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_show(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_text = name.rpartition(".")[2].startswith(("text_", "language_", "decoding"))
    monkeypatch.chdir(request.getfixturevalue("language_model" if of_text else "classifier"))
    found = doctest.testmod(importlib.import_module(name))

    assert found.attempted > 0
    assert found.failed == 0


def test_no_example_is_skipped() -> None:
    assert len(MODULES) >= 5
    for name in MODULES:
        path = ROOT / f"{name.removeprefix('unlearn.').replace('.', '/')}.py"
        assert "+SKIP" not in path.read_text(encoding="utf-8"), name
