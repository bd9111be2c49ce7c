"""Another number of shards or slices gives the files of a fresh pipeline, and nothing stale."""

from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models
from tests.pipeline.conftest import FORGOTTEN


def _shards(count: int) -> dict[str, list[str]]:
    return {"shards": [f"s{number:03d}" for number in range(count)]}


def _parquets(repo: Repo, folder: str) -> set[str]:
    return {name for name in repo.files(folder) if name.endswith(".parquet")}


@pytest.mark.slow
def test_fewer_shards_and_slices_and_back_leave_nothing_stale(
    forgotten: Repo, workspace: Path
) -> None:
    before = forgotten.snapshot()

    forgotten.set_params(sharding=_shards(2) | {"slices": 3})
    forgotten.ok("repro", "-j", "1")

    made = forgotten.files("models")
    assert made == fresh_models(forgotten, workspace / "two", FORGOTTEN)
    assert sum("/checkpoints/" in name for name in made) == 2 * 2
    files = {"s000.parquet", "s001.parquet", "holdout.parquet"}
    assert _parquets(forgotten, "data/shards") == _parquets(forgotten, "data/retain_set") == files
    assert _parquets(forgotten, "data/forget_set") <= files
    assert forgotten.ok("verify", "--json").json["verdict"] == "pass"

    forgotten.set_params(sharding=_shards(4) | {"slices": 5})
    forgotten.ok("repro", "-j", "1")

    after = forgotten.snapshot()
    assert {name: after[name] for name in after if name != "params.yaml"} == {
        name: before[name] for name in before if name != "params.yaml"
    }


@pytest.mark.slow
def test_fewer_slices_leave_no_checkpoint_behind(forgotten: Repo, workspace: Path) -> None:
    forgotten.set_params(sharding={"slices": 3})

    forgotten.dvc("repro", "--quiet")

    made = forgotten.files("models")
    assert made == fresh_models(forgotten, workspace / "three", FORGOTTEN)
    assert sum("/checkpoints/" in name for name in made) == 4 * 2
    assert forgotten.ok("verify", "--json").json["verdict"] == "pass"
