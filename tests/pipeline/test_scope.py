"""A change reaches its own shard and what is downstream, and nothing else."""

import re

import pytest

from tests.conftest import Repo, drop_rows
from tests.pipeline.conftest import FORGOTTEN, changed, ids_at, stages_run

#: What may differ once a row of a training shard has gone.
_DOWNSTREAM = (
    r"data/(retain_set|forget_set)/{shard}\.parquet|data/forget_set/applied\.json"
    r"|models/shard_models/{shard}/.+|models/final_model/members/{shard}/.+"
    r"|models/final_model/ensemble\.json|reports/(verdict|verify|metrics)\.json|dvc\.lock"
)


def _outside(names: set[str], pattern: str) -> set[str]:
    return {name for name in names if re.fullmatch(pattern, name) is None}


@pytest.mark.slow
def test_a_forgotten_record_reruns_its_shard_and_changes_no_other_file(mlp: Repo) -> None:
    mlp.forget(ids_at(mlp, "s001", range(4, 5))[:1])
    before = mlp.snapshot()

    done = mlp.dvc("repro")

    assert stages_run(done.out) == ["forget", "train@s001", "aggregate", "verify"]
    assert "train@s001: 34 rows, resumed at slice 4 of 5" in done.err
    differing = changed(before, mlp.snapshot())
    assert _outside(differing, _DOWNSTREAM.format(shard="s001")) == set()
    assert {
        "data/retain_set/s001.parquet",
        "data/forget_set/s001.parquet",
        "models/shard_models/s001/model.safetensors",
        "models/final_model/members/s001/model.safetensors",
        "reports/metrics.json",
        "reports/verdict.json",
        "reports/verify.json",
    } <= differing
    # Slices before the record's never saw it.
    kept = [f"models/shard_models/s001/checkpoints/slice-00{n}.safetensors" for n in (1, 2, 3)]
    assert not differing.intersection(kept)


@pytest.mark.slow
def test_a_forgotten_record_of_the_holdout_retrains_nothing(mlp: Repo) -> None:
    mlp.forget(ids_at(mlp, "holdout")[:1])
    before = mlp.snapshot()

    done = mlp.dvc("repro")

    assert stages_run(done.out) == ["forget", "verify"]
    assert changed(before, mlp.snapshot()) == {
        "data/retain_set/holdout.parquet",
        "data/forget_set/holdout.parquet",
        "data/forget_set/applied.json",
        "reports/metrics.json",
        "reports/verdict.json",
        "reports/verify.json",
        "dvc.lock",
    }
    assert mlp.ok("verify", "--json").json["verdict"] == "pass"


@pytest.mark.slow
def test_dropping_forgotten_rows_from_the_dataset_retrains_nothing(forgotten: Repo) -> None:
    models = forgotten.files("models")
    retained = forgotten.files("data/retain_set")
    drop_rows(forgotten, FORGOTTEN)

    done = forgotten.dvc("repro")

    assert stages_run(done.out) == ["shard", "forget", "verify"]
    assert forgotten.files("models") == models
    assert forgotten.files("data/retain_set") == retained
    assert list(forgotten.files("data/forget_set")) == ["applied.json"]
    verdict = forgotten.ok("verify", "--json").json
    assert verdict["verdict"] == "pass"
    assert verdict["membership"] is None
    assert verdict["exactness"]["matched"] == verdict["exactness"]["reran"] == 1
    status = forgotten.ok("status", "--json").json
    assert (status["pending"], status["applied"], status["up_to_date"]) == (0, 4, True)


@pytest.mark.slow
def test_dropping_a_record_from_the_dataset_reruns_its_shard_and_no_other(mlp: Repo) -> None:
    drop_rows(mlp, ids_at(mlp, "s002", range(5, 6))[:1])
    before = mlp.snapshot()

    done = mlp.dvc("repro")

    assert stages_run(done.out) == ["shard", "forget", "train@s002", "aggregate", "verify"]
    differing = changed(before, mlp.snapshot())
    pattern = rf"data/shards/s002\.parquet|{_DOWNSTREAM.format(shard='s002')}"
    assert _outside(differing, pattern) == set()
    assert "models/shard_models/s002/model.safetensors" in differing
