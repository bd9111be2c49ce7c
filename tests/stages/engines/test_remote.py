"""A shard trained on another machine: refused before it is trained, or accepted by digest."""

import json
import platform
import shutil
import threading
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from unlearn.stages.config.train import TrainParams
from unlearn.stages.engines import remote
from unlearn.stages.engines.remote import (
    Job,
    Losses,
    OtherEnvironmentError,
    OtherFilesError,
    Result,
    accept,
    run_job,
    up_to_date,
)
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.training.lineage import read_lineage, sealed

from tests.stages.conftest import OTHER_KEY
from tests.stages.engines.conftest import OWN, Trainable


def as_text(value: Job | Result) -> str:
    return json.dumps(value.as_json())


def passed_on(job: Job) -> Job:
    return Job.of_json(json.loads(as_text(job)))


def returned(result: Result) -> Result:
    return Result.of_json(json.loads(as_text(result)))


@pytest.fixture
def job(plain: Trainable) -> Job:
    return passed_on(Job.of(plain.context, "s001"))


def test_a_job_and_its_result_go_through_json_and_give_the_models_bytes(
    plain: Trainable, job: Job
) -> None:
    result = returned(run_job(job))

    trained = accept(plain.context, job, result)

    assert (trained.shard, trained.first_slice, trained.slices) == ("s001", 1, 2)
    expected = {name: data for name, data in plain.models.items() if name.startswith("s001/")}
    assert plain.found() == expected
    assert sorted(result.files) == sorted(name.partition("/")[2] for name in expected)
    assert result.node == remote.node_name()


def test_neither_has_a_row_or_the_key(plain: Trainable, job: Job) -> None:
    texts = as_text(job) + as_text(run_job(job))

    assert plain.context.key.text not in texts
    for row in (plain.root / "data/dataset.csv").read_text("utf-8").splitlines()[1:]:
        assert row.partition(",")[0] not in texts  # its id


def test_a_second_run_of_a_job_trains_nothing(plain: Trainable, job: Job) -> None:
    first = run_job(job)
    second = run_job(job)

    assert (first.trained.first_slice, second.trained.first_slice) == (1, 3)
    assert first.files == second.files
    assert accept(plain.context, job, second).shard == "s001"


