"""Canaries go through the real pipeline, and can be forgotten like any record."""

from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.tokens import Key

from tests.conftest import Repo, clean_room, places, token_of, without_log
from tests.pipeline.conftest import KEY, changed, stages_run

PATH = "data/canaries.csv"


def _room_with_canaries(repo: Repo, target: Path, gone: str) -> Repo:
    """Return a project that never held one of the canaries."""
    room = clean_room(repo, target, [])
    table = pd.read_csv(repo.root / PATH, dtype=str, keep_default_na=False)
    table[table["id"] != gone].to_csv(room.root / PATH, index=False)
    return room


@pytest.mark.slow
def test_planted_forgotten_and_the_bytes_of_a_clean_room(mlp: Repo, workspace: Path) -> None:
    where = places(mlp)
    lock = mlp.lock()
    retained, models = mlp.files("data/retain_set"), mlp.files("models/shard_models")

    planted = mlp.ok("canary", "--count", "5", "--json").json

    assert planted["shards"] == ["s000", "s002"]
    training = [f"train@{shard}" for shard in planted["shards"]]
    done = mlp.dvc("repro")
    assert stages_run(done.out) == ["shard", "forget", *training, "aggregate", "verify"]
    assert mlp.ok("verify", "--json").json["verdict"] == "pass"
    # Nobody else moved: only the shards that got a canary have other rows and other models.
    assert where == places(mlp)
    assert changed(retained, mlp.files("data/retain_set")) == {"s000.parquet", "s002.parquet"}
    assert {
        name.partition("/")[0] for name in changed(models, mlp.files("models/shard_models"))
    } == {"s000", "s002"}
    for shard in ("train@s001", "train@s003"):
        assert mlp.lock()[shard] == lock[shard]
    audit = mlp.ok("audit", "--json").json
    assert audit["reasons"] == {stage: ["the planted canaries changed"] for stage in training}
    mlp.commit("canaries")

    ids = pd.read_csv(mlp.root / PATH, dtype=str)["id"].tolist()
    heads = [raw for raw in ids if coin(Key(KEY), token_of(mlp, raw))]
    asked = mlp.ok("forget", "--id", heads[0], "--json").json
    assert asked["added"] == 1
    repro = mlp.ok("repro", "-j", "1", "--json").json
    assert repro["trained"] == asked["shards"]
    assert len(asked["shards"]) == 1
    assert mlp.ok("verify", "--json").json["verdict"] == "pass"
    assert mlp.ok("audit", "--json").json["verdict"] == "consistent"

    room = _room_with_canaries(mlp, workspace / "room", heads[0])
    room.dvc("repro", "--quiet", "aggregate")
    assert mlp.files("models") == room.files("models")
    mlp.commit("forgotten")

    # One that its coin left out is on the list, and retrains nothing.
    tail = next(raw for raw in ids if raw not in heads)
    made = mlp.files("models")
    assert mlp.ok("forget", "--id", tail, "--json").json["shards"] == []
    assert stages_run(mlp.dvc("repro").out) == ["forget", "verify"]
    assert mlp.files("models") == made
    assert mlp.ok("verify", "--json").json["verdict"] == "pass"
    assert mlp.ok("audit", "--json").json["verdict"] == "consistent"
    mlp.commit("left out")

    # What git may have of all this is pointers, settings and tokens.
    tracked = mlp.git("ls-files", "data").split()
    assert sorted(without_log(tracked)) == [
        f"{PATH}.dvc",
        "data/dataset.csv.dvc",
        "data/forget_list.txt",
    ]
    listed = mlp.git("ls-files", "-z").split("\0")
    content = b"".join((mlp.root / name).read_bytes() for name in listed if name)
    assert b"canary-0" not in content
