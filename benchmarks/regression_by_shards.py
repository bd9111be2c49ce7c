"""Regression by shards: errors of real projects on held-out rows, and what more epochs do.

    python -m benchmarks.regression_by_shards

The rows are `california_like` of `benchmarks.exact_regression`. All projects have the same key, and
so the same held-out rows. One shard is one plain model of the library.
"""

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.exact_regression import california_like
from benchmarks.harness import machine, new_project, say, show, workplace

_ROWS: Final = 20_640
_SHARDS: Final = (1, 5, 10, 20)
_QUICK_ROWS: Final = 2_000

#: Options of `init` by the name in the table.
_MODELS: Final = {
    "HistGradientBoostingRegressor": (
        "--model",
        "sklearn.ensemble.HistGradientBoostingRegressor",
    ),
    "mlp": ("--model", "mlp"),
    "mlp, 100 epochs": ("--model", "mlp", "--epochs", "100"),
    "mlp, 300 epochs": ("--model", "mlp", "--epochs", "300"),
}


def main() -> None:
    """Measure all models at all numbers of shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rows, and two numbers of shards"
    )
    parser.add_argument("--keep", type=Path, help="where the projects stay")
    arguments = parser.parse_args()
    shards = _SHARDS[:2] if arguments.quick else _SHARDS
    note = machine()
    with workplace(arguments.keep) as place:
        source = _table(place / "houses.csv", _QUICK_ROWS if arguments.quick else _ROWS)
        lines = [
            [
                name,
                *(_errors(place / f"{name}-{count}", source, options, count) for count in shards),
            ]
            for name, options in _MODELS.items()
        ]
    header = ["model", *(f"{count} shards" if count > 1 else "1 shard" for count in shards)]
    show("regression-shards", header, lines, note)


def _table(path: Path, rows: int) -> Path:
    data = california_like(rows, np.random.default_rng(1))
    names = ("income", "age", "rooms", "bedrooms", "people", "persons", "north", "west")
    frame = pd.DataFrame(data.values, columns=list(names)).round(5)
    frame.insert(0, "id", [f"h{number:05}" for number in range(rows)])
    frame["label"] = data.targets
    frame.to_csv(path, index=False)
    return path


def _errors(root: Path, source: Path, options: tuple[str, ...], shards: int) -> str:
    bench = new_project(root, source, "--task", "regression", "--shards", str(shards), *options)
    seconds = bench.unlearn("repro").seconds
    found = json.loads(bench.unlearn("verify", "--json").out)["utility"]
    say(f"{root.name}: {seconds:.0f} s")
    return f"{found['root_mean_squared_error']:,.0f} ({found['r_squared']:.3f})"


if __name__ == "__main__":
    main()
