"""The ends of the range: no request, no rows, one class, one shard, one slice."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Repo, fresh_models, make_frame, make_project, places
from tests.pipeline.conftest import (
    BAYES,
    FOREST,
    KEY,
    MLP,
    SGD,
    Shape,
    ids_at,
    stages_run,
    without_dvc,
)

LOGISTIC: dict[str, Any] = {"model": "sklearn.linear_model.LogisticRegression", "options": {}}
SHAPES = {
    "torch": Shape(MLP, 2, 2),
    "sgd": Shape(SGD, 2, 2),
    "bayes": Shape(BAYES, 2, 2),
    "logistic": Shape(LOGISTIC, 2, 1),
    "forest": Shape(FOREST, 2, 1),
}


def _forget(repo: Repo, ids: list[str]) -> None:
    done = repo.inline("forget", *(word for raw in ids for word in ("--id", raw)))
    assert done.code == 0, done.err


def _labels(repo: Repo) -> dict[str, str]:
    frame = pd.read_csv(repo.root / "data/dataset.csv", dtype=str)
    return dict(zip(frame["id"], frame["label"], strict=True))


def _probability_sums(repo: Repo) -> list[float]:
    """Predict the dataset itself; return the sum of each row's probabilities."""
    done = repo.inline("predict", "--input", "data/dataset.csv", "--output", "out.csv")
    assert done.code == 0, done.err
    answers = pd.read_csv(repo.root / "out.csv")
    (repo.root / "out.csv").unlink()
    probabilities = answers[[name for name in answers if str(name).startswith("probability")]]
    return [float(total) for total in probabilities.sum(axis=1)]


def test_an_empty_list_passes_and_says_that_nobody_is_on_it(small: Repo, workspace: Path) -> None:
    repo = without_dvc(small, workspace / "project", SHAPES["torch"])

    said = repo.stages()

    assert "forget: 0 rows on the list" in said
    assert "no shard is touched by the forget list" in said
    report = repo.report()
    assert report["verdict"] == "pass"
    assert report["exactness"]["touched"] == report["exactness"]["reran"] == 0
    assert report["membership"] is None


@pytest.mark.slow
def test_a_shard_that_loses_all_rows_leaves_the_ensemble_under_dvc(
    mlp: Repo, workspace: Path
) -> None:
    everyone = ids_at(mlp, "s002")
    mlp.forget(everyone)

    done = mlp.dvc("repro")

    assert stages_run(done.out) == ["forget", "train@s002", "aggregate", "verify"]
    assert "train@s002: 0 rows left, no model was trained" in done.err
    assert "aggregate: s002 lost all rows and left the ensemble" in done.err
    assert mlp.ok("verify", "--json").json["verdict"] == "pass"
    made = mlp.files("models")
    assert made == fresh_models(mlp, workspace / "room", everyone)
    assert [name for name in made if "s002" in name] == [
        "shard_models/s002/lineage.json",
        "shard_models/s002/model.json",
    ]
    assert sum(_probability_sums(mlp)) == pytest.approx(len(places(mlp)))


@pytest.mark.parametrize(
    "shape",
    [
        "torch",
        "logistic",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "bayes", "forest")),
    ],
)
def test_a_class_may_vanish_from_a_shard_and_then_all_classes_but_one(
    small: Repo, workspace: Path, shape: str
) -> None:
    repo = without_dvc(small, workspace / "project", SHAPES[shape])
    repo.stages()
    labels = _labels(repo)
    here = ids_at(repo, "s000")
    gone: list[str] = []
    for label in ("c0", "c1"):
        batch = [raw for raw in here if labels[raw] == label]
        gone += batch
        _forget(repo, batch)
        said = repo.stages()

        assert repo.report()["verdict"] == "pass"
        room = workspace / f"room-{label}"
        assert repo.files("models") == fresh_models(repo, room, gone)
        assert _probability_sums(repo) == pytest.approx([1.0] * len(labels))
    constant = SHAPES[shape].slices == 1 and shape != "torch"
    assert ("of one class, a constant model" in said) == constant


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shard_may_lose_all_rows(small: Repo, workspace: Path, shape: str) -> None:
    repo = without_dvc(small, workspace / "project", SHAPES[shape])
    repo.stages()
    _forget(repo, [*ids_at(repo, "s000"), *ids_at(repo, "s001")])

    said = repo.stages()

    assert "aggregate: 0 members" in said
    assert "aggregate: s000, s001 lost all rows and left the ensemble" in said
    report = repo.report()
    assert report["verdict"] == "pass"
    assert report["utility"]["accuracy"] is None
    refused = repo.inline("predict", "--input", "data/dataset.csv", "--output", "out.csv")
    assert refused.code == 2
    assert "every shard lost all its rows" in refused.err
    assert not (repo.root / "out.csv").exists()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_dataset_of_one_class_works(small: Repo, workspace: Path, shape: str) -> None:
    repo = without_dvc(small, workspace / "project", SHAPES[shape])
    path = repo.root / "data/dataset.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["label"] = "only"
    frame.to_csv(path, index=False)
    repo.set_params(dataset={"classes": ["only"]})

    repo.stages()
    _forget(repo, ids_at(repo, "s000")[:2])
    repo.stages()

    report = repo.report()
    assert report["verdict"] == "pass"
    assert report["utility"]["accuracy"] == 1.0
    assert _probability_sums(repo) == [1.0] * len(frame)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_shard_of_one_slice_works(small: Repo, workspace: Path, shape: str) -> None:
    plan = Shape(SHAPES[shape].train, 1, 1)
    repo = without_dvc(small, workspace / "project", plan)
    repo.stages()
    gone = ids_at(repo, "s000")[3:6]
    _forget(repo, gone)

    repo.stages()

    assert repo.report()["verdict"] == "pass"
    assert repo.report()["exactness"]["matched"] == 1
    assert repo.files("models") == fresh_models(repo, workspace / "room", gone)


@pytest.mark.slow
def test_one_shard_of_one_slice_and_one_class_work_under_dvc(workspace: Path) -> None:
    frame = make_frame(40, classes=1)
    options = ("--shards", "1", "--slices", "1", "--holdout", "0")
    repo = make_project(workspace / "project", frame, *options, train=MLP, key=KEY)
    repo.forget(["r0001"])

    done = repo.dvc("repro")

    assert stages_run(done.out) == [
        "recipe",
        "shard",
        "forget",
        "train@s000",
        "aggregate",
        "verify",
    ]
    assert "shard: 40 rows in 1 shard, 0 held out" in done.err
    assert "train@s000: 39 rows, trained" in done.err
    verdict = repo.ok("verify", "--json").json
    assert verdict["verdict"] == "pass"
    assert {verdict["utility"][name] for name in ("accuracy", "log_loss")} == {None}
    assert verdict["utility"]["rows"] == 0
    lineage = json.loads(repo.files("models")["shard_models/s000/lineage.json"])
    assert len(lineage["slices"]) == 1
