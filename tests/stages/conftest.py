"""Projects without DVC: what a stage reads, built in memory or in a bare folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.params import ALGORITHM, Params, shard_names
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context, check_params
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import Project
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, TARGET, Layout, in_order, with_digests
from unlearn.stages.rows.tokens import Key, Kind, Tokenizer
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.conftest import make_frame

#: A key that the tests share; nothing but the tests is made with it.
KEY = Key("0f" * 32)
OTHER_KEY = Key("f0" * 32)

FEATURES = {
    "age": "numeric",
    "income": "numeric",
    "member": "boolean",
    "city": "categorical",
}
CLASSES = ("c0", "c1", "c2")
LAYOUT = Layout.from_json(
    {"features": list(FEATURES.items()), "classes": list(CLASSES), "subjects": False}
)

MLP = {"model": "mlp", "options": {"hidden": [6]}, "epochs": 3, "batch": 8, "device": "cpu"}
EXACT: dict[str, Any] = {
    "model": "exact_forest",
    "options": {"range": {"age": [-3, 8], "income": [-3000, 3000]}},
    "preprocessing": {"scale": "none", "impute": "zero"},
}
NAIVE_BAYES = {"model": "sklearn.naive_bayes.GaussianNB"}


def token_of(raw: str, kind: Kind = "record") -> str:
    """Return the token of an id under the tests' key."""
    return Tokenizer(KEY).token(kind, raw)


def layout_of(
    features: Mapping[str, str],
    categories: Mapping[str, Sequence[str]] | None = None,
    hashed_columns: Mapping[str, int] | None = None,
) -> Layout:
    """Return a layout of features alone, by their kinds and what is pinned of them."""
    found = {
        "features": list(features.items()),
        "classes": [],
        "subjects": False,
        "categories": list((categories or {}).items()),
        "hashed_columns": list((hashed_columns or {}).items()),
    }
    return Layout.from_json(found)


def make_rows(count: int, *, seed: int = 3, subjects: int = 0, classes: int = 3) -> pa.Table:
    """Return rows of a shard as its file holds them, in order."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, classes, count)
    income = draw.normal(size=count) * 1000
    columns: dict[str, Any] = {RECORD: pa.array([token_of(f"r{n}") for n in range(count)])}
    if subjects:
        who = draw.integers(0, subjects, count)
        columns[SUBJECT] = pa.array([token_of(f"p{n}", "subject") for n in who])
    columns |= {
        "age": pa.array(label * 2.0 + draw.normal(size=count), pa.float64()),
        "income": pa.array(income, pa.float64(), mask=draw.random(count) < 0.1),
        "member": pa.array(draw.random(count) < 0.5, pa.bool_(), mask=draw.random(count) < 0.1),
        "city": pa.array(draw.choice(["Rome", "Oslo", "Lima"], count), pa.string()),
        TARGET: pa.array([f"c{value}" for value in label], pa.string()),
    }
    layout = replace(LAYOUT, subjects=bool(subjects))
    return in_order(with_digests(pa.table(columns)).cast(layout.schema))


def make_recipe(
    train: Mapping[str, Any], *, slices: int = 1, code: Path | None = None, key: Key = KEY
) -> Recipe:
    """Return a recipe for rows of `make_rows`."""
    return Recipe(TrainParams.model_validate(dict(train)), slices, LAYOUT, 0, key, code)


def train_at_once(recipe: Recipe, rows: pa.Table, shard: str = "s000") -> dict[str, bytes]:
    """Return the files of a shard model, trained from nothing."""
    return train_shard(recipe, plan_shard(recipe, shard, rows, None), None).files


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make_params(
    *,
    shards: int = 3,
    slices: int = 1,
    holdout: float = 0.2,
    subject: str | None = None,
    train: Mapping[str, Any] = NAIVE_BAYES,
    path: str = "data/dataset.csv",
    rule: str = "mean_probability",
    features: Mapping[str, Any] | None = None,
    key: Key = KEY,
) -> Params:
    """Return settings for tables of `make_frame`."""
    return check_params(
        {
            "algorithm": ALGORITHM,
            "key_check": key.check,
            "dataset": {
                "path": path,
                "id": "id",
                "subject": subject,
                "target": "label",
                "classes": list(CLASSES),
                "features": dict(FEATURES if features is None else features),
            },
            "sharding": {"shards": shard_names(shards), "slices": slices, "holdout": holdout},
            "train": dict(train),
            "aggregate": {"rule": rule},
        }
    )


def make_context(root: Path, frame: pd.DataFrame, params: Params | None = None) -> Context:
    """Return a project in a bare folder: a dataset, an empty forget list, and no DVC."""
    params = params or make_params(subject="person" if "person" in frame.columns else None)
    dataset = root / params.dataset.path
    dataset.parent.mkdir(parents=True)
    frame.to_csv(dataset, index=False)
    (root / "data/forget_list.txt").write_bytes(b"")
    return Context(Project(root), params, KEY)


def run_stages(context: Context) -> None:
    """Run all stages but `verify`, in this process."""
    recipe_stage.run(context)
    shard_stage.run(context)
    forget_stage.run(context)
    for shard in context.params.sharding.shards:
        train_stage.run(context, shard)
    aggregate_stage.run(context)


def put_on_list(context: Context, *tokens: str) -> None:
    """Add lines to a project's forget list."""
    path = context.project.forget_list
    lines = {*path.read_text(encoding="ascii").split(), *tokens}
    path.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="ascii")


def change_a_number(path: Path) -> None:
    """Change the first number of a safetensors file; its rows' digests come last."""
    content = bytearray(path.read_bytes())
    content[8 + int.from_bytes(content[:8], "little")] ^= 1
    path.write_bytes(bytes(content))


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Context:
    context = make_context(tmp_path_factory.mktemp("built") / "project", make_frame(90))
    run_stages(context)
    return context


@pytest.fixture
def built(_built: Context, tmp_path: Path) -> Context:
    """Return a copy of a project whose stages ran, for the test to change."""
    import shutil

    root = tmp_path / "project"
    shutil.copytree(_built.project.root, root)
    return replace(_built, project=Project(root))


Maker = Callable[..., Context]
