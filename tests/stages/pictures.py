"""Small pictures with tokens, as shard files have them, and networks that read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.train import TrainParams
from unlearn.stages.rows.arrays import array_column
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, TARGET, Layout, in_order, with_digests
from unlearn.stages.training.recipe import Recipe

from tests.stages.conftest import KEY, token_of

SHAPE = (3, 8, 8)
CLASSES = ("dark", "light")

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


def layout_of_pictures(*, subjects: bool = False, mixed: bool = False) -> Layout:
    """Return a layout of one picture, or of a picture, a spectrum and two columns."""
    features = {"photo": "image"}
    shapes: dict[str, list[int]] = {"photo": list(SHAPE)}
    if mixed:
        features |= {"age": "numeric", "spectrum": "tensor", "city": "categorical"}
        shapes["spectrum"] = [5]
    return Layout.from_json(
        {
            "features": list(features.items()),
            "classes": list(CLASSES),
            "subjects": subjects,
            "shapes": list(shapes.items()),
        }
    )


def picture_rows(count: int, *, seed: int = 3, subjects: int = 0, mixed: bool = False) -> pa.Table:
    """Return rows of a shard: light pictures and dark ones, with noise."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2, count)
    pixels = draw.integers(0, 120, (count, int(np.prod(SHAPE)))) + 100 * label[:, None]
    columns: dict[str, Any] = {RECORD: pa.array([token_of(f"r{n}") for n in range(count)])}
    if subjects:
        who = draw.integers(0, subjects, count)
        columns[SUBJECT] = pa.array([token_of(f"p{n}", "subject") for n in who])
    columns["photo"] = array_column(pixels.astype(np.uint8))
    if mixed:
        spectrum = draw.normal(size=(count, 5)).astype("<f4")
        columns["age"] = pa.array(draw.normal(40, 10, count), pa.float64())
        columns["spectrum"] = array_column(spectrum.view(np.uint8))
        columns["city"] = pa.array(draw.choice(["Rome", "Oslo"], count), pa.string())
    columns[TARGET] = pa.array([CLASSES[value] for value in label], pa.string())
    layout = layout_of_pictures(subjects=bool(subjects), mixed=mixed)
    return in_order(with_digests(pa.table(columns)).cast(layout.schema))


def picture_recipe(
    folder: Path, train: Mapping[str, Any], *, slices: int = 1, mixed: bool = False
) -> Recipe:
    """Return a recipe for rows of `picture_rows`; `net.py` is written to the folder."""
    code = folder / "net.py"
    code.write_text(NET, encoding="utf-8")
    model = {"model": f"net.py:{'mixed' if mixed else 'build'}", "device": "cpu", "batch": 8}
    params = TrainParams.model_validate({**model, **train})
    own = code if params.code_path == "net.py" else None
    return Recipe(params, slices, layout_of_pictures(mixed=mixed), 0, KEY, own, folder)