def test_a_node_of_another_environment_is_refused_before_it_trains(
    plain: Trainable, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version
    monkeypatch.setattr(
        "unlearn.stages.training.environment.version",
        lambda name: "0.0.7" if name == "scikit-learn" else real(name),
    )
    monkeypatch.setattr(platform, "node", lambda: "node-7")

    with pytest.raises(OtherEnvironmentError) as caught:
        run_job(job)

    installed = real("scikit-learn")
    assert f"scikit-learn is 0.0.7 instead of {installed}" in caught.value.message
    assert "node node-7" in caught.value.message
    assert "numpy" not in caught.value.message
    assert plain.found() == {}


@pytest.mark.parametrize(
    "name", ["params.yaml", "schema.yaml", "data/recipe.json", "data/retain_set/s001.parquet"]
)
def test_a_node_that_sees_another_file_is_refused_before_it_trains(
    plain: Trainable, job: Job, name: str
) -> None:
    with (plain.root / name).open("ab") as file:
        file.write(b"\n")

    with pytest.raises(OtherFilesError, match=name):
        run_job(job, patience=0)

    assert plain.found() == {}


def test_a_node_that_does_not_see_a_file_at_all_is_refused(plain: Trainable, job: Job) -> None:
    (plain.root / "data/retain_set/s001.parquet").unlink()

    with pytest.raises(OtherFilesError, match="s001.parquet"):
        run_job(job, patience=0)


def test_a_node_waits_for_files_that_it_does_not_see_yet(plain: Trainable, job: Job) -> None:
    path = plain.root / "data/retain_set/s001.parquet"
    late = path.with_suffix(".late")
    path.rename(late)
    timer = threading.Timer(0.5, lambda: late.rename(path))
    timer.start()

    assert run_job(job).trained.shard == "s001"
    timer.join()


def edit_weights(folder: Path) -> None:
    path = next(path for path in folder.iterdir() if path.name.startswith("model.s"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add_a_file(folder: Path) -> None:
    (folder / "more.bin").write_bytes(b"")


def remove_a_file(folder: Path) -> None:
    (folder / "model.json").unlink()


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("change", [edit_weights, add_a_file, remove_a_file, remove_all])
def test_a_model_that_was_changed_after_the_job_is_refused(
    plain: Trainable, job: Job, change: object
) -> None:
    result = run_job(job)
    assert callable(change)
    change(plain.root / "models/shard_models/s001")

    with pytest.raises(ToolError, match="the model of s001 from node .* has changed") as caught:
        accept(plain.context, job, result, patience=0)

    assert "nothing was recorded" in caught.value.message


def test_files_that_are_not_seen_yet_are_waited_for(plain: Trainable, job: Job) -> None:
    result = run_job(job)
    folder = plain.root / "models/shard_models/s001"
    late = plain.root / "late"
    folder.rename(late)
    timer = threading.Timer(0.5, lambda: late.rename(folder))
    timer.start()

    assert accept(plain.context, job, result).shard == "s001"
    timer.join()


def rewritten(plain: Trainable, result: Result, **changes: object) -> Result:
    """Return a result that fits a lineage that was changed, with the seal of another key."""
    folder = plain.root / "models/shard_models/s001"
    lineage = read_lineage(folder)
    assert lineage is not None
    forged = sealed(OTHER_KEY, replace(lineage, **changes))  # type: ignore[arg-type]
    (folder / "lineage.json").write_bytes(json_bytes(forged.as_json()))
    return replace(result, files=remote._digests(folder))  # noqa: SLF001 - what a forger computes


def test_a_model_with_the_seal_of_another_key_is_refused_whatever_the_result_says(
    plain: Trainable, job: Job
) -> None:
    result = rewritten(plain, run_job(job))

    with pytest.raises(ToolError, match="is not the one that was ordered: .*seal"):
        accept(plain.context, job, result, patience=0)


def test_a_model_of_older_rows_is_refused(plain: Trainable, job: Job) -> None:
    result = run_job(job)
    other = plain.context.project.retain_file("s001")
    shutil.copy(plain.context.project.retain_file("s002"), other)

    with pytest.raises(ToolError, match="it is of other rows or settings"):
        accept(plain.context, job, result, patience=0)


def test_a_model_of_another_environment_is_refused_even_if_its_node_said_nothing(
    plain: Trainable, job: Job
) -> None:
    ordered = replace(job, environment={**job.environment, "numpy": "0.0.7"})
    result = replace(run_job(job), job=ordered.digest)

    with pytest.raises(ToolError, match="it is of another environment"):
        accept(plain.context, ordered, result, patience=0)


def test_the_result_of_another_job_is_refused(plain: Trainable, job: Job) -> None:
    result = run_job(job)
    other = replace(job, reads={**job.reads, "params.yaml": "0" * 64})

    with pytest.raises(ToolError, match="another job"):
        accept(plain.context, other, result, patience=0)


def test_a_shard_is_up_to_date_only_with_its_own_rows_settings_and_environment(
    plain: Trainable, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert up_to_date(plain.context, "s001") is None
    run_job(job)
    found = up_to_date(plain.context, "s001")

    assert found is not None
    assert (found.first_slice, found.timing.rows) == (3, 0)
    assert up_to_date(plain.context, "s002") is None
    monkeypatch.setattr("unlearn.stages.training.environment.version", lambda _name: "0.0.7")
    assert up_to_date(plain.context, "s001") is None


def test_what_the_training_raises_is_raised_on_the_node(plain: Trainable) -> None:
    job = Job.of(plain.context, "s001")

    with pytest.raises(InputError, match="names no shard 's999'"):
        run_job(replace(job, shard="s999"))


def test_losses_are_counted_for_each_shard_and_the_last_one_names_shard_and_node() -> None:
    said: list[str] = []
    losses = Losses(said.append)
    losses.add("s001", "n1", "exit code 9")
    losses.add("s002", None, "exit code 9")
    losses.add("s001", "n2", "exit code 9")

    with pytest.raises(ToolError, match="s001 was lost 3 times, at last on node n3: exit code 1"):
        losses.add("s001", "n3", "exit code 1", "a hint")

    assert len(said) == 3
    assert "on node n1" in said[0]
    assert "on an unknown node" in said[1]


@pytest.mark.parametrize("name", ["net.py", "code/my.py", "backbone.safetensors"])
def test_a_node_needs_all_files_that_training_runs_or_reads(own: Trainable, name: str) -> None:
    freeze = {"weights": "backbone.safetensors", "sha256": "0" * 64}
    train = OWN | {"loss": "code/my.py:loss", "freeze": freeze}
    params = own.context.params
    params = params.model_copy(update={"train": TrainParams.model_validate(train)})
    (own.root / "code").mkdir()
    (own.root / "code/my.py").write_text("def loss(outputs, targets): ...\n")
    (own.root / "backbone.safetensors").write_bytes(b"weights")

    job = Job.of(replace(own.context, params=params), "s001")

    assert set(job.reads) > {"net.py", "code/my.py", "backbone.safetensors"}
    (own.root / name).write_bytes(b"of the node")
    with pytest.raises(OtherFilesError, match=name):
        run_job(passed_on(job), patience=0)
    assert own.found() == {}
