"""Libraries for boosted trees on three tables: time and quality, compared with the bare library.

Tables are UCI Adult; a regression like that of house prices in California; and a wide one whose
values are mostly 0. The last two are drawn here. Time: a shard model of all rows, with its file,
digest and lineage, against the library's own class for scikit-learn on the same rows, as a pandas
table with categories. Quality: the ensemble at the number of shards that `unlearn init` picks, and
at others, against one plain model of the same library, on the same held-out rows.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import TrainingSize
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.shard_file import read_shard, training_targets
from unlearn.stages.training.fitting import prepare
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from benchmarks.adult import write_dataset
from benchmarks.harness import Bench, machine, new_project, say, show, spread, workplace
from benchmarks.models import place_copy

SHARDS = (5, 10, 20)

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A table to try the libraries on.

    Parameters
    ----------
    write
        Writes it to a CSV file, given the file, the folder of Adult, and every how many rows to
        keep one.
    kind
        `Classifier` or `Regressor`: how the names of the libraries' classes end.
    options
        More options of `unlearn init`.
    """

    write: Callable[[Path, Path, int], None]
    kind: str
    options: tuple[str, ...] = ()


def _adult(target: Path, data: Path, every: int) -> None:
    files = [data / name for name in ("adult-train.csv", "adult-test.csv")]
    write_dataset(files, target, every)


def _houses(target: Path, _data: Path, every: int) -> None:
    """Write a price that follows from income, place and age of a district; 20,640 rows."""
    draw = np.random.default_rng(7)
    count = 20_640
    income = draw.gamma(3.5, 1.1, count)
    latitude, longitude = draw.uniform(32.5, 42, count), draw.uniform(-124.3, -114.3, count)
    age, rooms = draw.integers(1, 53, count), draw.gamma(9, 0.6, count)
    people = draw.lognormal(7, 0.7, count)
    shore = np.exp(-np.abs(longitude + 124.3 - (42 - latitude) * 0.6))
    city = np.exp(-((latitude - 34) ** 2) - (longitude + 118) ** 2)
    price = 45_000 * income + 120_000 * shore + 90_000 * city * np.sqrt(income) + 800 * age
    price += 9_000 * np.log(rooms) + 30_000 * draw.normal(size=count)
    frame = pd.DataFrame(
        {
            "id": [f"h{number:05d}" for number in range(count)],
            "income": income.round(4),
            "age": age.astype(float),
            "rooms": rooms.round(3),
            "people": people.round(),
            "latitude": latitude.round(3),
            "longitude": longitude.round(3),
            "label": np.clip(price, 15_000, 500_000).round(),
        }
    )
    frame[::every].to_csv(target, index=False)


def _sparse(target: Path, _data: Path, every: int) -> None:
    """Write 8,000 rows of 400 counts, of which 3 % are not 0; two classes by 60 of them."""
    draw = np.random.default_rng(8)
    count, width = 8_000, 400
    values = np.where(draw.random((count, width)) < 0.03, draw.poisson(2, (count, width)) + 1, 0)
    weights = np.where(np.arange(width) < 60, draw.normal(size=width), 0)
    score = values @ weights + 0.5 * draw.normal(size=count)
    frame = pd.DataFrame(values, columns=[f"w{number:03d}" for number in range(width)])
    frame.insert(0, "id", [f"s{number:05d}" for number in range(count)])
    frame["label"] = np.where(score > np.median(score), "yes", "no")
    frame[::every].to_csv(target, index=False)


TABLES = {
    "adult": Table(_adult, "Classifier"),
    "houses": Table(_houses, "Regressor", ("--task", "regression")),
    "sparse": Table(_sparse, "Classifier"),
}


def _fit_xgboost(kind: str, inputs: pd.DataFrame, truth: Numbers) -> Any:
    import xgboost

    model = getattr(xgboost, f"XGB{kind}")(n_jobs=1, random_state=0, enable_categorical=True)
    return model.fit(inputs, truth)


def _fit_lightgbm(kind: str, inputs: pd.DataFrame, truth: Numbers) -> Any:
    import lightgbm

    model = getattr(lightgbm, f"LGBM{kind}")(
        n_jobs=1, random_state=0, verbosity=-1, deterministic=True, force_row_wise=True
    )
    return model.fit(inputs, truth)


def _fit_catboost(kind: str, inputs: pd.DataFrame, truth: Numbers) -> Any:
    import catboost

    model = getattr(catboost, f"CatBoost{kind}")(
        thread_count=1,
        random_seed=0,
        logging_level="Silent",
        allow_writing_files=False,
        cat_features=[name for name in inputs.columns if inputs[name].dtype == "category"],
    )
    return model.fit(inputs, truth)


#: By library: how its classes begin, and what fits one.
BARE: dict[str, tuple[str, Callable[[str, pd.DataFrame, Numbers], Any]]] = {
    "xgboost": ("xgboost.XGB", _fit_xgboost),
    "lightgbm": ("lightgbm.LGBM", _fit_lightgbm),
    "catboost": ("catboost.CatBoost", _fit_catboost),
}


