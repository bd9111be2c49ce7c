"""Settings of `exact_boosting`: accuracy against the cost of a deletion.

    python -m benchmarks.exact_boosting_defaults --keys 5 rate=0.3 stage=10

For each data set and each list of settings: accuracy on a validation split, the same for
scikit-learn's histogram boosting, processor time of a fit, and of deletions of single rows as a
share of it. UCI Adult is used where it is at hand; all other rows are made here.
"""

import argparse
import copy
import csv
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Libraries read this when they are loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactBoostingOptions
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting import ExactBoosting
from unlearn.stages.estimators.row_sets.boosting_state import BoostingState
from unlearn.stages.estimators.row_sets.code_columns import NumericColumn
from unlearn.stages.estimators.row_sets.grids import find_ends
from unlearn.stages.estimators.row_sets.row_set import Codes, RowSet, row_set
from unlearn.stages.rows.tokens import Key

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ADULT = Path(__file__).parent.parent.parent / "shared/data/adult/adult-train.csv"
_VALIDATION = 0.25


@dataclass(frozen=True)
class Data:
    """Rows of codes, their shape, and their classes."""

    codes: Codes
    shape: Shape
    targets: Integers


def income_like(count: int, random: np.random.Generator) -> Data:
    """Return rows as a census has them: two classes, amounts with long tails, categories."""
    age = np.clip(random.normal(40, 14, count), 17, 90).round()
    hours = np.clip(random.normal(40, 11, count), 1, 99).round()
    school = np.clip(random.normal(10, 2.6, count) + (age > 25), 1, 16).round()
    gain = np.where(random.random(count) < 0.08, np.exp(random.normal(8.5, 1.2, count)), 0).round()
    weight = np.exp(random.normal(12, 0.5, count)).round()
    sizes = (9, 7, 15, 6, 5, 42)
    groups = [np.minimum(random.geometric(0.3, count), size) for size in sizes]
    married = (random.random(count) < 0.9 / (1 + np.exp((28 - age) / 5))).astype(np.int64)
    effects = [random.normal(0, 0.5, size + 1) for size in sizes]
    score = 0.35 * (school - 10) + 2.2 * married - 0.002 * (age - 48) ** 2 + 0.03 * (hours - 40)
    score += sum(effect[group] for effect, group in zip(effects, groups, strict=True)) - 2.2
    score += np.where(gain > 6500, 5, 0) + np.where((school > 12) & (hours > 45), 0.8, 0)
    targets = (random.random(count) < 1 / (1 + np.exp(-1.3 * score))).astype(np.int64)
    numbers = [age, hours, school, gain, weight]
    return _data(numbers, [*groups, married + 1], targets, 2)


def letters_like(count: int, random: np.random.Generator) -> Data:
    """Return rows of 26 classes, each with several shapes, described by 16 small integers."""
    shapes = random.normal(7, 2.8, (26, 6, 16))
    targets = random.integers(0, 26, count)
    means = shapes[targets, random.integers(0, 6, count)]
    values = np.clip((means + random.normal(0, 1.5, (count, 16))).round(), 0, 15)
    return _data(list(values.T), [], targets, 26)


def cover_like(count: int, random: np.random.Generator) -> Data:
    """Return rows of seven classes that follow from rules on ten numbers and two categories."""
    numbers = random.normal(0, 1, (count, 10))
    numbers[:, 5] = np.exp(numbers[:, 5])
    soil, area = random.integers(1, 41, count), random.integers(1, 5, count)
    score = np.zeros((count, 7))
    for _ in range(60):
        first, second = random.choice(10, 2, replace=False)
        cuts = random.normal(0, 0.8, 2)
        inside = (numbers[:, first] > cuts[0]) & (numbers[:, second] < cuts[1])
        score += inside[:, None] * random.normal(0, 1, 7)
    score += random.normal(0, 0.8, (41, 7))[soil] + random.normal(0, 0.8, (5, 7))[area]
    targets = np.argmax(score + random.gumbel(0, 0.5, (count, 7)), axis=1)
    return _data(list(numbers.T), [soil, area], targets, 7)


def adult(_count: int, _random: np.random.Generator) -> Data:
    """Return UCI Adult's training rows."""
    with ADULT.open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    columns = list(zip(*rows, strict=True))
    numbers, groups = [], []
    for column in columns[:-1]:
        if column[0].isdigit():
            numbers.append(np.array(column, float))
        else:
            names = sorted(set(column) - {"?"})
            known = {name: place + 1 for place, name in enumerate(names)}
            groups.append(np.array([known.get(name, 0) for name in column]))
    targets = np.array([target.startswith(">50K") for target in columns[-1]]).astype(np.int64)
    return _data(numbers, groups, targets, 2)


