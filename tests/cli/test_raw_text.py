"""No text of a single row is in any file of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.config.settings_files import FILES

from tests.cli.conftest import METHODS
from tests.conftest import Repo, make_frame, make_project, readable

#: Every text that only a few rows have begins so, or is one of these.
PLANTED = (b"zqtext", b"1931-07-04", b"98765.4321")

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"model": "mlp", "options": {"hidden": [6]}},
    "naive Bayes": {"model": "sklearn.naive_bayes.GaussianNB", "options": {}},
    # Its tree splits where a category differs.
    "boosting": {
        "model": "sklearn.ensemble.HistGradientBoostingClassifier",
        "options": {"max_iter": 3},
    },
    # It keeps the rows: as numbers, not as text.
    "neighbours": {"model": "sklearn.neighbors.KNeighborsClassifier", "options": {}},
}


def planted() -> pd.DataFrame:
    """Return rows with texts of their own in every kind of column."""
    frame = make_frame(200, subjects=120)
    rows = len(frame)
    frame["id"] = [f"zqtext-record-{row}" for row in range(rows)]
    frame["person"] = [f"zqtext-{person}" for person in frame["person"]]
    for row, column in enumerate(("city", "member", "income", "age")):
        frame[column] = frame[column].astype(object)
        frame.loc[20 * row + 3, column] = {
            "city": "zqtext-city",
            "member": "true",
            "income": "98765.4321",
            "age": "98765.4321",
        }[column]
    # Nine people share one; another one is of one person, in many rows.
    frame["site"] = np.where(np.arange(rows) % 2, "north", "south")
    frame.loc[frame.drop_duplicates("person").index[:9], "site"] = "zqtext-nine"
    person = frame["person"].value_counts().index[0]
    frame.loc[frame["person"] == person, "city"] = "zqtext-of-one-person"
    frame["day"] = ["1931-07-04", *["2024-01-31"] * (rows - 1)]
    frame["note"] = [f"zqtext note {row}" for row in range(rows)]
    frame["essay"] = ["zqtext " * 40, *["short"] * (rows - 1)]
    frame["empty"] = ["zqtext-alone", *[""] * (rows - 1)]
    return frame


def with_planted(repo: Repo) -> set[str]:
    """Return the files below models/ that hold a planted text."""
    models = [path for path in (repo.root / "models").rglob("*") if path.is_file()]
    assert len(models) > 3
    return {
        path.relative_to(repo.root).as_posix()
        for path in models
        for piece in readable(path)
        if any(text in piece for text in PLANTED)
    }


def project(root: Path, train: Mapping[str, Any], *options: str) -> Repo:
    return make_project(root, planted(), *options, train=dict(train))


@pytest.mark.parametrize("name", MODELS)
def test_shard_models_hold_no_text_of_a_single_row(name: str, tmp_path: Path) -> None:
    slices = "3" if name in ("mlp", "naive Bayes") else "1"
    repo = project(tmp_path / "p", MODELS[name], "--shards", "2", "--slices", slices)
    dataset = repo.params()["dataset"]
    assert dataset["categories"] == {"city": ["Lima", "Oslo", "Rome"], "site": ["north", "south"]}
    assert "day" in dataset["features"]

    repo.stages("shard", "forget", "train@s000", "train@s001", "aggregate")

    assert with_planted(repo) == set()
    for name_of_settings in ("params.yaml", *FILES, "dvc.yaml"):
        assert b"zqtext" not in (repo.root / name_of_settings).read_bytes()


def test_models_of_methods_hold_no_text_of_a_single_row(tmp_path: Path) -> None:
    repo = project(tmp_path / "p", MODELS["mlp"], "--template", "posthoc")
    repo.set_params(unlearn={"methods": METHODS, "deploy": "retrain"})
    repo.forget([f"zqtext-record-{row}" for row in range(20)], "--ignore-unknown")

    repo.stages("shard", "train", "forget", "young")
    repo.stages(*(f"unlearn@{method}" for method in METHODS), "aggregate")

    assert with_planted(repo) == set()


def test_models_learn_rare_categories_where_the_settings_keep_them(tmp_path: Path) -> None:
    options = ("--shards", "2", "--slices", "1", "--rare-categories", "keep")
    repo = project(tmp_path / "p", MODELS["naive Bayes"], *options)
    assert "categories" not in repo.params()["dataset"]
    assert repo.params()["dataset"]["rare_categories"] == "keep"

    repo.stages("shard", "forget", "train@s000", "train@s001", "aggregate")

    assert any(name.startswith("models/final_model/members/") for name in with_planted(repo))
