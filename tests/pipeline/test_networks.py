"""Networks on pictures through the whole pipeline: clean rooms, backbones, other machines."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.stages.estimators.resnet import build_resnet
from unlearn.stages.reading.png import png_bytes
from unlearn.stages.training import slices
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import read_lineage

from tests.conftest import Repo, fresh_models, make_frame, make_project
from tests.pipeline.conftest import KEY, ids_at

SHAPE = (3, 8, 8)
RESNET: dict[str, Any] = {
    "model": "resnet",
    "options": {"width": 8, "norm": "batch"},
    "epochs": 2,
    "batch": 16,
    "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9},
}
BACKBONE = "backbone.safetensors"

LOSSES = """
import torch

def squares(outputs, targets):
    truth = torch.nn.functional.one_hot(targets, outputs.shape[1])
    return ((torch.softmax(outputs, dim=1) - truth) ** 2).sum(dim=1)
"""


def picture_frame(rows: int = 90) -> pd.DataFrame:
    """Return a table with a picture a row, whose bright corner tells the class."""
    frame = make_frame(rows, subjects=40)
    draw = np.random.default_rng(5)
    photos = []
    for label in frame["label"]:
        pixels = draw.integers(0, 120, SHAPE, dtype=np.uint8)
        pixels[int(label[1]), 2:6, 2:6] += 120
        content = base64.b64encode(png_bytes(pixels)).decode()
        photos.append(f"data:image/png;base64,{content}")
    return frame.assign(photo=photos)[["id", "person", "age", "photo", "label"]]


def picture_project(root: Path, slices: int, **train: Any) -> Repo:
    """Return a project on pictures in a CSV file."""
    frame = picture_frame()
    options = ("--shards", "2", "--slices", str(slices))
    plain = frame.drop(columns="photo")
    project = make_project(root, plain, *options, key=KEY, train=RESNET | train)
    path = project.params()["dataset"]["path"]
    frame.to_csv(project.root / path, index=False)
    project.dvc("add", "--quiet", path)
    features = {"photo": {"kind": "image", "shape": list(SHAPE)}, "age": "numeric"}
    project.set_params(dataset={"features": features})
    return project


def make_backbone(root: Path, *, seed: int = 3) -> dict[str, str]:
    """Write the trunk of a network; return the settings that freeze it."""
    torch.manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"photo": SHAPE, "columns": (1,)}
    whole = build_resnet(shapes, 3, **RESNET["options"]).state_dict()
    save_file({n: v for n, v in whole.items() if n.startswith("trunks.")}, root / BACKBONE)
    return {"weights": BACKBONE, "sha256": digest_of(root / BACKBONE)}


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


STAGES = ("recipe", "shard", "forget", "train@s000", "train@s001", "aggregate")


def run_again(project: Repo) -> None:
    """Run the stages that a request changes; DVC would not run `recipe`, which tries own code."""
    for name in STAGES[2:]:
        done = project.inline("stage", name)
        assert done.code == 0, done.err


CASES: dict[str, dict[str, Any]] = {
    "batch norm, augmentation and a schedule": {
        "schedule": {"name": "cosine", "warm_up": 0.2},
        "augment": {"crop": 1, "flip": True, "colour": 0.2, "cutout": 3},
    },
    "average, clip, class weights and mixup": {
        "schedule": {"name": "one_cycle"},
        "augment": {"mixup": 0.3},
        "average": 0.4,
        "clip": 0.5,
        "class_weight": "balanced",
        "label_smoothing": 0.1,
        "channels_last": True,
        "precision": "bfloat16",
    },
    "an own loss": {"loss": "losses.py:squares"},
    "a frozen backbone": {},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "slices"),
    [
        ("batch norm, augmentation and a schedule", 1),
        ("batch norm, augmentation and a schedule", 3),
        ("average, clip, class weights and mixup", 3),
        ("an own loss", 1),
        ("a frozen backbone", 3),
    ],
)
def test_two_requests_leave_the_bytes_of_a_clean_room(
    case: str, slices: int, workspace: Path
) -> None:
    project = picture_project(workspace / "project", slices, **CASES[case])
    if case == "a frozen backbone":
        project.set_params(train={"freeze": make_backbone(project.root)})
        (project.root / "dvc.yaml").write_bytes(render_pipeline(made_with=BACKBONE))
    if case == "an own loss":
        (project.root / "losses.py").write_text(LOSSES, encoding="utf-8")
        (project.root / "dvc.yaml").write_bytes(render_pipeline(made_with="losses.py"))
    project.stages(*STAGES)
    before = project.files("models")
    inside = ids_at(project, "s000")
    frame = picture_frame().set_index("id")
    one = inside[-1]
    person = next(who for who in frame.loc[inside, "person"] if who != frame.loc[one, "person"])

    assert project.inline("forget", "--subjects", "-", stdin=f"{person}\n").code == 0
    run_again(project)
    project.forget([one])
    run_again(project)

    made = project.files("models")
    assert made != before
    assert made == fresh_models(project, workspace / "room", [one], [person], STAGES)
    assert sum("/checkpoints/" in name for name in made) == 2 * (slices - 1)
    if case == "a frozen backbone":
        head = load_file(project.root / "models/shard_models/s000/model.safetensors")
        assert set(head) == {"head.weight", "head.bias"}
        pinned = project.params()["train"]["freeze"]["sha256"]
        assert digest_of(project.root / BACKBONE) == pinned
        assert BACKBONE not in "".join(made)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A project whose head is trained on a frozen backbone, run once."""
    project = picture_project(tmp_path_factory.mktemp("frozen") / "project", 1)
    project.set_params(train={"freeze": make_backbone(project.root)})
    (project.root / "dvc.yaml").write_bytes(render_pipeline(made_with=BACKBONE))
    project.stages()
    return project


