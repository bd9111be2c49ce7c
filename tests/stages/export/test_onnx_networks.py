"""Networks as ONNX, through torch.onnx: of numbers, of pictures, and of both."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.export.made_up_rows import made_up_rows
from unlearn.stages.export.onnx_model import onnx_file
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble
from unlearn.stages.project.paths import Project

from tests.stages.conftest import KEY, make_params, run_stages
from tests.stages.export.test_onnx_model import check

#: Torch's exporter is imported in seconds.
pytestmark = pytest.mark.slow

ROWS, SIDE = 30, 8
PHOTOS: npt.NDArray[np.uint8] = np.random.default_rng(1).integers(
    0, 256, (ROWS, SIDE, SIDE, 3), np.uint8
)
NUMBERS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(inputs, 6), nn.BatchNorm1d(6), nn.SiLU())
        self.last = nn.Linear(12, classes)

    def forward(self, rows):
        hidden = self.first(rows)
        return self.last(torch.cat([hidden, hidden * hidden], dim=1))


def build(inputs, classes):
    return Net(inputs, classes)


class Odd(Net):
    def forward(self, rows):
        return super().forward(rows) * (1.0 if float(rows.sum()) > 0 else 2.0)


def odd(inputs, classes):
    return Odd(inputs, classes)
"""
BOTH = """
from torch import nn


class Both(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.pixels = nn.Conv2d(3, classes, 8)
        self.columns = nn.Linear(shape["columns"][0], classes)

    def forward(self, rows):
        return self.pixels(rows["photo"]).flatten(1) + self.columns(rows["columns"])


def build(shape, classes):
    return Both(shape, classes)
"""


def trained(root: Path, train: dict[str, Any], features: dict[str, Any], code: str) -> Ensemble:
    folder = root / "data/dataset"
    folder.mkdir(parents=True)
    (root / "net.py").write_text(code, encoding="utf-8")
    (root / "data/forget_list.txt").write_bytes(b"")
    ids = [f"r{number:02d}" for number in range(ROWS)]
    labels = [f"c{number % 3}" for number in range(ROWS)]
    np.savez(folder / "a.npz", id=ids, photo=PHOTOS, age=np.arange(ROWS) / 4, label=labels)
    params = make_params(shards=2, path="data/dataset")
    own = {
        "dataset": DatasetParams.model_validate(
            params.dataset.model_dump(exclude_none=True) | {"features": features}
        ),
        "train": TrainParams.model_validate({"epochs": 1, "batch": 8, **train}),
    }
    run_stages(Context(Project(root), params.model_copy(update=own), KEY))
    return load_ensemble(root / "models/final_model", trust_code=True)


_PHOTO = {"photo": {"kind": "image", "shape": [3, SIDE, SIDE]}}


@pytest.mark.parametrize(
    ("train", "features", "code"),
    [
        pytest.param({"model": "net.py:build"}, {"age": "numeric"}, NUMBERS, id="numbers"),
        pytest.param({"model": "net.py:build"}, {**_PHOTO, "age": "numeric"}, BOTH, id="both"),
        pytest.param({"model": "resnet", "options": {"width": 8}}, _PHOTO, "", id="resnet"),
    ],
)
def test_a_network_answers_as_its_onnx_file(
    tmp_path: Path, train: dict[str, Any], features: dict[str, Any], code: str
) -> None:
    ensemble = trained(tmp_path, train, features, code)

    content = onnx_file(ensemble, train["model"], {})

    rows = made_up_rows(ensemble, [each.predictor for each in ensemble.members])
    # What torch writes for normalised groups of channels has no shape without rows.
    check(ensemble, content, rows, (1,) if train["model"] == "resnet" else (0, 1))
    assert str(tmp_path).encode() not in content
    assert b"torch" not in content
    again = load_ensemble(tmp_path / "models/final_model", trust_code=True)
    assert onnx_file(again, train["model"], {}) == content


def test_a_network_that_looks_at_values_is_refused_in_one_line(tmp_path: Path) -> None:
    ensemble = trained(tmp_path, {"model": "net.py:odd"}, {"age": "numeric"}, NUMBERS)

    with pytest.raises(InputError, match=r"torch cannot write the network of net\.py:odd"):
        onnx_file(ensemble, "net.py:odd", {})
