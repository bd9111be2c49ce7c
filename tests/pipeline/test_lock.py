"""`unlearn repro` and `dvc repro` are one pipeline: one dvc.lock, and nothing foreign in it."""

from pathlib import Path

import pytest
from unlearn.stages.context import load_params
from unlearn.stages.dvc.session import Session
from unlearn.stages.errors import ToolError
from unlearn.stages.project.paths import Project

from tests.conftest import Done, Repo, fresh_models, take_log
from tests.pipeline.conftest import (
    FORGOTTEN,
    change_a_weight,
    ids_at,
    stages_run,
    wait_for,
)

WEIGHTS = "model.safetensors"


def _says_nothing_ran(done: Done) -> bool:
    stages = ("shard:", "forget:", "train@", "aggregate:", "verify:")
    return not any(line.startswith(stages) for line in done.err.splitlines())


@pytest.mark.slow
def test_both_ways_to_run_write_the_same_bytes_on_a_first_run(new_mlp: Repo, mlp: Repo) -> None:
    done = new_mlp.dvc("repro")

    training = [f"train@s00{number}" for number in range(4)]
    assert stages_run(done.out) == ["recipe", "shard", "forget", *training, "aggregate", "verify"]
    by_dvc, by_unlearn = new_mlp.snapshot(), mlp.snapshot()
    assert by_dvc["dvc.lock"] == by_unlearn["dvc.lock"]
    assert by_dvc == by_unlearn

    # Whichever ran, neither finds anything to do afterwards.
    again = new_mlp.ok("repro", "-j", "2", "--json")
    assert again.json["trained"] == []
    assert _says_nothing_ran(again)
    assert stages_run(mlp.dvc("repro").out) == []
    assert new_mlp.snapshot() == mlp.snapshot() == by_dvc


@pytest.mark.slow
def test_both_ways_to_run_write_the_same_bytes_after_a_request(mlp: Repo, forgotten: Repo) -> None:
    mlp.forget(FORGOTTEN)
    # The time of a request is the one thing that differs.
    take_log(mlp, forgotten)

    done = mlp.dvc("repro")

    assert stages_run(done.out) == ["forget", "train@s001", "train@s003", "aggregate", "verify"]
    by_dvc, by_unlearn = mlp.snapshot(), forgotten.snapshot()
    assert by_dvc["dvc.lock"] == by_unlearn["dvc.lock"]
    assert by_dvc == by_unlearn

    assert stages_run(forgotten.dvc("repro").out) == []
    again = mlp.ok("repro", "-j", "2", "--json")
    assert again.json["trained"] == []
    assert _says_nothing_ran(again)


@pytest.mark.slow
def test_an_edited_model_of_an_untouched_shard_is_put_right(mlp: Repo, workspace: Path) -> None:
    gone = ids_at(mlp, "s001", range(3, 4))[:1]
    mlp.forget(gone)
    change_a_weight(mlp.root / "models/shard_models/s000" / WEIGHTS)
    before = mlp.lock()["train@s000"]

    done = mlp.ok("repro", "-j", "1", "--json")

    assert done.json["trained"] == ["s000", "s001"]
    assert mlp.lock()["train@s000"] == before
    assert mlp.files("models") == fresh_models(mlp, workspace / "room", gone)


@pytest.mark.slow
def test_a_model_edited_while_others_train_is_never_recorded(people: Repo, workspace: Path) -> None:
    gone = [raw for raw in ids_at(people, "s001") if raw.endswith("7")]
    people.forget(gone)
    before = {name: people.lock()[name] for name in ("train@s000", "train@s001", "train@s002")}
    private = people.root / ".unlearn"
    (private / "hold").touch()
    run = people.start("repro", "-j", "1")
    wait_for((private / "held").exists)
    change_a_weight(people.root / "models/shard_models/s002" / WEIGHTS)
    (private / "hold").unlink()
    _, said = run.communicate()

    assert run.returncode == 0, said
    # The edited model was trained again, and dvc.lock has the entry of the model before the edit.
    assert {name: people.lock()[name] for name in ("train@s000", "train@s002")} == {
        name: before[name] for name in ("train@s000", "train@s002")
    }
    assert people.lock()["train@s001"] != before["train@s001"]
    assert people.files("models") == fresh_models(people, workspace / "room", gone)
    assert stages_run(people.dvc("repro").out) == []


@pytest.mark.parametrize("by_commands", [False, True])
def test_what_did_not_run_is_never_recorded(mlp: Repo, by_commands: bool) -> None:
    """`dvc commit` would take the edited model for the one that the stage wrote."""
    change_a_weight(mlp.root / "models/shard_models/s002" / WEIGHTS)
    before = (mlp.root / "dvc.lock").read_bytes()
    project = Project(mlp.root)

    with Session(project) as dvc:
        if by_commands:
            dvc.end()
        with pytest.raises(ToolError, match=r"^train@s002 changed while other stages ran"):
            dvc.record(load_params(project.params), {"aggregate", "verify"})

    assert (mlp.root / "dvc.lock").read_bytes() == before
