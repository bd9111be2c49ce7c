"""Rows of pictures and other arrays: from their bytes to what a network reads."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.networks import PixelParams
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.packing import packing_of
from unlearn.stages.estimators.registry import estimator_of
from unlearn.stages.estimators.tensor_transform import TensorTransform, fit_inputs, stored_inputs
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.estimators.unpacking import Unpack
from unlearn.stages.rows.arrays import array_column, chunk_bytes, column_bytes
from unlearn.stages.rows.shard_file import Layout, digest_rows
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.stages.conftest import KEY, train_at_once
from tests.stages.picture_shards import MIXED, PICTURES, SHAPE, picture_recipe, picture_rows

TRAIN = TrainParams.model_validate({"model": "net.py:build"})

#: A network for one picture, and one for a picture, a spectrum and columns.
NET = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, shape, classes, width=4, norm=False):
        super().__init__()
        self.first = nn.Conv2d(shape[0], width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else nn.GroupNorm(2, width)
        self.last = nn.Linear(width, classes)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x))).mean((2, 3)))


class Mixed(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.picture = nn.Linear(shape["photo"][0], 3)
        self.spectrum = nn.Linear(shape["spectrum"][0], 3)
        self.columns = nn.Linear(shape["columns"][0], 3)
        self.last = nn.Linear(3, classes)

    def forward(self, x):
        parts = self.picture(x["photo"].mean((2, 3))) + self.spectrum(x["spectrum"])
        return self.last(torch.tanh(parts + self.columns(x["columns"])))


def build(shape, classes, **options):
    return Small(shape, classes, **options)


def mixed(shape, classes):
    return Mixed(shape, classes)
"""


def own_recipe(folder: Path, layout: Layout = PICTURES, **train: Any) -> Recipe:
    """Return a recipe of an own network; `net.py` is written to the folder."""
    (folder / "net.py").write_text(NET, encoding="utf-8")
    build = "mixed" if layout is MIXED else "build"
    settings = {"model": f"net.py:{build}", "options": {}, **train}
    slices = settings.pop("slices", 1)
    return picture_recipe(settings, slices=slices, layout=layout, root=folder)


def estimator(recipe: Recipe, transform: TensorTransform) -> TorchEstimator:
    found = estimator_of(
        recipe.train, transform, recipe.layout.outputs, sliced=False, code=recipe.code
    )
    assert isinstance(found, TorchEstimator)
    return found


