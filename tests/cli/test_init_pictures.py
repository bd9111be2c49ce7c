"""`unlearn init` on pictures and other arrays."""

import base64
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from unlearn.stages.reading.png import png_bytes

from tests.cli.conftest import init, refused, unchanged
from tests.conftest import Done, Repo

ROWS = 48
IDS = [f"r{number:03d}" for number in range(ROWS)]
LABELS = [["left", "right"][number % 2] for number in range(ROWS)]

DRAW = np.random.default_rng(4)
PIXELS = DRAW.integers(0, 256, (ROWS, 3, 16, 16)).astype(np.uint8)


def write_folder(root: Path, pixels: Iterable[Any] = PIXELS, name: str = "photo") -> Path:
    """Write pictures with a table of labels; return the folder."""
    folder = root / "pictures"
    (folder / "png").mkdir(parents=True)
    paths = []
    for number, each in enumerate(pixels):
        paths.append(f"png/{number}.png")
        (folder / paths[-1]).write_bytes(png_bytes(each))
    pd.DataFrame({"id": IDS, name: paths, "side": LABELS}).to_csv(
        folder / "labels.csv", index=False
    )
    return folder


def run_init(root: Path, dataset: Path, *options: str) -> Done:
    return init(
        Repo(root), "P", "--dataset", str(dataset), "--id", "id", "--target", "side", *options
    )


def schema(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "P/schema.yaml").read_text(encoding="utf-8"))
    return found


def train(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = Repo(root / "P").params()["train"]
    return found


def test_a_folder_of_pictures_gets_its_shape_a_network_and_all_of_its_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "README.md").write_text("pictures of sides", encoding="utf-8")
    done = run_init(tmp_path, folder)

    assert done.code == 0, done.err
    assert schema(tmp_path)["features"] == {"photo": {"kind": "image", "shape": [3, 16, 16]}}
    assert train(tmp_path)["model"] == "resnet"
    assert "16 pixels wide, 16 high, 3 channels" in done.err
    copied = tmp_path / "P/data/dataset"
    for file in [*folder.glob("png/*"), folder / "labels.csv"]:
        assert (copied / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert (tmp_path / "P/data/dataset.dvc").is_file()


def test_pictures_of_several_sizes_are_asked_about_and_resized_if_the_user_says_so(
    tmp_path: Path,
) -> None:
    pixels = [each if number % 3 else each[:, :8, :12] for number, each in enumerate(PIXELS)]
    folder = write_folder(tmp_path, pixels)
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder)
    said = refused(done)
    resized = run_init(tmp_path, folder, "--kind", "photo=image:3x16x16")

    assert "3x16x16 in 32, 3x8x12 in 16 of the 48" in said
    assert "--kind=photo=image:3x16x16 resizes" in done.err
    assert resized.code == 0, resized.err
    assert schema(tmp_path)["features"]["photo"] == {
        "kind": "image",
        "shape": [3, 16, 16],
        "resize": True,
    }


def test_grey_pictures_among_coloured_ones_become_coloured(tmp_path: Path) -> None:
    pixels = [each if number % 3 else each[:1] for number, each in enumerate(PIXELS)]
    done = run_init(tmp_path, write_folder(tmp_path, pixels))

    assert done.code == 0, done.err
    assert schema(tmp_path)["features"]["photo"] == {"kind": "image", "shape": [3, 16, 16]}


def test_one_file_whose_pictures_are_elsewhere_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder / "labels.csv")

    assert "names pictures" in refused(done)
    assert "--dataset FOLDER" in done.err


@pytest.mark.parametrize("form", ["uris", "bytes", "struct", "lists", "tensor", "npz", "last"])
def test_pictures_are_found_in_every_form(tmp_path: Path, form: str) -> None:
    coded = [png_bytes(each) for each in PIXELS]
    flat = pa.array(PIXELS.reshape(-1))
    photo: Any = {
        "uris": [f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in coded],
        "bytes": pa.array(coded, pa.binary()),
        "struct": pa.array([{"bytes": each, "path": None} for each in coded]),
        "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(PIXELS),
    }.get(form)
    if form == "lists":
        photo = flat
        for size in (16, 16, 3):
            photo = pa.FixedSizeListArray.from_arrays(photo, size)
    path = tmp_path / ("d.csv" if form == "uris" else "d.parquet")
    if form in ("npz", "last"):
        path = tmp_path / "d.npz"
        pixels = PIXELS if form == "npz" else PIXELS.transpose(0, 2, 3, 1)
        np.savez(path, id=np.array(IDS), side=np.array(LABELS), photo=pixels)
    elif form == "uris":
        pd.DataFrame({"id": IDS, "photo": photo, "side": LABELS}).to_csv(path, index=False)
    else:
        pq.write_table(pa.table({"id": IDS, "photo": photo, "side": LABELS}), path)
    done = run_init(tmp_path, path)

    assert done.code == 0, done.err
    assert schema(tmp_path)["features"] == {"photo": {"kind": "image", "shape": [3, 16, 16]}}


NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.photo = nn.Linear(768, 4)
        self.wave = nn.Linear(8, 4)
        self.head = nn.Linear(9, classes)

    def forward(self, parts):
        import torch

        photo = self.photo(parts["photo"].flatten(1))
        wave = self.wave(parts["wave"].flatten(1))
        return self.head(torch.cat([photo, wave, parts["columns"]], dim=1))