DATA: dict[str, Callable[[int, np.random.Generator], Data]] = {
    "adult": adult,
    "income-like": income_like,
    "letters-like": letters_like,
    "cover-like": cover_like,
}


def _data(numbers: list[Floats], groups: list[Integers], targets: Integers, classes: int) -> Data:
    """Return codes on the grids that `init` would pin. Group 0 is a missing value."""
    grids = [NumericColumn(*find_ends(values)) for values in numbers]
    columns = [grid.encode(values) for grid, values in zip(grids, numbers, strict=True)]
    columns += [group.astype(np.uint16) for group in groups]
    sizes = [grid.codes for grid in grids] + [int(group.max()) + 2 for group in groups]
    shape = Shape(tuple(sizes), (False,) * len(grids) + (True,) * len(groups), classes)
    return Data(np.stack(columns, axis=1), shape, targets)


def as_rows(data: Data, chosen: npt.NDArray[np.bool_]) -> RowSet:
    """Return rows with random digests as a set."""
    random = np.random.default_rng(1)
    digests = random.integers(0, 256, (len(chosen), 16), np.uint8)
    return row_set(digests[chosen], data.codes[chosen], data.targets[chosen])


def key(number: int) -> Key:
    """Return one of the published keys of this script."""
    return Key(hashlib.sha256(b"boosting defaults %d" % number).hexdigest())


def plain_accuracy(data: Data, held_out: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the accuracy of scikit-learn's histogram boosting, and its processor time."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    inputs = np.where(data.codes > 0, data.codes.astype(float), np.nan)
    model = HistGradientBoostingClassifier(
        categorical_features=np.array(data.shape.categorical), random_state=0
    )
    start = time.process_time()
    model.fit(inputs[~held_out], data.targets[~held_out])
    seconds = time.process_time() - start
    return float(model.score(inputs[held_out], data.targets[held_out])), seconds


def deletions(
    estimator: ExactBoosting, state: BoostingState, rows: RowSet, count: int, batch: int
) -> Floats:
    """Return the processor time of deletions, each from the same state, in seconds."""
    found, random = [], np.random.default_rng(2)
    for _ in range(count):
        gone = np.zeros(len(rows), bool)
        gone[random.choice(len(rows), batch, replace=False)] = True
        before, few, left = copy.deepcopy(state), rows.take(gone), rows.take(~gone)
        start = time.process_time()
        estimator.forget(before, few, left)
        found.append(time.process_time() - start)
    return np.array(found)


def study(
    data: Data, options: ExactBoostingOptions, keys: int, count: int = 0, batch: int = 1
) -> str:
    """Return a line of the table."""
    held_out = np.random.default_rng(3).random(len(data.targets)) < _VALIDATION
    rows = as_rows(data, ~held_out)
    accuracies, fits, changes = [], [], []
    for number in range(keys):
        estimator = ExactBoosting(key(number), data.shape, options)
        start = time.process_time()
        state = estimator.fit(rows)
        fits.append(time.process_time() - start)
        predictor = estimator.predictor(estimator.model(state))
        answers = predictor.probabilities(data.codes[held_out]).argmax(axis=1)
        accuracies.append((answers == data.targets[held_out]).mean())
        if count:
            changes.append(deletions(estimator, state, rows, count, batch) / fits[-1])
    line = f"{np.mean(accuracies):.4f} (+-{np.std(accuracies):.4f})  fit {np.mean(fits):6.2f} s"
    if changes:
        shares = np.concatenate(changes)
        line += (
            f"  a deletion: median 1/{1 / np.median(shares):.0f}, mean 1/{1 / shares.mean():.1f}"
        )
        line += f", moved {(shares > 3 * np.median(shares)).mean():.2f}"
        line += f", over a tenth {(shares > 0.1).mean():.3f}"
    return line


def _options(texts: list[str]) -> ExactBoostingOptions:
    pairs = (text.split("=") for text in texts)
    return ExactBoostingOptions.model_validate(
        {name: float(value) if "." in value else int(value) for name, value in pairs}
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="NAME=VALUE; / begins the next list")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--deletions", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1, help="rows of a deletion")
    parser.add_argument("--plain", action="store_true", help="scikit-learn's as well")
    options = parser.parse_args()
    lists = [part.split() for part in " ".join(options.settings).split("/")]
    for name in options.data:
        if name == "adult" and not ADULT.is_file():
            continue
        data = DATA[name](options.rows, np.random.default_rng(0))
        if options.plain:
            held_out = np.random.default_rng(3).random(len(data.targets)) < _VALIDATION
            print(f"{name:13}scikit-learn: %.4f  fit %.2f s" % plain_accuracy(data, held_out))
        for texts in lists:
            line = study(data, _options(texts), options.keys, options.deletions, options.batch)
            print(f"{name:13}{' '.join(texts) or 'as by default':30}{line}", flush=True)


if __name__ == "__main__":
    main()
