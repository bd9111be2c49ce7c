"""A rotation of the key in a real pipeline."""

from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models, key_of, token_of
from tests.pipeline.conftest import FORGOTTEN, stages_run


@pytest.mark.slow
def test_models_after_a_rotation_are_those_of_a_project_that_began_with_these_keys(
    forgotten: Repo, workspace: Path
) -> None:
    head = forgotten.git("rev-parse", "HEAD").strip()
    before = forgotten.files("models")
    forgotten.ok("rekey", "--yes")
    forgotten.commit("rotation")

    done = forgotten.dvc("repro")

    # Everybody on the list has rows in the dataset: none of them is trained on.
    shards = [f"train@s00{number}" for number in range(4)]
    assert stages_run(done.out) == ["recipe", "shard", "forget", *shards, "aggregate", "verify"]
    room = fresh_models(forgotten, workspace / "room", FORGOTTEN)
    after = forgotten.files("models")
    assert after == room
    assert not [
        name for name in after if name.endswith(".safetensors") and after[name] == before[name]
    ]
    assert key_of(forgotten).epoch == 2
    retained = b"".join(forgotten.files("data/retain_set").values())
    assert not any(bytes.fromhex(token_of(forgotten, raw)[3:]) in retained for raw in FORGOTTEN)
    forgotten.commit("run")
    assert forgotten.ok("verify", "--json").json["verdict"] == "pass"
    audit = forgotten.ok("audit", f"{head}..HEAD", "--rerun", "1", "--json").json
    assert (audit["verdict"], audit["forgotten"]) == ("consistent", 0)
    assert set(map(tuple, audit["reasons"].values())) == {("the key was rotated",)}

    # A request with the new key touches one shard, as always, and nothing is left to do after it.
    forgotten.forget(["r0033"])
    found = forgotten.ok("repro", "-j", "2", "--json").json
    assert len(found["trained"]) <= 1
    assert forgotten.files("models") == fresh_models(
        forgotten, workspace / "again", [*FORGOTTEN, "r0033"]
    )
    assert forgotten.dvc("status").out.startswith("Data and pipelines are up to date")
