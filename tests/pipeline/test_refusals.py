"""Requests after which a shard can no longer be trained are carried out."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Repo, drop_rows, fresh_models, make_project, start_repositories
from tests.pipeline.conftest import KEY, ids_at

CASES = Path(__file__).parent.parent / "cases"
QDA = {
    "model": "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis",
    "options": {"reg_param": 0.1},
}
REASON = "the estimator cannot be fitted on these rows"


@pytest.mark.slow
def test_a_last_batch_of_one_row_does_not_stop_a_request(workspace: Path) -> None:
    """65 rows in batches of 32, and a net with batch normalisation."""
    case = CASES / "batchnorm-last-batch"
    repo = start_repositories(workspace / "net")
    shutil.copy(case / "net.py", repo.root)
    repo.ok(
        *("init", ".", "--dataset", str(case / "b66.csv"), "--id", "rec", "--target", "label"),
        *("--model", "net.py:build", "--shards", "1", "--slices", "1", "--holdout", "0"),
        *("--epochs", "3"),
    )
    repo.ok("repro")
    before = repo.files("models")
    repo.ok("forget", "--id", "R00007")

    done = repo.ok("repro", "--json")

    assert (done.json["trained"], done.json["verdict"]) == (["s000"], "pass")
    assert repo.files("models") != before


def _with_few(root: Path) -> Repo:
    """Return a project of four shards, each with many rows of both classes."""
    draw = np.random.default_rng(5)
    label = np.arange(120) % 2
    frame = pd.DataFrame(
        {
            "id": [f"r{number:04d}" for number in range(120)],
            "x": (label * 2.0 + draw.normal(size=120)).round(4),
            "y": draw.normal(size=120).round(4),
            "label": np.where(label == 1, "yes", "no"),
        }
    )
    return make_project(root, frame, "--shards", "4", "--slices", "1", train=QDA, key=KEY)


def _all_but_one(repo: Repo, shard: str) -> list[str]:
    """Return the records of class yes in a shard, without one of them."""
    frame = pd.read_csv(repo.root / "data/dataset.csv", dtype=str).set_index("id")
    return [raw for raw in ids_at(repo, shard) if frame.loc[raw, "label"] == "yes"][1:]


@pytest.fixture(scope="module")
def _few(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return _with_few(tmp_path_factory.mktemp("few") / "few")


@pytest.fixture
def few(_few: Repo, workspace: Path) -> Repo:
    """Return a project that can be changed."""
    return _few.copy(workspace / "few")


@pytest.mark.slow
def test_a_shard_that_is_refused_is_constant_and_a_clean_room_agrees(
    few: Repo, workspace: Path
) -> None:
    few.stages("shard", "forget", "train@s000", "train@s001", "train@s002", "train@s003")
    gone = _all_but_one(few, "s001")
    few.forget(gone)

    said = few.stages()

    assert f"a constant model: {REASON}" in said
    assert few.files("models") == fresh_models(few, workspace / "room", gone)
    report = few.report()
    assert report["verdict"] == "pass"
    assert report["exactness"]["constant"] == {"s001": REASON}
    assert (report["exactness"]["reran"], report["exactness"]["matched"]) == (1, 1)
    verdict = (few.root / "reports/verdict.json").read_text(encoding="utf-8")
    assert REASON not in verdict
    assert "constant" not in verdict
    answers = few.inline("predict", "--input", "data/dataset.csv", "--output", "out.csv")
    assert answers.code == 0, answers.err


@pytest.mark.slow
def test_more_than_half_of_the_shards_is_an_error(few: Repo) -> None:
    few.stages("shard", "forget", "train@s000", "train@s001", "train@s002", "train@s003")
    for shard in ("s000", "s001"):
        few.forget(_all_but_one(few, shard))
    few.stages()
    assert few.report()["verdict"] == "pass", "half of them is no more than half"

    few.forget(_all_but_one(few, "s002"))
    few.stages("forget", "train@s002")
    before = few.files("models/final_model")
    done = few.inline("stage", "aggregate")

    assert done.code == 2
    assert "cannot be trained on the rows of 3 of 4 shards, more than half" in done.err
    assert few.files("models/final_model") == before


def test_the_only_shard_and_wrong_settings_are_an_error(few: Repo) -> None:
    few.set_params(train={"options": {"reg_param": 3.0}})
    few.stages("recipe", "shard", "forget")
    done = few.inline("stage", "train@s000")
    assert done.code == 2
    assert "cannot be trained" in done.err
    assert few.files("models/shard_models") == {}

    few.set_params(train=QDA, sharding={"shards": ["s000"]})
    drop_rows(few, _all_but_one(few, "s000"))
    few.stages("recipe", "shard", "forget")
    done = few.inline("stage", "train@s000")
    assert done.code == 2
    assert "cannot be trained" in done.err
    assert few.files("models/shard_models") == {}


@pytest.mark.slow
def test_repro_carries_the_request_out(few: Repo, workspace: Path) -> None:
    few.ok("repro")
    gone = _all_but_one(few, "s003")
    few.forget(gone)

    done = few.ok("repro", "--json")

    assert done.json["verdict"] == "pass"
    assert f"train@s003: {len(ids_at(few, 's003')) - len(gone)} rows, a constant" in done.err
    assert few.files("models") == fresh_models(few, workspace / "room", gone)
    for shard in ("s000", "s001"):
        few.forget(_all_but_one(few, shard))
    models = few.files("models/final_model")
    refused = few.unlearn("repro")
    assert refused.code == 2
    assert "more than half" in refused.err
    assert few.files("models/final_model") == models