def main() -> None:
    """Measure time and quality on each table, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--libraries", nargs="*", default=list(BARE), choices=list(BARE))
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    use_one_thread()
    print(machine())
    times, scores = [], []
    with workplace(None) as folder:
        for name in arguments.tables:
            table = TABLES[name]
            source = folder / f"{name}.csv"
            table.write(source, arguments.data, 20 if arguments.quick else 1)
            for library in arguments.libraries:
                say(f"{library} on {name}")
                at = folder / f"{name}-{library}"
                measured, quality = measure(library, table, source, at, arguments.repetitions)
                times.append([name, *measured])
                scores.append([name, *quality])
                print(times[-1], scores[-1], flush=True)
    header = ["table", "model", "fit / bare", "shard / bare", "fit, s", "shard, s", "bare, s"]
    note = (
        f"Medians of {arguments.repetitions} repetitions in turn, in seconds of the processor. A "
        "fit turns the rows of a shard into a checked file; a shard has digests and a lineage too."
    )
    show("tree library times", [*header, "init says, s"], times, note)
    header = ["table", "model", "plain", "shards picked", "ensemble"]
    note = "Accuracy, or the root of the mean squared error where the model is a regressor."
    shards = [f"{count} shards" for count in SHARDS]
    show("tree library quality", [*header, *shards], scores, note)


def measure(
    library: str, table: Table, source: Path, at: Path, repetitions: int
) -> tuple[list[object], list[object]]:
    """Return the rows of a library on a table, of times and of quality."""
    prefix, fit_bare = BARE[library]
    model = f"{prefix}{table.kind}"
    bench = new_project(at, source, "--model", model, *table.options)
    picked = len(bench.context().params.sharding.shards)
    copies = {
        count: place(bench, at.with_name(f"{at.name}-{count}"), source, count)
        for count in sorted({1, picked, *SHARDS})
    }

    def bare(inputs: pd.DataFrame, truth: Numbers) -> Any:
        return fit_bare(table.kind, inputs, truth)

    measured = measure_time(model, copies[1], bare, repetitions)
    found = {count: ensemble_quality(copy) for count, copy in copies.items()}
    digits = 4 if table.kind == "Classifier" else 0
    shown = {count: f"{value:,.{digits}f}" for count, value in found.items()}
    plain = f"{plain_quality(copies[1], bare):,.{digits}f}"
    return measured, [model, plain, picked, shown[picked], *(shown[count] for count in SHARDS)]


def place(bench: Bench, target: Path, source: Path, shards: int) -> Bench:
    """Return a folder that has the rows in so many shards."""
    copy = Bench(target)
    place_copy(copy, bench, source, shards=shards, slices=1)
    return copy


def measure_time(
    model: str, bench: Bench, bare: Callable[[pd.DataFrame, Numbers], Any], repetitions: int
) -> list[object]:
    """Return the row of a model: seconds of the trainings, in turn, and their ratios."""
    context = bench.context()
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    recipe = Recipe.of(context.params, context.key, bench.root)
    find_spec(model).load()
    inputs = as_pandas(rows, context.layout.features)
    truth = training_targets(rows, context.layout)
    bare(inputs[:200], truth[:200])  # the first one loads libraries
    ours: list[float] = []
    fits: list[float] = []
    plain: list[float] = []
    for turn in range(repetitions):
        # One row less each time: a model that is known already would not be read again.
        work = plan_shard(recipe, "s000", rows.slice(turn), None)
        for spent, train in (
            (ours, lambda work=work: train_shard(recipe, work, None)),
            (fits, lambda work=work: prepare(recipe, "s000", work.sliced).fit(None, 1, 1)),
            (plain, lambda turn=turn: bare(inputs[turn:], truth[turn:])),
        ):
            begun = time.process_time()
            train()
            spent.append(time.process_time() - begun)
    base = statistics.median(plain)
    ratios = [f"{statistics.median(seconds) / base:.2f}" for seconds in (fits, ours)]
    size = TrainingSize(
        model,
        rows.num_rows,
        len(context.params.dataset.features),
        len(context.params.dataset.classes),
        epochs=1,
        batch=1,
        options=context.params.train.options,
    )
    expected = find_spec(model).seconds(size)
    return [model, *ratios, *(spread(each, 2) for each in (fits, ours, plain)), f"{expected:.2f}"]


def as_pandas(rows: pa.Table, features: Iterable[str]) -> pd.DataFrame:
    """Return rows as the libraries' users have them, missing categories as such."""
    inputs = rows.select(list(features)).to_pandas()
    for name in inputs.columns:
        if not pd.api.types.is_numeric_dtype(inputs[name]):
            inputs[name] = inputs[name].fillna("missing").astype("category")
    return inputs


def quality(answers: Numbers, truth: Numbers) -> float:
    """Return the accuracy of probabilities or labels, or the RMSE of numbers."""
    if answers.ndim > 1:
        return float((answers.argmax(axis=1) == truth).mean())
    if truth.dtype.kind == "i":
        return float((answers == truth).mean())
    return float(np.sqrt(((answers - truth) ** 2).mean()))


def ensemble_quality(bench: Bench) -> float:
    """Return the quality of the mean of all shard models on the held-out rows."""
    context = bench.context()
    recipe = Recipe.of(context.params, context.key, bench.root)
    holdout = read_shard(context.project.shard_file(HOLDOUT), "holdout").rows
    answers = []
    for shard in context.params.sharding.shards:
        rows = read_shard(context.project.shard_file(shard), shard).rows
        trained = train_shard(recipe, plan_shard(recipe, shard, rows, None), None)
        answers.append(ShardModel.of_files(trained.files).predictor().answers(holdout))
    return quality(np.mean(answers, axis=0), training_targets(holdout, context.layout))


def plain_quality(bench: Bench, bare: Callable[[pd.DataFrame, Numbers], Any]) -> float:
    """Return the quality of the library's own model of all rows on the held-out rows."""
    context = bench.context()
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    holdout = read_shard(context.project.shard_file(HOLDOUT), "holdout").rows
    both = as_pandas(pa.concat_tables([rows, holdout]), context.layout.features)
    fitted = bare(both[: rows.num_rows], training_targets(rows, context.layout))
    found = np.asarray(fitted.predict(both[rows.num_rows :]))
    return quality(found, training_targets(holdout, context.layout))


if __name__ == "__main__":
    main()