def predicted(project: Repo, *options: str) -> pd.DataFrame:
    source = project.root.parent / "rows.csv"
    picture_frame(6).to_csv(source, index=False)
    answers = project.root.parent / "answers.csv"
    done = project.inline("predict", "--input", str(source), "--output", str(answers), *options)
    assert done.code == 0, done.err
    return pd.read_csv(answers)


def test_predictions_need_the_pinned_backbone(frozen: Repo, workspace: Path) -> None:
    project = frozen.copy(workspace / "project")
    found = predicted(project)
    assert len(found) == 6

    moved = workspace / "moved.safetensors"
    (project.root / BACKBONE).rename(moved)
    source, answers = str(workspace / "rows.csv"), str(workspace / "none.csv")
    asked = ("predict", "--input", source, "--output", answers)
    missing = project.inline(*asked)
    assert missing.code == 2
    assert f"{BACKBONE} does not exist" in missing.err
    assert not (workspace / "none.csv").exists()
    assert predicted(project, "--base", str(moved)).equals(found)

    make_backbone(project.root, seed=4)
    other = project.inline(*asked)
    assert other.code == 2
    assert "another file than params.yaml pins" in other.err
    assert not (workspace / "none.csv").exists()


def test_training_needs_the_pinned_backbone_as_a_dependency(frozen: Repo, workspace: Path) -> None:
    project = frozen.copy(workspace / "project")
    before = project.files("models")
    make_backbone(project.root, seed=4)
    done = project.inline("stage", "recipe")
    assert done.code == 2
    assert "another file than params.yaml pins" in done.err
    assert len(done.err.strip().splitlines()) == 2
    assert project.files("models") == before

    (project.root / "dvc.yaml").write_bytes(render_pipeline())
    done = project.inline("repro", "-j", "1")
    assert done.code == 2
    assert f"params.yaml names {BACKBONE}, which dvc.yaml does not list" in done.err


def test_another_device_makes_the_check_inconclusive_and_names_both(
    frozen: Repo, workspace: Path
) -> None:
    project = frozen.copy(workspace / "project")
    there = {"gpu": "NVIDIA H100 80GB HBM3"}
    project.forget(ids_at(project, "s000")[:1])
    with mock.patch.object(slices, "environment", lambda train: environment(train) | there):
        project.stages("forget", "train@s000", "train@s001", "aggregate")
    lineage = read_lineage(project.root / "models/shard_models/s000")
    assert lineage is not None
    assert lineage.environment["gpu"] == there["gpu"]

    project.inline("stage", "verify")

    verdict = json.loads((project.root / "reports/verdict.json").read_bytes())
    assert verdict["verdict"] == "inconclusive", verdict
    report = (project.root / "reports/verify.json").read_text(encoding="utf-8")
    assert "gpu: none here, NVIDIA H100 80GB HBM3 there" in report


@pytest.mark.slow
def test_dvc_and_several_processes_make_the_same_bytes(workspace: Path) -> None:
    settings = CASES["batch norm, augmentation and a schedule"]
    project = picture_project(workspace / "project", 3, **settings)
    project.ok("repro", "-j", "2")
    one = ids_at(project, "s000")[-1]
    project.forget([one])

    project.ok("repro", "-j", "1")

    made = project.files("models")
    assert made == fresh_models(project, workspace / "room", [one], (), STAGES)
    assert project.ok("verify", "--json").json["verdict"] == "pass"
