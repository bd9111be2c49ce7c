"""Planted canaries under attack: power that is known before anyone asks to be forgotten."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.train import stage as train_stage

from tests.conftest import make_frame
from tests.stages.conftest import NAIVE_BAYES, make_context, make_params, put_on_list, run_stages
from tests.stages.conftest import token_of as token
from tests.stages.verify.reports import run
from tests.stages.verify.test_evidence import OVERFIT

CANARIES = [f"canary-{number:06d}" for number in range(1, 161)]


def planted(
    root: Path, *, shards: int = 5, train: Mapping[str, Any] = OVERFIT, rule: str | None = None
) -> Context:
    """Return a pipeline that ran on 200 rows and 160 canaries, half of which no shard was given."""
    params = make_params(shards=shards, train=train, holdout=0.2, rule=rule or "mean_probability")
    dataset = params.dataset.model_copy(update={"canaries": "data/canaries.csv"})
    context = make_context(root, make_frame(200), params.model_copy(update={"dataset": dataset}))
    made_up: pd.DataFrame = make_frame(len(CANARIES), seed=11)
    shuffled = np.random.default_rng(1).permutation(made_up["label"])
    made_up.assign(id=CANARIES, label=shuffled).to_csv(root / "data/canaries.csv", index=False)
    run_stages(context)
    return context


@pytest.fixture(scope="module")
def overfit(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return planted(tmp_path_factory.mktemp("planted") / "project")


@pytest.mark.trained
def test_the_attack_tells_trained_on_from_left_out_and_bounds_epsilon(overfit: Context) -> None:
    report = run(overfit)
    found = report["canaries"]

    assert report["membership"] is None, "nobody has asked to be forgotten"
    assert found["attack"] == "lira"
    assert found["ci"][0] > 0.55
    assert 0 < found["members"] < found["count"] <= len(CANARIES)
    assert found["correct"] > found["guesses"] / 2
    assert found["epsilon_lower_bound"] > 0


@pytest.mark.slow
def test_a_forgotten_canary_is_neither_member_nor_left_out(tmp_path: Path) -> None:
    context = planted(tmp_path / "project", train=NAIVE_BAYES)
    before = run(context)["canaries"]
    put_on_list(context, *(token(raw) for raw in CANARIES[:40]))
    forget_stage.run(context)
    for shard in context.params.sharding.shards:
        train_stage.run(context, shard)
    aggregate_stage.run(context)
    report = run(context)

    assert report["verdict"] == "pass"
    held_out = len(CANARIES) - before["count"]
    assert 40 - held_out <= before["count"] - report["canaries"]["count"] <= 40
    assert report["canaries"]["members"] < before["members"]


def test_with_few_shards_the_loss_stands_in(tmp_path: Path) -> None:
    found = run(planted(tmp_path / "project", shards=2, train=NAIVE_BAYES))["canaries"]

    assert found["attack"] == "loss"
    assert found["auc"] is not None


def test_votes_are_counted_and_not_attacked(tmp_path: Path) -> None:
    train = {"model": "sklearn.linear_model.Perceptron"}
    found = run(planted(tmp_path / "project", train=train, rule="majority_vote"))["canaries"]

    assert found["count"] > 0
    assert (found["attack"], found["auc"], found["epsilon_lower_bound"]) == (None, None, None)


def test_without_canaries_the_report_has_none(built: Context) -> None:
    assert run(built)["canaries"] is None
