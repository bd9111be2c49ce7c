"""Models of sets of rows: accuracy and fitting against scikit-learn, forgetting against fitting.

All times are processor times of one thread in one process, so that other work on the machine
changes them little. A fit of ours counts from codes and digests on, as scikit-learn's counts from
one-hot columns on; what these take is a column of its own. The fastest of the repetitions of a fit
counts, for both.
"""

import argparse
import copy
import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from unlearn.stages.config.dataset import FeatureKind
from unlearn.stages.config.row_sets import (
    ExactBoostingOptions,
    ExactForestOptions,
    ExactLinearOptions,
    ExactNaiveBayesOptions,
)
from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape
from unlearn.stages.estimators.row_sets.boosting import ExactBoosting
from unlearn.stages.estimators.row_sets.forest import ExactForest
from unlearn.stages.estimators.row_sets.grids import Grid, find_ends, make_grid
from unlearn.stages.estimators.row_sets.linear import ExactLinear
from unlearn.stages.estimators.row_sets.naive_bayes import ExactNaiveBayes
from unlearn.stages.estimators.row_sets.row_set import RowSet, row_digests, row_set
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Key

from benchmarks.adult import COLUMNS
from benchmarks.harness import BENCHMARK_KEY, machine, say, show

KEY = Key(BENCHMARK_KEY)
MISSING = "?"


