"""Training in memory, without a pipeline around it: shard models, an ensemble, a plain model."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.params import shard_names
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.context import Context, open_project
from unlearn.stages.final_model.combination import mean
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.shard_file import read_shard, targets
from unlearn.stages.shard.stage import run as place_rows
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import RowPredictor, ShardModel, read_shard_model
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.verify.measures.utility import accuracy, log_loss

from benchmarks.harness import Bench

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """How good models are on the holdout.

    Parameters
    ----------
    shards
        Accuracy of each shard model by itself.
    on_own_rows
        Accuracy of each on the rows that it was trained on: far below 1 on data that can be
        learned, it was not trained long enough.
    ensemble, log_loss
        Accuracy and log loss of their mean probability.
    """

    shards: tuple[float, ...]
    on_own_rows: tuple[float, ...]
    ensemble: float
    log_loss: float

    @property
    def shard(self) -> float:
        """Mean accuracy of the shard models."""
        return float(np.mean(self.shards))

    @property
    def own(self) -> float:
        """Mean accuracy of the shard models on their own rows."""
        return float(np.mean(self.on_own_rows))


def holdout(context: Context) -> pa.Table:
    """Return the holdout's rows."""
    return _rows(context, context.project.shard_file(HOLDOUT))


def retained(context: Context, shard: str) -> pa.Table:
    """Return a shard's rows without the forgotten ones."""
    return _rows(context, context.project.retain_file(shard))


def _rows(context: Context, path: Path) -> pa.Table:
    return read_shard(path, path.relative_to(context.project.root).as_posix()).rows


def score_shard_models(context: Context) -> Scores:
    """Score the shard models of a project as they stand on disk."""
    answers, own = [], []
    rows = holdout(context)
    for shard in context.params.sharding.shards:
        model = read_shard_model(context.project.shard_models / shard, shard).predictor()
        answers.append(model.probabilities(rows))
        own.append(_accuracy(context, model, retained(context, shard)))
    return _scores(context, rows, answers, own)


def place_copy(target: Bench, like: Bench, source: Path, *, shards: int, slices: int) -> None:
    """Spread a dataset over another number of shards, with a project's settings and key.

    Parameters
    ----------
    target
        A folder that does not exist; it gets what training takes, and neither git nor DVC.
    like
        The project.
    source
        The dataset, on the same file system.
    shards, slices
        How many.
    """
    (target.root / "data").mkdir(parents=True)
    for name in ("params.yaml", *FILES, "dvc.yaml", "unlearn.key"):
        (target.root / name).write_bytes((like.root / name).read_bytes())
    os.link(source, target.root / "data" / f"dataset{source.suffix}")
    (target.root / "data/forget_list.txt").touch()
    target.set_params(sharding={"shards": shard_names(shards), "slices": slices})
    place_rows(target.context())


def train_and_score(bench: Bench, jobs: int) -> Scores:
    """Train all shards of a folder that holds the settings and data/shards, and score them.

    Nothing is written: this is for comparing settings, where the pipeline is not of interest.
    """
    context = bench.context()
    shards = context.params.sharding.shards
    # Not fork: a forked torch may hang.
    start = multiprocessing.get_context("spawn")
    use_one_thread()
    with ProcessPoolExecutor(min(jobs, len(shards)), mp_context=start) as pool:
        done = list(pool.map(_train_one, [bench.root] * len(shards), shards))
    return _scores(context, holdout(context), [answer for answer, _ in done], [o for _, o in done])


def _train_one(root: Path, shard: str) -> tuple[Probabilities, float]:
    """Return a shard model's answers on the holdout, and its accuracy on its own rows."""
    context = open_project(Project(root))
    rows = _rows(context, context.project.shard_file(shard))
    recipe = Recipe.of(context.params, context.key, root)
    files = train_shard(recipe, plan_shard(recipe, shard, rows, folder=None), folder=None).files
    description = json.loads(files["model.json"])
    model = ShardModel(description, files[description["file"]]).predictor()
    return model.probabilities(holdout(context)), _accuracy(context, model, rows)


def _scores(
    context: Context, rows: pa.Table, answers: Sequence[Probabilities], own: Sequence[float]
) -> Scores:
    truth = targets(rows, context.layout)
    together = mean(answers)
    return Scores(
        shards=tuple(accuracy(answer, truth) for answer in answers),
        on_own_rows=tuple(own),
        ensemble=accuracy(together, truth),
        log_loss=log_loss(together, truth),
    )


def _accuracy(context: Context, model: RowPredictor, rows: pa.Table) -> float:
    return accuracy(model.probabilities(rows), targets(rows, context.layout))
