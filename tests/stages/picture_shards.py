"""Rows with a small picture each, for tests."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.train import TrainParams
from unlearn.stages.rows.arrays import array_column
from unlearn.stages.rows.shard_file import TARGET, Layout, in_order, with_digests
from unlearn.stages.training.recipe import Recipe

from tests.stages.conftest import CLASSES, KEY, make_rows

SHAPE = (3, 8, 8)
RESNET: dict[str, Any] = {
    "model": "resnet",
    "options": {"width": 8},
    "epochs": 2,
    "batch": 8,
    "device": "cpu",
    "optimizer": {"name": "adam", "rate": 0.01},
}
#: Pictures alone, and with a number and a category beside them.
PICTURES = Layout({"photo": "image"}, CLASSES, subjects=False, shapes={"photo": SHAPE})
BESIDE = replace(PICTURES, features={"photo": "image", "income": "numeric", "city": "categorical"})
#: And with a tensor between them.
MIXED = replace(
    PICTURES,
    features={"photo": "image", "age": "numeric", "spectrum": "tensor", "city": "categorical"},
    shapes={"photo": SHAPE, "spectrum": (5,)},
)


def picture_rows(count: int, *, layout: Layout = PICTURES, seed: int = 3) -> pa.Table:
    """Return rows of a shard, in order: noise with a square whose colour tells the class."""
    rows = make_rows(count, seed=seed)
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 90, (count, *SHAPE), dtype=np.uint8)
    for row, label in enumerate(rows[TARGET].to_pylist()):
        pixels[row, CLASSES.index(label), 2:6, 2:6] += 150
    rows = rows.append_column("photo", array_column(pixels.reshape(count, -1)))
    if "spectrum" in layout.features:
        spectrum = draw.normal(size=(count, 5)).astype("<f4")
        rows = rows.append_column("spectrum", array_column(spectrum.view(np.uint8)))
    full = with_digests(rows)
    return in_order(full.select(layout.schema.names).cast(layout.schema))


def picture_recipe(
    train: Mapping[str, Any], *, slices: int = 1, layout: Layout = PICTURES, root: Path = Path()
) -> Recipe:
    """Return a recipe for rows of `picture_rows`."""
    settings = TrainParams.model_validate(RESNET | dict(train))
    code = None if settings.code_path is None else root / settings.code_path
    return Recipe(settings, slices, layout, 0, KEY, code, root)
