"""A regression goes through the real pipeline: every command that a request needs."""

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Repo, fresh_models, make_project
from tests.pipeline.conftest import KEY, ids_at
from tests.stages.regression import make_amounts


@pytest.mark.slow
def test_two_requests_canaries_and_an_erasure_on_a_regression(workspace: Path) -> None:
    frame = make_amounts(300).rename(columns={"amount": "label"})
    options = ("--task", "regression", "--shards", "2", "--slices", "2")
    train = {"model": "mlp", "options": {"hidden": [8]}, "epochs": 120}
    repo = make_project(workspace / "project", frame, *options, train=train, key=KEY)
    repo.inline("repro")
    repo.commit("first run")
    assert repo.inline("upgrade", "--dry-run").out.startswith("the project is up to date")
    first, second = ids_at(repo, "s000", range(2, 3))[:12], ids_at(repo, "s001")[:2]

    repo.forget(first)
    plan = repo.inline("plan", "--json").json
    assert plan["shards"] == ["s000"]
    done = repo.inline("repro", "--json").json
    assert done["rows_trained"] == plan["rows_to_retrain"]
    repo.commit("first request")
    _differs_by_the_rows_that_went(repo)
    repo.forget([*second, first[0]])
    assert repo.inline("repro").code == 0
    repo.commit("second request")

    gone = [*first, *second]
    assert repo.files("models") == fresh_models(repo, workspace / "room", gone)
    verified = repo.inline("verify")
    assert verified.code == 0, verified.out
    assert "utility: mean absolute error" in verified.out
    attacks = repo.inline("verify", "--json").json["membership"]["attacks"]
    assert attacks["squared_error"]["forget_rows"] == 14
    assert 0 <= attacks["squared_error"]["auc"] == attacks["absolute_error"]["auc"] <= 1
    assert repo.inline("report").code == 0
    audit = repo.inline("audit", "HEAD~1..HEAD", "--json").json
    assert audit["verdict"] == "consistent"

    _predicts(repo, frame, workspace / "out.csv")
    _has_canaries(repo, frame)
    _can_be_erased(repo, gone)


def _differs_by_the_rows_that_went(repo: Repo) -> None:
    """Compare the models before and after a request: what an adversary with both could learn."""
    answer = repo.inline("verify", "--against", "HEAD~1", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["rows"]["went"] == 12
    for target in ("final_model", "shard_models"):
        attacks = answer.json[target]["attacks"]
        assert attacks.keys() >= {"squared_error", "absolute_error"}
        for attack in attacks.values():
            low, high = attack["ci"]
            assert 0 <= low <= attack["auc"] <= high <= 1


def _has_canaries(repo: Repo, frame: pd.DataFrame) -> None:
    planted = repo.inline("canary", "--count", "30", "--json").json
    assert planted["planted"] == 30
    canaries = pd.read_csv(repo.root / "data/canaries.csv")
    low, high = frame["label"].quantile([0.02, 0.98])
    assert canaries["label"].between(low, high).all()
    assert canaries["label"].nunique() == 30
    assert repo.inline("repro").code == 0
    report = repo.inline("verify", "--json").json
    assert report["canaries"]["count"] == 30
    assert report["canaries"]["attack"] == "squared_error"
    assert 0 <= report["canaries"]["auc"] <= 1
    repo.commit("canaries")


def _predicts(repo: Repo, frame: pd.DataFrame, out: Path) -> None:
    source = repo.root / "data/dataset.csv"
    assert repo.inline("predict", "--input", str(source), "--output", str(out)).code == 0
    found = pd.read_csv(out)
    assert list(found.columns) == ["id", "prediction"]
    assert found["prediction"].corr(frame["label"]) > 0.5


def _can_be_erased(repo: Repo, gone: list[str]) -> None:
    source = repo.root / "data/dataset.csv"
    assert repo.inline("scan", "--json").code == 1, "the cache has the rows"
    erased = repo.inline("erase", "--owned", "--yes", "--json")
    assert erased.code in (0, 1), erased.err
    assert not set(pd.read_csv(source)["id"]) & set(gone)
    scan = repo.inline("scan", "--json").json
    assert scan["findings"] == []
    assert repo.inline("verify").code == 0