@dataclass(frozen=True)
class Data:
    """A dataset in two parts; the last column is the class."""

    name: str
    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def classes(self) -> list[str]:
        """The classes, in order."""
        return sorted(self.train.iloc[:, -1].unique())

    def targets(self, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return class indices."""
        found = np.searchsorted(self.classes, frame.iloc[:, -1].to_numpy(str))
        return np.asarray(found, np.int64)

    def dense(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return both parts with a column for each category, as scikit-learn needs them."""
        both = pd.get_dummies(pd.concat([self.train, self.test]).iloc[:, :-1], dtype=np.float64)
        values = both.to_numpy()
        return values[: len(self.train)], values[len(self.train) :]

    def grid(self) -> Grid:
        """Return the grids, from the training rows."""
        numbers = [name for name in self.train.columns[:-1] if self.train[name].dtype.kind in "if"]
        ends = {name: find_ends(self.train[name].to_numpy(np.float64)) for name in numbers}
        others = [name for name in self.train.columns[:-1] if name not in ends]
        pinned = {name: tuple(sorted(self.train[name].dropna().unique())) for name in others}
        kinds: dict[str, FeatureKind] = {
            name: "numeric" if name in ends else "categorical" for name in self.train.columns[:-1]
        }
        return make_grid(Layout(kinds, (), subjects=False, categories=pinned), ends, KEY)

    def rows(self, frame: pd.DataFrame, grid: Grid) -> tuple[RowSet, npt.NDArray[np.uint16]]:
        """Return rows as a set, and their codes in the order of the frame."""
        table = pa.Table.from_pandas(frame.iloc[:, :-1], preserve_index=False)
        codes, targets = grid.encode(table), self.targets(frame)
        ids = np.arange(len(frame), dtype=np.int64)[:, None].view(np.uint8)
        digests = row_digests(KEY, [ids, codes.view(np.uint8), targets[:, None].view(np.uint8)])
        return row_set(digests, codes, targets), codes


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--large", action="store_true", help="also a million rows of 50 features")
    arguments = parser.parse_args()
    sizes = (3_000,) if arguments.quick else (32_561, 100_000)
    print(machine())
    adult = read_adult(arguments.data)
    letters = draw_letters(1_000 if arguments.quick else 10_000)
    few = Data(adult.name, adult.train[: sizes[0]], adult.test)
    compare_with_sklearn([few, letters])
    for size in sizes:
        compare_forgetting(copies(adult, size))
    if arguments.large:
        measure_large()


def read_adult(folder: Path) -> Data:
    """Return UCI Adult."""
    parts = []
    for name in ("adult-train.csv", "adult-test.csv"):
        frame = pd.read_csv(
            folder / name,
            header=None,
            names=COLUMNS,
            skipinitialspace=True,
            na_values=MISSING,
            comment="|",
        )
        frame = frame[frame["label"].notna()].reset_index(drop=True)
        frame["label"] = frame["label"].str.rstrip(".")
        parts.append(frame)
    return Data("Adult", *parts)


def copies(data: Data, size: int, seed: int = 0) -> Data:
    """Return so many rows: the data, or jittered copies of it."""
    if size <= len(data.train):
        return Data(data.name, data.train[:size], data.test)
    random = np.random.default_rng(seed)
    frame = data.train.iloc[random.integers(0, len(data.train), size)].reset_index(drop=True).copy()
    for name in ("age", "fnlwgt", "hours_per_week", "capital_gain"):
        frame[name] = frame[name] * (1 + random.normal(0, 0.03, size))
    return Data(f"{data.name}, jittered copies", frame, data.test)


def draw_letters(size: int, seed: int = 1) -> Data:
    """Return 26 classes of three clusters each, with 16 whole numbers, after UCI Letter."""
    random = np.random.default_rng(seed)
    centres = random.normal(7.5, 2.6, (26, 3, 16))
    count = size + size // 4
    label, cluster = random.integers(0, 26, count), random.integers(0, 3, count)
    values = centres[label, cluster] + random.normal(0, 1.9, (count, 16))
    frame = pd.DataFrame(np.clip(np.rint(values), 0, 15), columns=[f"x{at}" for at in range(16)])
    frame["letter"] = [chr(ord("A") + at) for at in label]
    return Data("Letter-like", frame[:size], frame[size:].reset_index(drop=True))


def processor_time(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of some work in seconds, and what it returned."""
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def fastest(work: Callable[[], Any], times: int = 2) -> tuple[float, Any]:
    """Return the least processor time of a few runs, and what the last one returned."""
    runs = [processor_time(work) for _ in range(times)]
    return min(seconds for seconds, _ in runs), runs[-1][1]


Build = Callable[[Shape], RowSetEstimator[Any]]


def forest(share: float = 0.1) -> Build:
    """Return what builds a forest whose rows are in a share of the trees."""
    return lambda shape: ExactForest(KEY, shape, ExactForestOptions(share=share))


def boosting(shape: Shape) -> RowSetEstimator[Any]:
    """Return boosting."""
    return ExactBoosting(KEY, shape, ExactBoostingOptions())


def linear(**options: Any) -> Build:
    """Return what builds a linear model."""
    return lambda shape: ExactLinear(KEY, shape, ExactLinearOptions(**options))


def naive_bayes(shape: Shape) -> RowSetEstimator[Any]:
    """Return naive Bayes."""
    return ExactNaiveBayes(KEY, shape, ExactNaiveBayesOptions())


def fit_model(estimator: RowSetEstimator[Any], rows: RowSet) -> bytes:
    """Return the model of rows."""
    return estimator.model(estimator.fit(rows))


def compare_with_sklearn(datasets: Sequence[Data]) -> None:
    """Compare accuracy and the time of a fit."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
    from sklearn.linear_model import RidgeClassifier
    from sklearn.naive_bayes import GaussianNB

    pairs: list[tuple[str, Build, Any]] = [
        ("exact_forest, share .1", forest(), ExtraTreesClassifier(100, random_state=0)),
        ("exact_forest, share .5", forest(0.5), None),
        ("exact_forest, share 1", forest(1.0), None),
        ("exact_boosting", boosting, HistGradientBoostingClassifier(random_state=0)),
        ("exact_linear, ridge", linear(rule="ridge"), RidgeClassifier()),
        ("exact_linear, discriminant", linear(), LinearDiscriminantAnalysis()),
        ("the same, 500 Fourier features", linear(fourier=500, bandwidth=0.25), None),
        ("exact_naive_bayes", naive_bayes, GaussianNB()),
    ]
    table = []
    for data in datasets:
        grid = data.grid()
        encoding, (rows, _) = processor_time(partial(data.rows, data.train, grid))
        _, codes = data.rows(data.test, grid)
        shape = Shape(grid.sizes, grid.categorical, len(data.classes))
        dense, dense_test = data.dense()
        dense, dense_test = (np.nan_to_num(part) for part in (dense, dense_test))
        targets, expected = data.targets(data.train), data.targets(data.test)
        for name, build, theirs in pairs:
            say(f"{data.name}: {name}")
            estimator = build(shape)
            seconds, model = fastest(partial(fit_model, estimator, rows))
            answers = estimator.predictor(model).probabilities(codes).argmax(axis=1)
            line: list[object] = [data.name, name, f"{(answers == expected).mean():.4f}"]
            if theirs is None:
                line += ["", f"{seconds:.3f}", ""]
            else:
                other, fitted = fastest(partial(theirs.fit, dense, targets))
                line += [f"{fitted.score(dense_test, expected):.4f}"]
                line += [f"{seconds:.3f}", f"{seconds / other:.2f}"]
            table.append([*line, f"{encoding:.3f}"])
    show(
        "exact models and scikit-learn",
        [
            "data",
            "model",
            "accuracy",
            "scikit-learn's",
            "fit, s",
            "in fits of scikit-learn",
            "codes and digests, s",
        ],
        table,
    )


def compare_forgetting(data: Data) -> None:
    """Compare forgetting with fitting, for requests of several sizes."""
    grid = data.grid()
    rows, _ = data.rows(data.train, grid)
    shape = Shape(grid.sizes, grid.categorical, len(data.classes))
    requests = (1, 8, 39, len(rows) // 100)
    table = []
    for name, build in (
        ("exact_forest", forest()),
        ("exact_boosting", boosting),
        ("exact_linear", linear()),
        ("exact_naive_bayes", naive_bayes),
    ):
        say(f"{len(rows):,} rows: {name}")
        estimator = build(shape)
        fit, state = fastest(partial(estimator.fit, rows))
        size = sum(map(len, estimator.save(state).values()))
        line: list[object] = [f"{len(rows):,}", name, f"{fit:.3f}", f"{size / 1e6:.1f}"]
        for request in requests:
            times = [_forget(estimator, state, rows, request, seed) for seed in range(20)]
            median, mean = fit / float(np.median(times)), fit / float(np.mean(times))
            line.append(f"{median:.0f}" if median < 2 * mean else f"{median:.0f} (mean {mean:.0f})")
        table.append(line)
    names = [f"{request:,} row{'s' if request > 1 else ''}" for request in requests]
    show(
        f"forgetting and fitting, {len(rows):,} rows",
        ["rows", "model", "fit, s", "state, MB", *(f"fit / forget, {name}" for name in names)],
        table,
    )


def _forget(
    estimator: RowSetEstimator[Any], state: Any, rows: RowSet, request: int, seed: int
) -> float:
    chosen = np.zeros(len(rows), bool)
    chosen[np.random.default_rng(seed).choice(len(rows), request, replace=False)] = True
    gone, left = rows.take(chosen), rows.take(~chosen)
    # It may change the state's own arrays.
    return processor_time(partial(estimator.forget, copy.deepcopy(state), gone, left))[0]


def measure_large() -> None:
    """Fit a forest on a million rows of 50 numbers, and forget one."""
    import resource

    random, count = np.random.default_rng(2), 1_000_000
    codes = random.integers(1, 4096, (count, 50), dtype=np.uint16)
    targets = codes[:, 0].astype(np.int64) + codes[:, 1] > codes[:, 2] + random.integers(
        0, 4096, count
    )
    digests = np.frombuffer(hashlib.shake_256(b"rows").digest(16 * count), np.uint8).reshape(-1, 16)
    rows = row_set(digests, codes, targets.astype(np.int64))
    estimator = forest()(Shape((4096,) * 50, (False,) * 50, 2))
    fit, state = processor_time(partial(estimator.fit, rows))
    one = _forget(estimator, state, rows, 1, 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    show(
        "a million rows",
        ["rows", "features", "fit, s", "forget of one row, s", "most memory, GiB"],
        [[f"{count:,}", 50, f"{fit:.1f}", f"{one:.3f}", f"{memory:.1f}"]],
    )


if __name__ == "__main__":
    main()
