"""Regressors of one's own: those of a clean room, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.own_sklearn import OwnEstimator
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.trial import check_repeatable, try_settings

from tests.stages.conftest import put_on_list, run_stages, token_of
from tests.stages.estimators.own_models import PIPELINE, REGRESSION
from tests.stages.regression import make_amounts, regression_context
from tests.stages.training.test_regressions import models_of

ROWS = 160
TRAIN = {"model": "sklearn:model.py:build", "raw": True}


def project(root: Path, gone: set[str], content: str = REGRESSION) -> Context:
    """Return a project on the rows that did not go, with a file of the user's."""
    frame = make_amounts(ROWS)
    context = regression_context(root, frame[~frame["id"].isin(gone)], TRAIN, shards=2)
    (root / "model.py").write_text(content, encoding="utf-8")
    return context


@pytest.mark.slow
def test_two_requests_leave_the_bytes_of_a_clean_room(tmp_path: Path) -> None:
    context = project(tmp_path / "project", set())
    run_stages(context)
    before = models_of(context)
    requests = (["r0003", "r0017", "r0050"], ["r0051", "r0003", "r0120"])
    for ids in requests:
        put_on_list(context, *map(token_of, ids))
        forget_stage.run(context)
        for shard in context.params.sharding.shards:
            train_stage.run(context, shard)
        aggregate_stage.run(context)

    room = project(tmp_path / "room", {raw for ids in requests for raw in ids})
    run_stages(room)

    after = models_of(context)
    assert after == models_of(room)
    assert after != before
    assert before.keys() == after.keys()
    frame = make_amounts(ROWS)
    model = load_ensemble(context.project.final_model, own_code=tmp_path / "project/model.py")
    assert r2_score(frame["amount"], np.asarray(model.predict(frame))) > 0.7


@pytest.mark.slow
def test_settings_are_tried_on_numbers_too(tmp_path: Path) -> None:
    context = project(tmp_path / "project", set())
    run_stages(context)
    recipe = Recipe.of_project(context)
    rows = read_shard(context.project.shard_file("s000"), "s000").rows

    check_repeatable(recipe)
    assert try_settings(recipe, rows) is None
    code = tmp_path / "project/model.py"
    code.write_text(REGRESSION.replace("trees=5", "trees=-5"), encoding="utf-8")
    with pytest.raises(InputError, match="train.options: model.py:build cannot be trained"):
        try_settings(recipe, rows)


def test_an_estimator_of_the_other_task_is_refused(tmp_path: Path) -> None:
    code = tmp_path / "model.py"
    train = TrainParams(model="sklearn:model.py:build")
    code.write_text(PIPELINE, encoding="utf-8")
    with pytest.raises(InputError, match="does not return a regressor, and the task is regression"):
        OwnEstimator(train, Outputs(), code)
    assert OwnEstimator(train, Outputs(classes=2), code).has_probabilities
    code.write_text(REGRESSION, encoding="utf-8")
    with pytest.raises(InputError, match="does not return a classifier, and the task is classif"):
        OwnEstimator(train, Outputs(classes=2), code)
    assert OwnEstimator(train, Outputs(), code).has_probabilities
