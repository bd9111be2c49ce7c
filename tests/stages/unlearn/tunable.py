"""Post-hoc projects whose methods have settings to search, in bare folders."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from unlearn.stages.context import PosthocContext, check_params
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import (
    make_context,
    make_params,
    put_on_list,
    token_of,
)

#: Learns its rows by heart, so that there is something to forget.
TRAIN = {
    "model": "mlp",
    "options": {"hidden": [24]},
    "epochs": 20,
    "batch": 16,
    "optimizer": {"rate": 0.02},
    "device": "cpu",
}
MOST = 5_000


def make_tunable(root: Path, frame: pd.DataFrame, **changes: Any) -> PosthocContext:
    """Return a post-hoc project after `shard` and `forget`, in a bare folder."""
    plain = make_params(shards=1, holdout=0.3, train=changes.pop("train", TRAIN))
    raw = plain.model_dump(mode="json") | changes
    raw["unlearn"] = {"methods": ["retrain", "ssd"], "deploy": "retrain"} | changes.get(
        "unlearn", {}
    )
    context = make_context(root, frame, check_params(raw)).posthoc()
    recipe_stage.run(context)
    shard_stage.run(context)
    forget_stage.run(context)
    return context


def noisy_frame() -> pd.DataFrame:
    """Return rows of which a third has a label drawn by lot."""
    frame = make_frame(180)
    draw = np.random.default_rng(2)
    by_lot = draw.choice(["c0", "c1", "c2"], len(frame))
    return frame.assign(label=np.where(draw.random(len(frame)) < 0.33, by_lot, frame["label"]))


def forget(context: PosthocContext, *ids: str) -> None:
    put_on_list(context, *(token_of(raw) for raw in ids))
    forget_stage.run(context)
