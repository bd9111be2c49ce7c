"""Rows of erased people in a new version of the dataset, through the real pipeline."""

import json
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.ledger.suppressed import SUPPRESSED

from tests.conftest import Repo, clean_room, readable, token_of
from tests.pipeline.conftest import FORGOTTEN, stages_run


def dataset(repo: Repo) -> Path:
    return repo.root / str(repo.params()["dataset"]["path"])


@pytest.mark.slow
def test_rows_that_come_back_reach_no_shard_and_no_model(forgotten: Repo, workspace: Path) -> None:
    whole = dataset(forgotten).read_bytes()
    models = forgotten.files("models")
    forgotten.ok("erase", "--yes", "--reflog")
    forgotten.commit("erased")
    assert forgotten.files("models") == models
    (state,) = forgotten.inline("status", "--json").json["request_states"]
    assert state["state"] == "erased"
    # The entry in the log is no reason to run anything.
    assert stages_run(forgotten.dvc("repro").out) == []
    shards = forgotten.files("data/shards")

    # The rows come back, with a new one of somebody else.
    frame = pd.read_csv(BytesIO(whole), dtype=str, keep_default_na=False)
    frame.loc[len(frame)] = frame.iloc[1].to_dict() | {"id": "r9999"}
    frame.to_csv(dataset(forgotten), index=False)
    forgotten.dvc("add", "--quiet", str(dataset(forgotten)))
    done = forgotten.dvc("repro")

    trained = [name for name in stages_run(done.out) if name.startswith("train@")]
    assert len(trained) <= 1  # that of the new row, if it is not held out
    after = forgotten.files("data/shards")
    assert json.loads(after.pop("suppressed.json")) == {"rows": len(FORGOTTEN)}
    changed = {name for name in after if after[name] != shards[name]}
    assert len(changed) == 1
    tokens = [bytes.fromhex(token_of(forgotten, raw).removeprefix("u1_")) for raw in FORGOTTEN]
    texts = [token.hex().encode() for token in tokens]
    for folder in ("data/shards", "data/retain_set", "data/forget_set"):
        for path in (forgotten.root / folder).glob("*.parquet"):
            content = b"".join(readable(path))
            assert not any(one in content for one in (*tokens, *texts)), path
    # Byte for byte what a project makes that never held them.
    room = clean_room(forgotten, workspace / "room", FORGOTTEN)
    room.inline("repro", "-j", "1")
    assert forgotten.files("models") == room.files("models")

    assert forgotten.report()["suppressed"] == len(FORGOTTEN)
    assert "suppressed" not in json.loads((forgotten.root / "reports/verdict.json").read_text())
    status = forgotten.inline("status", "--json").json
    assert (status["dropped"], status["suppressed"]) == (len(FORGOTTEN), 0)
    # No model and no shard has them, but the dataset has, until the next erasure.
    assert [state["state"] for state in status["request_states"]] == ["verified"]

    # An ordinary request does not run `shard`.
    forgotten.forget(["r0001"])
    ran = stages_run(forgotten.dvc("repro").out)
    assert "forget" in ran
    assert "shard" not in ran


@pytest.mark.slow
def test_people_without_rows_are_suppressed(mlp: Repo) -> None:
    frame = pd.read_csv(dataset(mlp), dtype=str, keep_default_na=False)
    models = mlp.files("models")
    mlp.forget(["r8888"], "--suppress")
    assert (mlp.root / SUPPRESSED).read_text().split() == [token_of(mlp, "r8888")]
    ran = stages_run(mlp.dvc("repro").out)
    assert {name for name in ran if name.startswith("train")} == set()
    assert "shard" in ran

    frame.loc[len(frame)] = frame.iloc[1].to_dict() | {"id": "r8888"}
    frame.to_csv(dataset(mlp), index=False)
    mlp.ok("repro", "-j", "1")
    assert mlp.files("models") == models
    status = mlp.inline("status", "--json").json
    assert (status["dropped"], status["suppressed"], status["pending"]) == (1, 1, 0)
    assert "1 row of erased or suppressed people in the dataset" in mlp.inline("status").out