def test_pixels_are_shifted_and_divided_by_the_pinned_numbers_of_their_channel() -> None:
    packing = packing_of({"photo": ("image", (3, 2, 2))}, 0)
    unpack = Unpack(packing, PixelParams(mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0]))
    rows = torch.arange(24, dtype=torch.uint8).reshape(2, 12)
    found = unpack.unpacked(rows)
    assert isinstance(found, torch.Tensor)
    pixels = rows.numpy().reshape(2, 3, 2, 2).astype(float) / 255
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 1.0, 2.0])
    wanted = (pixels - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


def test_a_number_for_each_channel_or_for_all() -> None:
    packing = packing_of({"photo": ("image", (3, 2, 2))}, 0)
    with pytest.raises(InputError, match="train.pixels.std has 2 numbers, and 'photo' has 3"):
        Unpack(packing, PixelParams(std=[0.5, 0.5]))


def test_parts_of_a_row_come_back_as_they_went_in() -> None:
    rows = picture_rows(9, layout=MIXED)
    transform = fit_inputs(rows, MIXED, TRAIN)
    assert isinstance(transform, TensorTransform)
    parts = Unpack(transform.packing, PixelParams(mean=[0.0], std=[1.0])).unpacked(
        torch.from_numpy(transform.transform(rows))
    )
    assert isinstance(parts, dict)
    assert {name: tuple(part.shape) for name, part in parts.items()} == {
        "photo": (9, *SHAPE),
        "spectrum": (9, 5),
        "columns": (9, 6),  # age, and Lima, Oslo, Rome, unknown and missing
    }
    pixels = column_bytes(rows["photo"]).reshape(9, *SHAPE)
    np.testing.assert_allclose(parts["photo"].numpy() * 255, pixels, atol=1e-4)
    spectrum = column_bytes(rows["spectrum"]).copy().view("<f4")
    np.testing.assert_array_equal(parts["spectrum"].numpy(), spectrum)
    ages = rows["age"].to_numpy()
    scaled = (ages - ages.mean()) / ages.std()
    np.testing.assert_allclose(parts["columns"][:, 0].numpy(), scaled, rtol=1e-5)
    oslo = np.array(rows["city"].to_pylist()) == "Oslo"
    np.testing.assert_array_equal(parts["columns"][:, 2].numpy(), oslo.astype(np.float32))


def test_what_a_transformation_keeps_makes_it_again() -> None:
    rows = picture_rows(9, layout=MIXED)
    transform = fit_inputs(rows, MIXED, TRAIN)
    again = stored_inputs(transform.as_json(), TRAIN)
    np.testing.assert_array_equal(
        again.transform(rows, np.float32), transform.transform(rows, np.float32)
    )


def test_a_hook_gives_a_network_its_parts_and_its_weights_keep_their_names(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path)
    rows = picture_rows(6)
    transform = fit_inputs(rows, recipe.layout, recipe.train)
    assert isinstance(transform, TensorTransform)
    module = estimator(recipe, transform).fresh(1).eval()
    assert next(iter(module.state_dict())) == "first.weight"
    packed = torch.from_numpy(transform.transform(rows))
    parts = Unpack(transform.packing, PixelParams()).unpacked(packed)
    with torch.no_grad():
        assert torch.equal(module(packed), module(parts))
        assert torch.equal(copy.deepcopy(module)(packed), module(packed))


@pytest.mark.parametrize("layout", [PICTURES, MIXED], ids=["picture", "mixed"])
@pytest.mark.parametrize("slices", [1, 3])
def test_the_same_rows_give_the_same_bytes_whatever_stood_before(
    tmp_path: Path, slices: int, layout: Layout
) -> None:
    recipe = own_recipe(tmp_path, layout, epochs=2, slices=slices)
    rows = picture_rows(40, layout=layout)
    kept = rows.slice(3)
    folder = tmp_path / "s000"
    for name, content in train_at_once(recipe, rows).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    after = train_shard(recipe, plan_shard(recipe, "s000", kept, folder), folder).files
    assert after == train_at_once(recipe, kept)
    predictor = ShardModel.of_files(after).predictor(recipe.code)
    answers = predictor.answers(rows)
    assert answers.shape == (40, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1.0)


def test_a_picture_that_changes_changes_the_model(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, epochs=1)
    rows = picture_rows(20)
    pixels = column_bytes(rows["photo"]).copy()
    pixels[7, 5] ^= 1
    at = rows.column_names.index("photo")
    changed = rows.set_column(at, "photo", array_column(pixels))
    assert train_at_once(recipe, changed) != train_at_once(recipe, rows)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(any))
def test_a_digest_does_not_depend_on_how_a_table_is_cut(sizes: list[int]) -> None:
    rows = picture_rows(sum(sizes))
    ends = np.cumsum(sizes)
    pieces = [rows.slice(end - size, size) for end, size in zip(ends, sizes, strict=True)]
    cut = pa.concat_tables([rows.slice(0, 0), *pieces])
    assert digest_rows(KEY, cut, "x") == digest_rows(KEY, rows, "x")
    np.testing.assert_array_equal(column_bytes(cut["photo"]), column_bytes(rows["photo"]))
    assert sum(len(part) for part in chunk_bytes(cut["photo"])) == rows.num_rows


@given(st.integers(0, 191), st.integers(1, 255))
def test_a_digest_changes_with_every_pixel(place: int, change: int) -> None:
    rows = picture_rows(2)
    pixels = column_bytes(rows["photo"]).copy()
    pixels[1, place] ^= np.uint8(change)
    at = rows.column_names.index("photo")
    changed = rows.set_column(at, "photo", array_column(pixels))
    assert digest_rows(KEY, changed, "x") != digest_rows(KEY, rows, "x")
