"""Shards that can no longer be trained: constant models, which are a function of their rows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.network_steps import batches
from unlearn.stages.rows.shard_file import RECORD, TARGET, Layout
from unlearn.stages.training.lineage import ONE_ROW, REFUSED
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import TrainedShard, plan_shard, train_shard
from unlearn.stages.training.trial import fits_trial_rows

from tests.stages.conftest import CLASSES, KEY, OTHER_KEY, make_recipe, make_rows, put

QDA = "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis"

#: A net with batch normalisation.
NORMALISED = """
from torch import nn

def build(inputs, classes):
    return nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.Linear(4, classes))
"""

#: A net that takes no fewer rows in a batch than it says; see `batch`.
DEMANDING = """
from torch import nn

class Demanding(nn.Linear):
    def forward(self, rows):
        if self.training and len(rows) < 5:
            raise ValueError(f"the row {rows[0].tolist()} is in too small a batch")
        return super().forward(rows)

def build(inputs, classes):
    return Demanding(inputs, classes)
"""


def numeric(rows: pa.Table) -> pa.Table:
    return rows.select([RECORD, "age", "income", TARGET])


NUMERIC = Layout(features={"age": "numeric", "income": "numeric"}, classes=CLASSES, subjects=False)


def qda(**options: Any) -> Recipe:
    recipe = make_recipe({"model": QDA, "options": options})
    return replace(recipe, layout=NUMERIC)


def with_code(folder: Path, source: str, slices: int = 1, **train: Any) -> Recipe:
    code = folder / "net.py"
    code.write_text(source, encoding="utf-8")
    budget = {"epochs": 2, "batch": 8, "device": "cpu"}
    return make_recipe({"model": "net.py:build", **budget, **train}, slices=slices, code=code)


def train(recipe: Recipe, rows: pa.Table, folder: Path | None = None) -> TrainedShard:
    return train_shard(recipe, plan_shard(recipe, "s000", rows, folder), folder)


def described(trained: TrainedShard) -> dict[str, Any]:
    value = json.loads(trained.files["model.json"])
    assert isinstance(value, dict)
    return value


def one_of_a_class(rows: pa.Table) -> pa.Table:
    """Return the rows with one row of c1 left."""
    of_c1 = np.flatnonzero(pc.equal(rows[TARGET], "c1").to_numpy())
    return rows.take(pa.array(sorted(set(range(rows.num_rows)) - set(of_c1[1:]))))


@given(rows=st.integers(1, 300), size=st.integers(1, 40))
def test_batches_hold_every_row_once_and_none_has_one_row(rows: int, size: int) -> None:
    plain = batches(rows, size, joined=False)
    joined = batches(rows, size, joined=True)

    for found in (plain, joined):
        assert [row for batch in found for row in range(rows)[batch]] == list(range(rows))
    assert all(len(range(rows)[batch]) == size for batch in plain[:-1])
    if rows % size != 1 or size == 1 or rows == 1:
        assert joined == plain
    else:
        assert len(joined) == len(plain) - 1
        assert all(len(range(rows)[batch]) > 1 for batch in joined)


@pytest.mark.parametrize("count", [2, 8, 9, 17, 25])
def test_a_last_batch_of_one_row_is_no_hindrance(tmp_path: Path, count: int) -> None:
    trained = train(with_code(tmp_path, NORMALISED), make_rows(count))

    assert described(trained)["kind"] == "torch"
    assert trained.lineage.constant is None


def test_one_row_in_all_gives_a_constant_model(tmp_path: Path) -> None:
    rows = make_rows(1)
    trained = train(with_code(tmp_path, NORMALISED), rows)

    assert trained.lineage.constant == ONE_ROW
    assert not trained.lineage.refused
    found = ShardModel.of_files(trained.files).predictor().probabilities(make_rows(5))
    assert found.tolist() == [[float(label == rows[TARGET][0].as_py()) for label in CLASSES]] * 5


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(
    count=st.integers(1, 12),
    slices=st.integers(2, 6),
    gone=st.integers(0, 11),
    source=st.sampled_from([NORMALISED, DEMANDING]),
)
def test_going_on_from_checkpoints_gives_what_training_from_nothing_gives(
    tmp_path_factory: pytest.TempPathFactory, count: int, slices: int, gone: int, source: str
) -> None:
    """Whatever a slice could not be trained on, before or after a row left."""
    folder = tmp_path_factory.mktemp("resumed")
    recipe = with_code(folder, source, slices, batch=6)
    rows = make_rows(count)
    put(folder / "s000", train(recipe, rows).files)
    kept = [row for row in range(count) if row != gone % count]
    left = rows.take(pa.array(kept, pa.int64()))

    assert train(recipe, left, folder / "s000").files == train(recipe, left).files


def test_rows_that_an_estimator_refuses_give_their_class_frequencies() -> None:
    rows = numeric(one_of_a_class(make_rows(40)))
    trained = train(qda(), rows)

    assert trained.lineage.refused
    assert trained.lineage.constant == REFUSED
    counts = np.array([pc.sum(pc.equal(rows[TARGET], label)).as_py() for label in CLASSES])
    model = ShardModel.of_files(trained.files)
    found = model.predictor().probabilities(rows)
    assert found == pytest.approx(np.tile(counts / rows.num_rows, (rows.num_rows, 1)))
    assert model.has_probabilities
    assert set(trained.files) == {"model.json", "lineage.json"}
    assert described(trained)["reason"] == REFUSED
    # Byte for byte what another run makes of the same rows.
    assert train(qda(), rows).files == trained.files


def test_what_an_estimator_says_of_a_row_is_in_no_file(tmp_path: Path) -> None:
    recipe = with_code(tmp_path, DEMANDING)
    trained = train(recipe, make_rows(3))

    assert trained.lineage.refused
    assert not any(b"too small" in content for content in trained.files.values())


@pytest.mark.parametrize(
    "recipe",
    [
        qda(reg_param=-1.0),
        make_recipe({"model": "sklearn.naive_bayes.ComplementNB"}),
        make_recipe({"model": "sklearn.neighbors.KNeighborsClassifier", "options": {"p": -2}}),
    ],
    ids=["option", "negative numbers", "another option"],
)
def test_settings_that_fit_no_rows_stay_an_error(recipe: Recipe) -> None:
    rows = make_rows(40)
    with pytest.raises(InputError, match="cannot be trained"):
        train(recipe, numeric(rows) if recipe.layout == NUMERIC else rows)


def test_a_lack_of_memory_is_no_refusal(tmp_path: Path) -> None:
    source = DEMANDING.replace("ValueError", "MemoryError")
    for error in ("MemoryError", "RuntimeError"):
        recipe = with_code(tmp_path, source.replace("MemoryError", error))
        with pytest.raises(InputError, match="cannot be trained"):
            train(recipe, make_rows(3))


def test_numbers_that_diverge_on_some_rows_are_a_refusal(tmp_path: Path) -> None:
    source = """
import torch
from torch import nn

class Sum(nn.Linear):
    def forward(self, rows):
        scale = torch.inf if self.training and len(rows) < 5 else 1.0
        return super().forward(rows) * scale

def build(inputs, classes):
    return Sum(inputs, classes)
"""
    assert train(with_code(tmp_path, source), make_rows(3)).lineage.refused


def test_trial_rows_are_keyed_and_read_nothing_of_the_dataset() -> None:
    assert fits_trial_rows(qda())
    assert fits_trial_rows(replace(qda(), key=OTHER_KEY))
    assert not fits_trial_rows(qda(reg_param=-1.0))
    assert KEY.seed(0, "trial rows") != OTHER_KEY.seed(0, "trial rows")
    for model in ("naive_bayes.MultinomialNB", "neighbors.KNeighborsClassifier", "svm.SVC"):
        scale = {"preprocessing": {"scale": "none", "impute": "zero"}}
        assert fits_trial_rows(make_recipe({"model": f"sklearn.{model}", **scale}))
