"""Exports of tables by real runs: they answer as `unlearn predict`, and old ones are named."""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.audit.exports import copies_file, read_exports
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project

from tests.conftest import Repo, make_frame, make_project, places
from tests.file_faults import Killed, fault_at
from tests.pipeline.conftest import ids_at
from tests.stages.export.documented import documented, undocumented
from website.console import ROOT, blocks

#: Each loads torch, onnx or MLflow; MLflow takes seconds.
pytestmark = pytest.mark.slow

#: More file operations than an export has.
_MOST = 2_000


@pytest.fixture(autouse=True)
def _nothing_is_sent() -> Iterator[None]:
    with mock.patch.dict(
        os.environ, MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_FILE_STORE="true"
    ):
        yield


def export(repo: Repo, *words: str) -> dict[str, Any]:
    """Return what an export says of itself."""
    said = repo.ok("export", *words, "--json")
    found: dict[str, Any] = json.loads(said.out)["export"]
    assert "number of rows" not in said.err
    return found


def predicted(repo: Repo, workspace: Path) -> pd.DataFrame:
    """Return what `unlearn predict` answers on the dataset."""
    output = workspace / "predictions.csv"
    repo.ok("predict", "--input", str(repo.root / "data/dataset.csv"), "--output", str(output))
    return pd.read_csv(output, dtype={"prediction": str})


def run_page(folder: Path, frame: pd.DataFrame) -> dict[str, Any]:
    """Run the blocks of Python of docs/handover.md in a folder; return the names they define."""
    names: dict[str, Any] = {"frame": frame}
    with contextlib.chdir(folder):
        for block in blocks((ROOT / "docs/handover.md").read_text(encoding="utf-8")):
            if block.kind == "python":
                exec(compile(block.text, "handover.md", "exec"), names)  # noqa: S102 - our page
    return names


def check_names(workspace: Path, facts: set[str]) -> None:
    """Check that the page has all names in the copies, and that none of them counts rows."""
    import onnx

    copies = [*(workspace / "hub").rglob("*.json"), *(workspace / "model/model").rglob("*.json")]
    assert len(copies) > 5
    for path in copies:
        assert undocumented(path.name, path.read_bytes()) == set(), path
        assert b'"rows"' not in path.read_bytes(), path
    assert facts == {each.key for each in onnx.load(workspace / "model.onnx").metadata_props}
    assert facts == {name for name in documented("model.onnx") if name.startswith("unlearn.")}


def test_exports_answer_as_predict_and_old_ones_are_named(mlp: Repo, workspace: Path) -> None:
    import mlflow
    from huggingface_hub import ModelCard

    features = list(mlp.params()["dataset"]["features"])
    frame = pd.read_csv(mlp.root / "data/dataset.csv", dtype={"city": str})[features]
    wanted = predicted(mlp, workspace)
    shares = wanted.filter(like="probability_").to_numpy()

    of_onnx = export(mlp, str(workspace / "model.onnx"), "--onnx")
    assert of_onnx["files"] == {"model.onnx": digest_file(workspace / "model.onnx")}
    record = export(mlp, "--mlflow", str(workspace / "model"))
    mlflow.set_tracking_uri(f"file:{workspace / 'runs'}")
    experiment = mlflow.create_experiment("x", artifact_location=str(workspace / "kept"))
    mlflow.set_experiment(experiment_id=experiment)

    names = run_page(workspace, frame)

    assert np.abs(names["probabilities"] - shares).max() < 1e-5
    assert list(names["labels"]) == wanted["prediction"].tolist()
    answers = names["model"].predict(frame)
    assert answers["prediction"].tolist() == wanted["prediction"].tolist()
    assert (answers.filter(like="probability_").to_numpy() == shares).all()
    facts = names["model"].metadata.metadata
    assert facts["unlearn.verdict"] == record["verdict"] == "pass"
    assert facts["unlearn.lock"] == record["generation"]["lock"]

    stored = mlflow.last_active_run()
    assert stored is not None
    assert stored.data.tags["unlearn.models"] == record["generation"]["models"]
    again = mlflow.pyfunc.load_model(f"{stored.info.artifact_uri}/model")
    assert again.predict(frame).equals(answers)

    record = export(mlp, "--hub", str(workspace / "hub"))
    card = ModelCard.load(workspace / "hub/README.md")
    card.validate = None  # it would ask the hub
    assert card.data.pipeline_tag == "tabular-classification"
    assert "license" not in card.data.to_dict()
    assert "| verdict | pass |" in card.text
    assert record["measurement"] is None
    assert record["generation"]["requests"] is record["generation"]["pending"] is None
    check_names(workspace, set(facts))
    onnx = (workspace / "hub/model.onnx").read_bytes()
    assert onnx == (workspace / "model.onnx").read_bytes(), "the same bytes in another process"

    mlp.ok("forget", "--ids", "-", stdin=ids_at(mlp, "s000")[0])
    refused = mlp.unlearn("export", "--onnx", str(workspace / "late.onnx"))
    assert (refused.code, (workspace / "late.onnx").exists()) == (2, False)
    assert "requests are pending" in refused.err
    mlp.ok("repro", "-j", "1")

    findings = mlp.unlearn("doctor").out
    for kind, place in (("onnx", "model.onnx"), ("mlflow", "model"), ("hub", "hub")):
        assert f"({kind})" in findings
        assert f"{workspace / place}, is older than the last request" in findings