def build(shape, classes):
    assert shape == {"photo": (3, 16, 16), "wave": (2, 4), "columns": (1,)}, shape
    return Net(shape, classes)
"""


SEVERAL = {
    "photo": {"kind": "image", "shape": [3, 16, 16]},
    "wave": {"kind": "tensor", "shape": [2, 4]},
    "age": "numeric",
}


def write_several(root: Path) -> Path:
    """Write pictures with a tensor and a number beside them."""
    path = root / "d.npz"
    waves = DRAW.normal(size=(ROWS, 2, 4)).astype(np.float32)
    age = DRAW.normal(size=ROWS)
    np.savez(path, id=np.array(IDS), side=np.array(LABELS), photo=PIXELS, wave=waves, age=age)
    return path


def test_several_arrays_and_numbers_go_to_a_module_of_ones_own(tmp_path: Path) -> None:
    path = write_several(tmp_path)
    (tmp_path / "P").mkdir()
    (tmp_path / "P/net.py").write_text(NET, encoding="utf-8")
    own = run_init(tmp_path, path, "--model", "net.py:build", "--epochs", "1")

    assert own.code == 0, own.err
    assert schema(tmp_path)["features"] == SEVERAL


def test_the_built_in_network_reads_pictures_with_other_features(tmp_path: Path) -> None:
    done = run_init(tmp_path, write_several(tmp_path))

    assert done.code == 0, done.err
    assert schema(tmp_path)["features"] == SEVERAL
    assert train(tmp_path)["model"] == "resnet"


def test_tensors_alone_need_a_network_of_ones_own(tmp_path: Path) -> None:
    path = write_several(tmp_path)
    with unchanged(tmp_path):
        done = run_init(tmp_path, path, "--drop", "photo")

    assert "no built-in model reads tensors without a picture: column 'wave'" in refused(done)
    assert "--model path/to/net.py:build" in done.err


@pytest.mark.parametrize("model", ["mlp", "exact_forest", "sklearn.naive_bayes.GaussianNB"])
def test_models_of_columns_are_refused_with_the_way_out(tmp_path: Path, model: str) -> None:
    folder = write_folder(tmp_path)
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder, "--model", model)

    assert f"{model} reads columns, and column 'photo' is an array" in refused(done)
    assert "--model resnet" in done.err


def test_pictures_that_are_too_small_for_the_network_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, PIXELS[:, :, :8, :10])
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder)

    assert "have 10 x 8 pixels, and the built-in network is for 16 to 64" in refused(done)


def test_a_column_of_pictures_can_be_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder, "--drop", "photo")

    assert "has no columns other than" in refused(done)


@pytest.mark.slow
def test_lists_of_one_length_are_columns_unless_the_user_says_that_they_are_an_array(
    tmp_path: Path,
) -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(PIXELS[:, :1].reshape(-1)), 256)
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"id": IDS, "photo": lists, "side": LABELS}), path)
    columns = run_init(tmp_path, path, "--shards", "1")
    assert columns.code == 0, columns.err
    assert len(schema(tmp_path)["features"]) == 256
    shutil.rmtree(tmp_path / "P")
    done = run_init(tmp_path, path, "--kind", "photo=image:1x16x16")

    assert done.code == 0, done.err
    assert schema(tmp_path)["features"] == {"photo": {"kind": "image", "shape": [1, 16, 16]}}


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("photo=image:2x16x16", "1, 3 or 4 channels"),
        ("photo=image:16x16", "1, 3 or 4 channels"),
        ("photo=image:3x16x16x1", "1, 3 or 4 channels"),
        ("photo=image:axb", "channels x height x width"),
        ("photo=image:3x0x16", "channels x height x width"),
        ("photo=tensor:1x2x3x4x5", "1 to 4 sizes"),
        ("photo=tensor:-1", "1 to 4 sizes"),
    ],
)
def test_a_shape_that_is_none_is_refused(tmp_path: Path, kind: str, problem: str) -> None:
    folder = write_folder(tmp_path)
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder, "--kind", kind)

    assert problem in refused(done)


def test_a_damaged_picture_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    content = (folder / "png/7.png").read_bytes()
    (folder / "png/7.png").write_bytes(content[: len(content) // 2])
    with unchanged(tmp_path):
        done = run_init(tmp_path, folder)

    assert "png/7.png" in refused(done)


@pytest.mark.slow
def test_canaries_of_pictures_are_noise_that_the_shards_read(tmp_path: Path) -> None:
    done = run_init(tmp_path, write_folder(tmp_path), "--shards", "1", "--epochs", "1")
    assert done.code == 0, done.err
    repo = Repo(tmp_path / "P")
    planted = repo.inline("canary", "--count", "6", "--json")
    assert planted.code == 0, planted.err
    shard = repo.inline("stage", "shard")
    rows = pq.read_table(repo.root / "data/shards/s000.parquet")
    canaries = pd.read_csv(repo.root / "data/canaries.csv", dtype=str)

    assert shard.code == 0, shard.err
    assert len(canaries) == 6
    assert canaries["photo"].str.startswith("data:image/png;base64,").all()
    assert canaries["photo"].nunique() == 6
    own = {each.tobytes() for each in PIXELS}
    kept = [value for value in rows["photo"].to_pylist() if value not in own]
    assert len(kept) == json.loads(planted.out)["trained_on"]
