"""A final model answers for pictures, from whatever they are read."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import unlearn
from PIL import Image
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble
from unlearn.stages.final_model.predictions import predict_file
from unlearn.stages.project.paths import Project

from tests.stages.conftest import KEY, make_params, run_stages

ROWS, SIDE = 30, 8
PHOTOS: npt.NDArray[np.uint8] = np.random.default_rng(1).integers(
    0, 256, (ROWS, SIDE, SIDE, 3), np.uint8
)
AGES = np.arange(ROWS) / 4
IDS = [f"r{number:02d}" for number in range(ROWS)]
NET = """
from torch import nn


class Both(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.pixels = nn.Linear(3 * 8 * 8, classes)
        self.columns = nn.Linear(shape["columns"][0], classes)

    def forward(self, rows):
        return self.pixels(rows["photo"].flatten(1)) + self.columns(rows["columns"])


def build(shape, classes):
    return Both(shape, classes)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    folder = root / "data/dataset"
    folder.mkdir(parents=True)
    (root / "net.py").write_text(NET, encoding="utf-8")
    (root / "data/forget_list.txt").write_bytes(b"")
    labels = [f"c{number % 3}" for number in range(ROWS)]
    np.savez(folder / "a.npz", id=IDS, photo=PHOTOS, age=AGES, label=labels)
    train = {"model": "net.py:build", "epochs": 1, "batch": 8}
    params = make_params(shards=2, path="data/dataset")
    features = {"photo": {"kind": "image", "shape": [3, SIDE, SIDE]}, "age": "numeric"}
    dataset = params.dataset.model_dump(exclude_none=True) | {"features": features}
    own = {
        "dataset": DatasetParams.model_validate(dataset),
        "train": TrainParams.model_validate(train),
    }
    run_stages(Context(Project(root), params.model_copy(update=own), KEY))
    return root / "models/final_model"


@pytest.fixture(scope="module")
def model(folder: Path) -> Ensemble:
    return load_ensemble(folder, trust_code=True)


def test_a_classifier_takes_pictures_as_arrays_of_a_table(folder: Path, model: Ensemble) -> None:
    rows = pd.DataFrame({"photo": list(PHOTOS), "age": AGES})
    with pytest.raises(InputError, match="in Python trust_code=True|contains Python code"):
        unlearn.load_model(folder)
    found = unlearn.load_model(folder, trust_code=True)

    assert found.predict(rows).tolist() == model.predict(rows)
    assert found.score(rows, found.predict(rows)) == 1


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def answers(model: Ensemble, source: Path, tmp_path: Path) -> pd.DataFrame:
    output = tmp_path / "answers.csv"
    assert predict_file(model, source, output) == ROWS
    return pd.read_csv(output)


def test_the_answers_do_not_depend_on_how_pictures_are_given(
    model: Ensemble, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", id=IDS, photo=PHOTOS, age=AGES)
    photos = [png(each) for each in PHOTOS]
    pq.write_table(pa.table({"id": IDS, "photo": photos, "age": AGES}), tmp_path / "a.parquet")
    folder = tmp_path / "folder"
    (folder / "p").mkdir(parents=True)
    for name, content in zip(IDS, photos, strict=True):
        (folder / f"p/{name}.png").write_bytes(content)
    paths = [f"p/{name}.png" for name in IDS]
    table = pd.DataFrame({"id": IDS, "photo": paths, "age": AGES})
    table.to_csv(folder / "rows.csv", index=False)

    found = answers(model, tmp_path / "a.npz", tmp_path)

    sources = (tmp_path / "a.parquet", folder, folder / "rows.csv")
    for source in sources:
        pd.testing.assert_frame_equal(answers(model, source, tmp_path), found)
    inputs: list[list[Any]] = [photos, list(PHOTOS), list(PHOTOS.transpose(0, 3, 1, 2))]
    for photo in inputs:
        predicted = model.predict(pd.DataFrame({"photo": photo, "age": AGES}))
        assert predicted == found["prediction"].tolist()


def test_a_faulty_picture_is_named_and_nothing_is_written(model: Ensemble, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    table = pd.DataFrame({"id": ["r1"], "photo": ["bad.png"], "age": [1.0]})
    table.to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(InputError, match=r"bad\.png has no bytes \(rows\.csv, data row 1\)"):
        predict_file(model, tmp_path / "rows.csv", tmp_path / "answers.csv")

    assert not (tmp_path / "answers.csv").exists()
    with pytest.raises(InputError, match="has a path, and rows that are in no file have no folder"):
        model.predict(table)