def test_rows_that_a_copy_has_are_named_and_shards_without_any_are_not_counted(
    workspace: Path,
) -> None:
    neighbours = {"model": "sklearn.neighbors.KNeighborsClassifier", "options": {"n_neighbors": 3}}
    repo = make_project(
        workspace / "p", make_frame(120), "--shards", "2", "--slices", "1", train=neighbours
    )
    repo.set_params(aggregate={"rule": "size_weighted"})
    gone = [raw for raw, place in places(repo).items() if place.shard == "s001"]
    assert repo.inline("forget", "--ids", "-", stdin="\n".join(gone)).code == 0
    assert repo.inline("repro", "-j", "1").code == 0
    repo.commit("run")

    done = repo.inline("export", "--hub", str(workspace / "hub"), "--json")

    assert done.code == 0, done.err
    assert done.json["export"]["generation"]["members"] == 1
    assert [path.name for path in (workspace / "hub/model/members").iterdir()] == ["s000"]
    card = (workspace / "hub/README.md").read_text(encoding="utf-8")
    stored = "sklearn.neighbors.KNeighborsClassifier stores training rows inside the model"
    assert f"note: {stored}" in done.err
    assert f"- {stored}" in card
    assert "note: the copy has the number of rows of each shard" in done.err
    assert "the rule `size_weighted` takes the number of rows" in card


def test_a_refusal_is_not_noted(people: Repo, workspace: Path) -> None:
    refused = people.unlearn("export", "--mlflow", str(workspace / "pyfunc"), "--allow-fail")

    assert refused.code == 2
    assert "Python code or types of your own" in refused.err
    assert not (workspace / "pyfunc").exists()
    assert not copies_file(Project(people.root)).exists()


def check_left(repo: Repo, output: Path) -> None:
    """Check that all that an export left is on the list, and its file is whole."""
    notes = read_exports(Project(repo.root))
    listed = {Path(path) for note in notes for path in (note.where, note.half)}
    assert set(output.parent.iterdir()) <= listed
    if output.exists():
        files = [note.files for note in notes if note.where == str(output)][-1]
        assert files == {output.name: digest_file(output)}


def test_what_faults_and_kills_leave_is_listed(mlp: Repo, workspace: Path) -> None:
    out = workspace / "out"
    out.mkdir()

    def code_of(output: Path) -> int:
        return mlp.inline("export", "--onnx", str(output)).code

    with fault_at(_MOST, workspace, "kill") as seen:
        assert code_of(out / "whole.onnx") == 0
    assert seen.count > 3
    for number in range(1, seen.count + 1):
        output = out / f"at-{number}.onnx"
        with pytest.raises(Killed), fault_at(number, workspace, "kill"):
            code_of(output)
        check_left(mlp, output)
        for path in out.glob(".*"):
            path.unlink()  # as `doctor` says
    began = time.monotonic()
    assert code_of(out / "again.onnx") == 0
    length = time.monotonic() - began
    draw = random.Random("kills of onnx")  # noqa: S311 - moments, not secrets
    for number in range(2):
        output = out / f"killed-{number}.onnx"
        child = os.fork()
        if child == 0:
            os._exit(code_of(output))
        time.sleep(length * draw.uniform(0.5, 1.0))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        check_left(mlp, output)
    shutil.rmtree(out)
