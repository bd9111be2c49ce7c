"""A small project with pictures and people, whose network knows them by heart."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from unlearn.stages.context import Context
from unlearn.stages.reading.png import png_bytes

from tests.stages.conftest import CLASSES, make_context
from tests.stages.posthoc import posthoc_params, train_original

SIDE = 8
FEATURES: dict[str, Any] = {"photo": {"kind": "image", "shape": [3, SIDE, SIDE]}}


def picture_frame(rows: int = 90, people: int = 9, *, seed: int = 5) -> pd.DataFrame:
    """Return rows with a picture each: noise with a bar, whose place tells the class."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, len(CLASSES), rows)
    pixels = draw.integers(0, 110, (rows, 3, SIDE, SIDE)).astype(np.uint8)
    for row, own in enumerate(label):
        pixels[row, :, 2 * own + 1, 1:7] += 120
    uris = [
        f"data:image/png;base64,{base64.b64encode(png_bytes(each)).decode()}" for each in pixels
    ]
    return pd.DataFrame(
        {
            "id": [f"r{number:03d}" for number in range(rows)],
            "person": [f"p{number % people:02d}" for number in range(rows)],
            "photo": uris,
            "label": [CLASSES[own] for own in label],
        }
    )


def picture_project(root: Path, *, norm: str = "group", subject: bool = False) -> Context:
    """Return a project whose model was trained on the pictures."""
    params = posthoc_params(
        "retrain",
        train={
            "model": "resnet",
            "options": {"width": 8, "norm": norm},
            "epochs": 10,
            "batch": 16,
            "optimizer": {"rate": 0.01},
            "device": "cpu",
        },
        features=FEATURES,
        subject="person" if subject else None,
    )
    context = make_context(root, picture_frame(), params)
    train_original(context)
    return context
