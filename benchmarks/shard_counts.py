"""What shards cost in quality: ensembles of several sizes against one plain model of the library.

Two tables that the script makes: 20,640 rows of houses with eight columns, whose price is to be
predicted, and 6,000 rows with 300 columns that are mostly 0, of two classes. For each model: the
error of the library's own class on all training rows, and that of the ensemble at the number of
shards that `unlearn init` picks, and at 1, 5, 10 and 20, on the same held-out rows. Last, the time
that a shard model of all rows takes, in times of the bare library's.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.shard_file import read_shard, training_targets
from unlearn.stages.training.fitting import prepare
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from benchmarks.harness import Bench, machine, new_project, say, show, workplace
from benchmarks.models import place_copy

Floats = npt.NDArray[np.float64]

SHARDS = (1, 5, 10, 20)
TURNS = 5


def houses(rows: int) -> pd.DataFrame:
    """Return houses in blocks of a coast: prices follow from place, income, age and rooms."""
    draw = np.random.default_rng(11)
    north, east = draw.uniform(0, 10, rows), draw.uniform(0, 10, rows)
    income = draw.lognormal(1.2, 0.5, rows)
    age, rooms = draw.integers(1, 53, rows), draw.normal(5.4, 1.4, rows).clip(1)
    people, homes = draw.lognormal(7, 0.7, rows).round(), draw.lognormal(6, 0.6, rows).round()
    coast = np.exp(-np.abs(east - 2 - np.sin(north)))
    cities = sum(
        np.exp(-((north - at) ** 2 + (east - to) ** 2) / 2) for at, to in ((2, 3), (7, 2), (5, 6))
    )
    worth = 0.45 * income + 1.2 * coast + 0.9 * cities + 0.004 * age * coast
    worth += 0.12 * np.log1p(rooms) * income - 0.1 * np.log1p(people / homes)
    price = (worth * np.exp(draw.normal(0, 0.18, rows)) * 1e5).clip(15_000, 500_000).round()
    columns = {
        "north": north,
        "east": east,
        "income": income,
        "age": age,
        "rooms": rooms,
        "people": people,
        "homes": homes,
        "bedrooms": (rooms * draw.uniform(0.15, 0.3, rows)).round(3),
    }
    return pd.DataFrame({"id": [f"r{n}" for n in range(rows)], **columns, "label": price})


def sparse(rows: int) -> pd.DataFrame:
    """Return rows of counts that are mostly 0; 40 of the 300 columns say something."""
    draw = np.random.default_rng(12)
    counts = draw.poisson(1.2, (rows, 300)) * (draw.random((rows, 300)) < 0.05)
    weights = np.zeros(300)
    weights[:40] = draw.normal(0, 1.6, 40)
    logits = counts @ weights + 2 * (counts[:, 0] > 0) * (counts[:, 1] > 0)
    label = draw.random(rows) < 1 / (1 + np.exp(-(logits - np.median(logits))))
    frame = pd.DataFrame(counts, columns=[f"c{n:03d}" for n in range(300)])
    frame.insert(0, "id", [f"r{n}" for n in range(rows)])
    return frame.assign(label=np.where(label, "yes", "no"))


@dataclass(frozen=True)
class Table:
    """A table, and what is measured on it.

    Parameters
    ----------
    make
        Returns so many rows.
    rows
        How many.
    models
        Values of `train.model`.
    task
        What `init` is told about the target.
    error
        The measure of predictions, given them and the truth.
    """

    make: Callable[[int], pd.DataFrame]
    rows: int
    models: tuple[str, ...]
    task: str
    error: Callable[[Floats, Any], float]


def _rmse(predictions: Floats, truth: Any) -> float:
    return float(np.sqrt(np.mean((predictions - truth) ** 2)))


def _accuracy(probabilities: Floats, truth: Any) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == truth))


TABLES = {
    "houses": Table(
        houses,
        20_640,
        (
            "sklearn.ensemble.HistGradientBoostingRegressor",
            "xgboost.XGBRegressor",
            "lightgbm.LGBMRegressor",
        ),
        "regression",
        _rmse,
    ),
    "sparse": Table(
        sparse,
        6_000,
        ("sklearn.linear_model.LogisticRegression", "lightgbm.LGBMClassifier"),
        "classification",
        _accuracy,
    ),
}


def main() -> None:
    """Measure the tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    use_one_thread()
    print(machine())
    for name, table in TABLES.items():
        with workplace(None) as folder:
            source = folder / f"{name}.csv"
            rows = table.rows // (20 if arguments.quick else 1)
            table.make(rows).to_csv(source, index=False)
            lines = [_measure(folder, source, table, model) for model in table.models]
        unit = "RMSE" if table.task == "regression" else "accuracy"
        header = ["model", f"plain {unit}", "init picks", *(f"{n} shards" for n in SHARDS)]
        note = f"Shards: {unit} of the ensemble, relative to the plain model. Times are medians."
        show(name, [*header, "shard model / bare"], lines, note)


