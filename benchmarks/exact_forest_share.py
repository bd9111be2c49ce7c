"""The share of `exact_forest`: accuracy by rows of a class in a tree.

    python -m benchmarks.exact_forest_share --rows 2000 --keys 3

All rows are made here. For each data set and share: accuracy on rows that were not trained on, what
that is less than with all rows in all trees, and processor time of a fit, in fits of that forest.
`unlearn init` pins the share by the number of rows and classes, as chosen with this.
"""

import argparse
import hashlib
import os
import time

# Libraries read this when they are loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
from unlearn.stages.config.row_sets import ExactForestOptions
from unlearn.stages.estimators.row_sets.forest import ExactForest
from unlearn.stages.estimators.row_sets.row_set import row_set
from unlearn.stages.rows.tokens import Key

from benchmarks.exact_boosting_defaults import Data, cover_like, income_like, letters_like

MAKERS = {"income-like": income_like, "cover-like": cover_like, "letters-like": letters_like}
SHARES = (0.1, 0.25, 0.5, 1.0)

#: Rows that accuracy is measured on.
_VALIDATION = 5_000


def measure(data: Data, rows: int, share: float, seed: int) -> tuple[float, float]:
    """Return accuracy, and processor time of a fit in seconds."""
    key = Key(hashlib.sha256(f"share of the forest {seed}".encode()).hexdigest())
    found = hashlib.shake_256(f"rows {seed}".encode()).digest(16 * rows)
    digests = np.frombuffer(found, np.uint8).reshape(-1, 16)
    forest = ExactForest(key, data.shape, ExactForestOptions(share=share))
    wanted = row_set(digests, data.codes[:rows], data.targets[:rows])
    started = time.process_time()
    state = forest.fit(wanted)
    seconds = time.process_time() - started
    answers = forest.predictor(forest.model(state)).probabilities(data.codes[rows:])
    return float((answers.argmax(axis=1) == data.targets[rows:]).mean()), seconds


def main() -> None:
    """Print a line for each data set and share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 8_000, 32_000])
    parser.add_argument("--keys", type=int, default=2)
    parser.add_argument("--data", choices=MAKERS, nargs="+", default=list(MAKERS))
    arguments = parser.parse_args()
    print("data            rows classes  share  rows of a class in a tree  accuracy    less   fit")
    for name in arguments.data:
        for rows in arguments.rows:
            found = np.array(
                [
                    [measure(data, rows, share, seed) for share in SHARES]
                    for seed in range(arguments.keys)
                    for data in [MAKERS[name](rows + _VALIDATION, np.random.default_rng(seed))]
                ]
            ).mean(axis=0)
            classes = data_classes(name)
            for share, (accuracy, seconds) in zip(SHARES, found, strict=True):
                print(
                    f"{name:12} {rows:7,} {classes:7} {share:6} {share * rows / classes:26,.0f} "
                    f"{accuracy:9.4f} {found[-1, 0] - accuracy:7.4f} {seconds / found[-1, 1]:5.2f}"
                )


def data_classes(name: str) -> int:
    """Return how many classes the rows of a maker have."""
    return MAKERS[name](10, np.random.default_rng(0)).shape.classes


if __name__ == "__main__":
    main()
