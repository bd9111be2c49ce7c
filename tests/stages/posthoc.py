"""Projects whose model was trained without shards, run in this process."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.params import ALGORITHM, Params
from unlearn.stages.context import Context, check_params
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import Project
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.shard_file import TARGET, read_shard, record_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.method_record import WHOLE
from unlearn.stages.unlearn import stage as unlearn_stage

from tests.stages.conftest import CLASSES, FEATURES, KEY, MLP, put_on_list

METHODS = ("retrain", "finetune", "ssd")

#: Enough epochs that an update method has some, and that the model knows its rows.
TRAIN = MLP | {"epochs": 15}


def posthoc_params(
    *methods: str,
    deploy: str | None = None,
    train: Mapping[str, Any] = TRAIN,
    holdout: float = 0.3,
    features: Mapping[str, Any] | None = None,
    subject: str | None = None,
    classes: Sequence[str] = CLASSES,
    verify: Mapping[str, Any] | None = None,
    rule: str = "mean_probability",
    **unlearn: Any,
) -> Params:
    """Return settings for tables of `make_frame`; the first method is deployed by default."""
    named = list(methods or METHODS)
    return check_params(
        {
            "algorithm": ALGORITHM,
            "key_check": KEY.check,
            "dataset": {
                "path": "data/dataset.csv",
                "id": "id",
                "subject": subject,
                "target": "label",
                "classes": list(classes),
                "features": dict(FEATURES if features is None else features),
            },
            "sharding": {"shards": [WHOLE], "slices": 1, "holdout": holdout},
            "train": dict(train),
            "unlearn": {"methods": named, "deploy": deploy or named[0], **unlearn},
            "aggregate": {"rule": rule},
            "verify": {"attack": "loss", **(verify or {})},
        }
    )


def changed_params(context: Context, section: str, **settings: Any) -> Context:
    """Return the project with other settings in one section of params.yaml."""
    raw = context.params.model_dump(mode="json")
    raw[section] |= settings
    return replace(context, params=check_params(raw))


def copied(context: Context, root: Path) -> Context:
    """Return a copy of a project."""
    shutil.copytree(context.project.root, root)
    return replace(context, project=Project(root))


def train_original(context: Context) -> None:
    """Run the stages that no request reruns."""
    recipe_stage.run(context)
    shard_stage.run(context)
    train_stage.run_whole(context)


def apply_list(context: Context, *methods: str) -> None:
    """Run the stages that a request reruns, but `verify`; all methods by default."""
    forget_stage.run(context)
    unlearn = context.params.unlearn
    assert unlearn is not None
    for method in methods or unlearn.methods:
        unlearn_stage.run(context, method)
    if not methods:
        aggregate_stage.run(context)


def tokens_of(context: Context, *, label: str | None = None, shard: str = WHOLE) -> list[str]:
    """Return the tokens of the rows of the model, or of the holdout; of one class if asked."""
    rows = read_shard(context.project.shard_file(shard), shard).rows
    found = zip(record_tokens(rows), rows[TARGET].to_pylist(), strict=True)
    return [token for token, own in found if label is None or own == label]


def forget(context: Context, *tokens: str) -> None:
    """Put tokens on the list, and apply it."""
    put_on_list(context, *tokens)
    apply_list(context)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def made(context: Context, method: str) -> dict[str, bytes]:
    """Return the files that a method made."""
    return files_in(context.project.unlearned / method)