def _measure(folder: Path, source: Path, table: Table, model: str) -> list[object]:
    say(model)
    bench = new_project(
        folder / f"{model}", source, "--model", model, "--task", table.task, "--epochs", "1"
    )
    picked = len(bench.context().params.sharding.shards)
    found = {}
    for count in sorted({picked, *SHARDS}):
        copy = Bench(folder / f"{model}-{count}")
        place_copy(copy, bench, source, shards=count, slices=1)
        found[count] = _ensemble(copy, table)
    whole = Bench(folder / f"{model}-1")
    plain, ratio = _plain(whole, table, model)
    shown = {count: _relative(error, plain, table) for count, error in found.items()}
    chosen = f"{picked} ({shown[picked]})"
    return [model, f"{plain:,.4g}", chosen, *(shown[count] for count in SHARDS), f"{ratio:.2f}"]


def _relative(error: float, plain: float, table: Table) -> str:
    if table.task == "regression":
        return f"{100 * (error / plain - 1):+.1f} %"
    return f"{100 * (error - plain):+.2f} points"


def _rows(bench: Bench, name: str) -> pa.Table:
    return read_shard(bench.context().project.shard_file(name), name).rows


def _ensemble(bench: Bench, table: Table) -> float:
    context = bench.context()
    recipe = Recipe.of(context.params, context.key, bench.root)
    held_out = _rows(bench, HOLDOUT)
    answers = []
    for shard in context.params.sharding.shards:
        work = plan_shard(recipe, shard, _rows(bench, shard), None)
        model = ShardModel.of_files(train_shard(recipe, work, None).files)
        answers.append(model.predictor().answers(held_out))
    truth = training_targets(held_out, context.layout)
    return table.error(np.mean(answers, axis=0), truth)


def _plain(bench: Bench, table: Table, model: str) -> tuple[float, float]:
    """Return the error of the library's own class, and how long ours takes in times of its fit."""
    context = bench.context()
    recipe = Recipe.of(context.params, context.key, bench.root)
    rows, held_out = _rows(bench, "s000"), _rows(bench, HOLDOUT)
    inputs, unseen = (
        each.select(list(context.layout.features)).to_pandas().to_numpy()
        for each in (rows, held_out)
    )
    labels, truth = (training_targets(each, context.layout) for each in (rows, held_out))
    ratios = []
    for turn in range(TURNS):
        work = plan_shard(recipe, "s000", rows.slice(turn), None)
        begun = time.process_time()
        prepare(recipe, "s000", work.sliced).fit(None, 1, turn)
        ours = time.process_time() - begun
        begun = time.process_time()
        plain = _bare(model).fit(inputs, labels)
        ratios.append(ours / (time.process_time() - begun))
    is_number = table.task == "regression"
    answers = plain.predict(unseen) if is_number else plain.predict_proba(unseen)
    return table.error(np.asarray(answers), truth), statistics.median(ratios)


def _bare(model: str) -> Any:
    module, _, name = model.rpartition(".")
    kind = getattr(__import__(module, fromlist=[name]), name)
    options = {"n_jobs": 1} if "sklearn" not in module else {}
    quiet = {"verbosity": -1} if module == "lightgbm" else {}
    if module == "sklearn.linear_model":
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), kind())
    return kind(random_state=0, **options, **quiet)


if __name__ == "__main__":
    main()
