"""Pictures, trained by a loop and an augmentation of the user's own, with real DVC."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.reading.png import png_bytes

from tests.conftest import Repo, fresh_models, make_frame, make_project
from tests.pipeline.conftest import KEY, ids_at
from tests.stages.training.own_loops import loop

#: The stages themselves are tested faster, in one process.
pytestmark = pytest.mark.slow

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, shapes, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(shapes["photo"][0], 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Dropout(0.1), nn.Flatten(),
        )
        self.head = nn.Linear(36 + shapes["columns"][0], classes)

    def forward(self, parts):
        return self.head(torch.cat([self.body(parts["photo"]), parts["columns"]], 1))


def build(shapes, classes):
    return Net(shapes, classes)
"""

AUGMENT = """\
def augment(picture, random):
    return picture[:, ::-1] if random.random() < 0.5 else picture
"""

TRAIN = {
    "model": "net.py:build",
    "options": {},
    "epochs": 2,
    "batch": 8,
    "loop": "my.py:train_slice",
    "augment": {"crop": 1, "flip": True, "colour": 0.2, "cutout": 2, "own": "aug.py:augment"},
}


def add_pictures(path: Path) -> None:
    """Give each row of a table a picture of its own, whose brightness tells the class."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    draw = np.random.default_rng(5)
    pictures = []
    for label in frame["label"]:
        pixels = draw.integers(0, 90, (3, 8, 8)) + 40 * int(label[1:])
        png = png_bytes(pixels.astype(np.uint8))
        pictures.append(f"data:image/png;base64,{base64.b64encode(png).decode()}")
    frame.assign(photo=pictures).to_csv(path, index=False)


def use_own_training(repo: Repo) -> None:
    """Give a project pictures, and the files that train on them."""
    for name, text in (("net.py", NET), ("my.py", loop()), ("aug.py", AUGMENT)):
        (repo.root / name).write_text(text, encoding="utf-8")
    params = repo.params()
    photo = {"photo": {"kind": "image", "shape": [3, 8, 8]}}
    features = params["dataset"]["features"] | photo
    add_pictures(repo.root / params["dataset"]["path"])
    repo.set_params(train=TRAIN, dataset={"features": features})
    repo.dvc("add", "--quiet", params["dataset"]["path"])
    repo.commit("pictures")


def depend_on_files(repo: Repo) -> None:
    """Name the own files in dvc.yaml, as `repro` asks for."""
    pipeline = repo.root / "dvc.yaml"
    schema = "      - schema.yaml\n"
    files = "".join(f"      - {name}\n" for name in ("net.py", "my.py", "aug.py"))
    text = pipeline.read_text(encoding="utf-8").replace(schema, schema + files, 1)
    pipeline.write_text(text, encoding="utf-8")
    repo.commit("own files")


def test_requests_by_record_and_subject_leave_the_bytes_of_a_clean_room(workspace: Path) -> None:
    frame = make_frame(90, subjects=45)
    options = ("--shards", "2", "--slices", "3")
    project = make_project(workspace / "project", frame, *options, key=KEY)
    use_own_training(project)
    missing = project.unlearn("repro", "-j", "1")
    assert missing.code == 2
    assert "dvc.yaml does not list as a dependency of recipe" in missing.err
    depend_on_files(project)
    project.ok("repro", "-j", "1")
    before = project.files("models")

    inside = ids_at(project, "s000")
    people = frame.set_index("id")["person"]
    person = people[inside[0]]
    record = next(raw for raw in inside if people[raw] != person)
    project.ok("forget", "--subjects", "-", stdin=person)
    project.ok("repro", "-j", "1")
    project.forget([record])
    project.ok("repro", "-j", "1")

    made = project.files("models")
    assert made != before
    assert made == fresh_models(project, workspace / "room", [record], [person])
    assert sum("/checkpoints/" in name for name in made) == 2 * 2
    # Prediction needs the network's file alone.
    assert {name for name in made if name.endswith(".py")} == {"final_model/net.py"}
    assert project.ok("verify", "--json").json["verdict"] == "pass"


def test_another_loop_is_another_model(workspace: Path) -> None:
    project = make_project(workspace / "project", make_frame(60), "--shards", "1", key=KEY)
    use_own_training(project)
    depend_on_files(project)
    project.ok("repro", "-j", "1")
    before = project.files("models")

    (project.root / "my.py").write_text(loop(begin="factor = 2.0"), encoding="utf-8")
    project.ok("repro", "-j", "1")
    between = project.files("models")
    assert between != before
    clock = loop(begin="factor = time.time() % 1")
    (project.root / "my.py").write_text(clock, encoding="utf-8")
    refused = project.unlearn("repro", "-j", "1")
    assert refused.code == 2
    assert "my.py:train_slice gives two states after slice 1" in refused.err
    assert project.files("models") == between


def test_methods_change_a_model_of_an_own_loop(workspace: Path) -> None:
    options = ("--template", "posthoc", "--holdout", "0.3")
    project = make_project(workspace / "project", make_frame(120), *options, key=KEY)
    methods = ["retrain", "finetune", "gradient_ascent"]
    project.set_params(unlearn={"methods": methods, "deploy": "retrain"})
    use_own_training(project)
    depend_on_files(project)
    project.ok("repro")
    before = project.files("models/final_model")
    project.forget(ids_at(project, "s000")[:10])
    project.ok("repro")

    found = project.ok("verify", "--json").json
    assert set(found["methods"]) == {*methods, "young"}
    assert found["verdict"] == "pass"
    assert project.files("models/final_model") != before
    networks = {
        path.read_bytes() for path in (project.root / "models").rglob("*/model.safetensors")
    }
    # Of each method, and of the original; the final model is the one of `retrain`.
    assert len(networks) > len(methods)
