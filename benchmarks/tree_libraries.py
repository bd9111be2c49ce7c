"""Libraries for boosted trees on UCI Adult: time and accuracy, compared with the bare library.

Two tables. Time: a shard model of all rows, with its file, digest and lineage, against the
library's own class for scikit-learn on the same rows, as a pandas table with categories. Accuracy:
the ensemble at the number of shards that `unlearn init` picks, and at others, against one plain
model of the same library, on the same held-out rows.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import pandas as pd
import pyarrow as pa
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import TrainingSize
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.shard_file import TARGET, read_shard
from unlearn.stages.training.fitting import prepare
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.slices import plan_shard, train_shard

from benchmarks.adult import write_dataset
from benchmarks.harness import Bench, machine, new_project, say, show, spread, workplace
from benchmarks.models import place_copy, train_and_score

SHARDS = (1, 5, 10, 20)


def _fit_xgboost(inputs: pd.DataFrame, labels: Any) -> Any:
    import xgboost

    model = xgboost.XGBClassifier(n_jobs=1, random_state=0, enable_categorical=True)
    return model.fit(inputs, labels)


def _fit_lightgbm(inputs: pd.DataFrame, labels: Any) -> Any:
    import lightgbm

    model = lightgbm.LGBMClassifier(
        n_jobs=1, random_state=0, verbosity=-1, deterministic=True, force_row_wise=True
    )
    return model.fit(inputs, labels)


def _fit_catboost(inputs: pd.DataFrame, labels: Any) -> Any:
    import catboost

    names = [name for name in inputs.columns if inputs[name].dtype == "category"]
    frame = inputs.copy()
    for name in names:
        frame[name] = frame[name].cat.add_categories("missing").fillna("missing")
    model = catboost.CatBoostClassifier(
        thread_count=1,
        random_seed=0,
        logging_level="Silent",
        allow_writing_files=False,
        cat_features=names,
    )
    return model.fit(frame, labels)


#: By value of `train.model`, what fits the library's own class.
BARE: dict[str, Callable[[pd.DataFrame, Any], Any]] = {
    "xgboost.XGBClassifier": _fit_xgboost,
    "lightgbm.LGBMClassifier": _fit_lightgbm,
    "catboost.CatBoostClassifier": _fit_catboost,
}


def main() -> None:
    """Measure both tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--models", nargs="*", default=list(BARE), choices=list(BARE))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--jobs", "-j", type=int, default=2)
    arguments = parser.parse_args()
    files = [arguments.data / name for name in ("adult-train.csv", "adult-test.csv")]
    use_one_thread()
    print(machine())
    times, scores = [], []
    with workplace(None) as folder:
        source = folder / "adult.csv"
        rows = write_dataset(files, source, 20 if arguments.quick else 1)
        say(f"{rows:,} rows")
        for model in arguments.models:
            say(model)
            bench = new_project(folder / model, source, "--model", model)
            picked = len(bench.context().params.sharding.shards)
            one = place(bench, folder / f"{model}-1", source, 1)
            times.append(measure_time(model, one, arguments.repetitions))
            shown = {}
            for count in sorted({picked, *SHARDS}):
                say(f"{model}: {count} shards")
                target = folder / f"{model}-{count}"
                copy = one if count == 1 else place(bench, target, source, count)
                shown[count] = train_and_score(copy, arguments.jobs).ensemble
            plain = plain_accuracy(model, one)
            scores.append(
                [model, f"{plain:.4f}", picked, f"{shown[picked]:.4f}"]
                + [f"{shown[count]:.4f}" for count in SHARDS]
            )
    header = [
        "model",
        "fit / bare",
        "shard / bare",
        "fit, s",
        "shard, s",
        "bare, s",
        "init says, s",
    ]
    note = (
        f"Medians of {arguments.repetitions} repetitions in turn, in seconds of the processor. A "
        "fit turns the rows of a shard into a checked file; a shard has digests and a lineage too."
    )
    show("tree library times", header, times, note)
    show(
        "tree library accuracy",
        ["model", "plain", "shards picked", "ensemble", *(f"{count} shards" for count in SHARDS)],
        scores,
    )


def place(bench: Bench, target: Path, source: Path, shards: int) -> Bench:
    """Return a folder that has the rows in so many shards."""
    copy = Bench(target)
    place_copy(copy, bench, source, shards=shards, slices=1)
    return copy


def measure_time(model: str, bench: Bench, repetitions: int) -> list[object]:
    """Return the row of a model: seconds of the trainings, in turn, and their ratios."""
    context = bench.context()
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    recipe = Recipe.of(context.params, context.key, bench.root)
    find_spec(model).load()
    inputs, labels = as_pandas(rows, context.layout.features)
    ours, fits, bare = [], [], []
    for turn in range(repetitions + 1):
        # One row less each time: a model that is known already would not be read again.
        some = rows.slice(turn)
        work = plan_shard(recipe, "s000", some, None)
        begun = time.process_time()
        train_shard(recipe, work, None)
        ours.append(time.process_time() - begun)
        begun = time.process_time()
        prepare(recipe, "s000", work.sliced).fit(None, 1, turn)
        fits.append(time.process_time() - begun)
        begun = time.process_time()
        BARE[model](inputs[turn:], labels[turn:])
        bare.append(time.process_time() - begun)
    # The first one loads libraries.
    ours, fits, bare = ours[1:], fits[1:], bare[1:]
    base = statistics.median(bare)
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
    return [model, *ratios, spread(fits, 2), spread(ours, 2), spread(bare, 2), f"{expected:.2f}"]


def as_pandas(rows: pa.Table, features: Iterable[str]) -> tuple[pd.DataFrame, Any]:
    """Return rows as the libraries' users have them: categories as such, and numbers of classes."""
    inputs = rows.select(list(features)).to_pandas()
    for name in inputs.columns:
        if not pd.api.types.is_numeric_dtype(inputs[name]):
            inputs[name] = inputs[name].astype("category")
    return inputs, pd.Categorical(rows[TARGET].to_pandas()).codes


def plain_accuracy(model: str, bench: Bench) -> float:
    """Return the accuracy of the library's own model of all rows on the held-out rows."""
    context = bench.context()
    rows = read_shard(context.project.shard_file("s000"), "s000").rows
    holdout = read_shard(context.project.shard_file(HOLDOUT), "holdout").rows
    both, labels = as_pandas(pa.concat_tables([rows, holdout]), context.layout.features)
    fitted = BARE[model](both[: rows.num_rows], labels[: rows.num_rows])
    found = fitted.predict(both[rows.num_rows :])
    return float((found == labels[rows.num_rows :]).mean())


if __name__ == "__main__":
    main()
