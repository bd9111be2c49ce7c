"""Whatever persists is a cache only: without it, or with a damaged one, the same bytes come out."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models
from tests.pipeline.conftest import FORGOTTEN, ids_at


def test_a_repeated_request_changes_no_byte(forgotten: Repo) -> None:
    before = forgotten.snapshot()

    again = forgotten.forget(FORGOTTEN, "--json").json
    forgotten.ok("repro", "-j", "1")
    forgotten.dvc("repro")

    assert (again["added"], again["already"], again["shards"]) == (0, len(FORGOTTEN), [])
    assert forgotten.snapshot() == before


@pytest.mark.slow
def test_without_any_persisted_out_the_same_bytes_come_out(forgotten: Repo) -> None:
    before = forgotten.snapshot()
    # DVC's copies as well: nothing is left to bring anything back from.
    models = ("models/shard_models", "models/final_model")
    for folder in ("data/retain_set", "data/forget_set", *models, ".dvc/cache"):
        shutil.rmtree(forgotten.root / folder)

    forgotten.ok("repro", "-j", "1")

    assert forgotten.snapshot() == before


@pytest.mark.slow
def test_deleted_and_damaged_checkpoints_change_no_byte(forgotten: Repo, workspace: Path) -> None:
    models = forgotten.root / "models/shard_models"
    shutil.rmtree(models / "s000/checkpoints")
    cut = models / "s001/checkpoints/slice-002.safetensors"
    cut.write_bytes(cut.read_bytes()[:-4])
    shutil.copy2(
        models / "s003/checkpoints/slice-002.safetensors",
        models / "s002/checkpoints/slice-002.safetensors",
    )
    more = [ids_at(forgotten, shard, range(4, 5))[0] for shard in ("s000", "s001", "s002", "s003")]
    forgotten.forget(more)

    done = forgotten.ok("repro", "-j", "1")

    said = [line for line in done.err.splitlines() if line.startswith("train@")]
    # Kept ones are gone on from, up to the damage.
    assert [
        next(part for part in ("from slice 1", "at slice 2", "at slice 4") if part in line)
        for line in sorted(said)
    ] == ["from slice 1", "at slice 2", "at slice 2", "at slice 4"]
    expected = fresh_models(forgotten, workspace / "room", [*FORGOTTEN, *more])
    assert forgotten.files("models") == expected
