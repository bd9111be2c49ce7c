"""Projects of a regression for tests: a table with an amount of money to predict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from unlearn.stages.config.params import ALGORITHM, Params, shard_names
from unlearn.stages.context import Context, check_params

from tests.stages.conftest import KEY, make_context

FEATURES = {"age": "numeric", "hours": "numeric", "member": "boolean", "city": "categorical"}
SCALE = {"centre": 40_000.0, "scale": 9_000.0}

HIST = {"model": "sklearn.ensemble.HistGradientBoostingRegressor", "options": {"max_iter": 20}}
RIDGE = {"model": "sklearn.linear_model.Ridge"}
SGD = {"model": "sklearn.linear_model.SGDRegressor", "epochs": 3, "batch": 8}
EXACT_LINEAR: dict[str, Any] = {
    "model": "exact_linear",
    "options": {"range": {"age": [-2.5, 2.5], "hours": [-2.5, 2.5]}},
    "preprocessing": {"scale": "none", "impute": "zero"},
}
EXACT_FOREST = EXACT_LINEAR | {
    "model": "exact_forest",
    "options": EXACT_LINEAR["options"] | {"share": 0.5, "trees": 20},
}
EXACT_BOOSTING = EXACT_LINEAR | {
    "model": "exact_boosting",
    "options": EXACT_LINEAR["options"] | {"trees": 20, "depth": 3},
}
MLP: dict[str, Any] = {
    "model": "mlp",
    "options": {"hidden": [8], "dropout": 0.1},
    "epochs": 20,
    "batch": 8,
    "device": "cpu",
    "optimizer": {"name": "adam", "rate": 0.01},
}


def make_amounts(rows: int = 160, *, seed: int = 5, noise: float = 2_000.0) -> pd.DataFrame:
    """Return a table whose target `amount` follows from its features, and from noise."""
    draw = np.random.default_rng(seed)
    age, hours = draw.normal(size=rows), draw.normal(size=rows)
    city = draw.choice(["Rome", "Oslo", "Lima"], rows)
    amount = (
        40_000 + 8_000 * age + 3_000 * hours * (city == "Rome") + noise * draw.normal(size=rows)
    )
    return pd.DataFrame(
        {
            "id": [f"r{number:04d}" for number in range(rows)],
            "age": age.round(4),
            "hours": hours.round(4),
            "member": np.where(draw.random(rows) < 0.4, "true", "false"),
            "city": city,
            "amount": amount.round(2),
        }
    )


def regression_params(
    train: Mapping[str, Any],
    *,
    shards: int = 3,
    slices: int = 1,
    holdout: float = 0.2,
    **dataset: Any,
) -> Params:
    """Return settings for tables of `make_amounts`."""
    return check_params(
        {
            "algorithm": ALGORITHM,
            "key_check": KEY.check,
            "dataset": {
                "path": "data/dataset.csv",
                "id": "id",
                "target": "amount",
                "task": "regression",
                "target_scale": SCALE,
                "features": FEATURES,
                **dataset,
            },
            "sharding": {"shards": shard_names(shards), "slices": slices, "holdout": holdout},
            "train": dict(train),
        }
    )


def regression_context(
    root: Path, frame: pd.DataFrame, train: Mapping[str, Any], **settings: Any
) -> Context:
    """Return a project of a regression in a bare folder; see `make_context`."""
    return make_context(root, frame, regression_params(train, **settings))
