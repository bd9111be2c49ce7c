"""What two models tell about the rows that only one was trained on, by how many rows went at once.

A logistic regression is fitted on some digits, and again without a batch of them. Someone who has
both models guesses which rows went, as `unlearn verify --against` does: by the change of the
answers, and by the row that the change of the weights is made of. The same number of rows goes in
all batches of a size, each time from the same first model.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits
from unlearn.stages.verify.difference.reconstruction import LinearWeights, cosines, reconstruct
from unlearn.stages.verify.difference.scores import change
from unlearn.stages.verify.membership.row_scores import of_classes
from unlearn.stages.verify.membership.statistics import (
    Interval,
    Scored,
    auc_intervals,
    roc,
    share_interval,
)

from benchmarks.harness import machine, say, show

DIGITS = Path(__file__).parent.parent / "data" / "digits.csv"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Non-members that each row that went is compared with, drawn from its class.
_OTHERS = 10

#: What is measured of the rows that went and of those that stayed: by answers, and by weights.
_PARTS = {"went": ("answers", "weights"), "stayed": ("stayed", "stayed_weights")}


@dataclass(frozen=True)
class Table:
    """Rows to train on and rows that never are, as numbers.

    Parameters
    ----------
    inputs, targets
        Shape (rows, columns) and (rows,).
    unseen, unseen_targets
        The same, of rows that no model is trained on. The first half estimates the Hessian, the
        other half is the non-members.
    strength
        The option C of the logistic regression.
    """

    inputs: Floats
    targets: Ints
    unseen: Floats
    unseen_targets: Ints
    strength: float = 1.0


@dataclass(frozen=True)
class Leak:
    """What was found of batches of one size.

    Parameters
    ----------
    answers
        AUC of the change of the loss: rows that went against non-members of their classes.
    found, found_interval
        Share of rows that went that are found while 1 % of the non-members are.
    weights
        AUC of the cosine with the reconstruction.
    cosine
        Its median, over the rows that went.
    stayed, stayed_weights
        The two AUCs for as many rows that stayed in both models.
    """

    answers: Interval
    found: float
    found_interval: tuple[float, float]
    weights: Interval
    cosine: float
    stayed: Interval
    stayed_weights: Interval


class Model:
    """A fitted logistic regression, as `LinearWeights` asks it."""

    def __init__(self, table: Table, rows: Ints) -> None:
        from sklearn.linear_model import LogisticRegression

        # Newton's method ends at the minimum itself: the noise of a solver would hide a row.
        fitted = LogisticRegression(
            C=table.strength, solver="newton-cholesky", tol=1e-8, max_iter=200
        )
        with threadpool_limits(1):
            self._model = fitted.fit(table.inputs[rows], table.targets[rows])

    def probabilities(self, inputs: npt.NDArray[np.float32] | Floats) -> Floats:
        """Return class probabilities, shape (rows, classes)."""
        found: Floats = self._model.predict_proba(inputs)
        return found


def measure(table: Table, size: int, batches: int, *, seed: int = 0) -> Leak:
    """Take batches of a size out of a model, and attack each pair of models.

    Rows are scored by their ranks among the non-members of their class under the same two models,
    so that all batches can be pooled. The rows of a batch are drawn together by the bootstrap.

    Parameters
    ----------
    table
        The rows.
    size
        Rows in a batch.
    batches
        How many batches, drawn independently.
    seed
        Draws them.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    everyone = np.arange(len(table.targets))
    older = Model(table, everyone)
    half = len(table.unseen) // 2
    public, others, labels = table.unseen[:half], table.unseen[half:], table.unseen_targets[half:]
    pools = {name: _Pool() for names in _PARTS.values() for name in names}
    similar: list[Floats] = []
    for _ in range(batches):
        chosen = rng.choice(everyone, 2 * size, replace=False)
        newer = Model(table, np.setdiff1d(everyone, chosen[:size]))
        by_answers = _changes(older, newer, table, chosen, others, labels)
        by_weights = _similarities(older, newer, table, chosen, public, others)
        similar.append(by_weights[0][:size])
        matched = [labels == label for label in table.targets[chosen]]
        drawn = [rng.choice(np.flatnonzero(alike), _OTHERS) for alike in matched]
        for part, names in _PARTS.items():
            here = slice(size) if part == "went" else slice(size, None)
            for name, (mine, theirs) in zip(names, (by_answers, by_weights), strict=True):
                pools[name].add(mine[here], theirs, matched[here], drawn[here])
    found = {name: pool.scored(size) for name, pool in pools.items()}
    intervals = dict(zip(found, auc_intervals(list(found.values()), rng), strict=True))
    share = roc(*found["answers"]).true_positives_at(0.01)
    return Leak(
        found=share,
        found_interval=share_interval(share, batches * size),
        cosine=float(np.median(np.concatenate(similar))),
        **intervals,
    )


class _Pool:
    """Rows of all batches and non-members, each by its rank among the non-members of its class."""

    def __init__(self) -> None:
        self._mine: list[float] = []
        self._theirs: list[Floats] = []

    def add(
        self, scores: Floats, others: Floats, matched: Sequence[Bools], drawn: Sequence[Ints]
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        scores, others
            Of its rows, and of all non-members under the same two models.
        matched
            For each row, which non-members are of its class, shape (non-members,).
        drawn
            For each row, the non-members that it is compared with.
        """
        for score, alike, some in zip(scores, matched, drawn, strict=True):
            ordered = np.sort(others[alike])
            self._mine.append(float(_ranks(ordered, np.array([score]))[0]))
            self._theirs.append(_ranks(ordered, others[some]))

    def scored(self, size: int) -> tuple[Scored, Scored]:
        """Return all rows; those of one batch share a number, as a person's rows do."""
        groups = np.arange(len(self._mine)) // size
        others = np.concatenate(self._theirs)
        return (
            Scored(np.array(self._mine), np.ones(len(self._mine)), groups),
            Scored(others, np.ones(len(others)), np.repeat(groups, _OTHERS)),
        )


def _ranks(ordered: Floats, values: Floats) -> Floats:
    """Return the share of ordered scores below each value, ties counting half."""
    low, high = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    ranks: Floats = (low + high) / (2 * len(ordered))
    return ranks


def _changes(
    older: Model, newer: Model, table: Table, chosen: Ints, others: Floats, labels: Ints
) -> tuple[Floats, Floats]:
    """Return the change of the loss for the rows of the models and for the non-members."""
    found = []
    for inputs, targets in ((table.inputs[chosen], table.targets[chosen]), (others, labels)):
        before, after = (of_classes(of.probabilities(inputs), targets) for of in (older, newer))
        found.append(change(before, after)["loss"])
    return found[0], found[1]


def _similarities(
    older: Model, newer: Model, table: Table, chosen: Ints, public: Floats, others: Floats
) -> tuple[Floats, Floats]:
    """Return the cosines of the rows of the models, and of the non-members."""
    width = table.inputs.shape[1]
    before, after = (LinearWeights.of(of, width) for of in (older, newer))
    if before is None or after is None:
        raise SystemExit("a logistic regression was not linear")
    # For two classes scikit-learn has one vector of weights, which counts twice.
    ridge = (2 if len(before.known) == 2 else 1) / table.strength
    # Half of the rows that are looked at went.
    rows = len(table.targets) - len(chosen) // 2
    direction = reconstruct(before, after, public, rows=rows, ridge=ridge)
    if direction is None:
        raise SystemExit("two models of different rows were the same")
    return cosines(table.inputs[chosen], direction), cosines(others, direction)


def digits(rows: int) -> Table:
    """Return so many digits to train on, standardised, and the others as unseen rows."""
    frame = pd.read_csv(DIGITS)
    targets = frame["digit"].to_numpy(dtype=np.int64)
    inputs = frame.drop(columns=["id", "digit"]).to_numpy(dtype=np.float64)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(targets))
    mine, unseen = order[:rows], order[rows:]
    scale = inputs[mine].std(axis=0)
    inputs = (inputs - inputs[mine].mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    return Table(inputs[mine], targets[mine], inputs[unseen], targets[unseen])


def rows_of(sizes: Sequence[int], leaks: Sequence[Leak]) -> list[list[str]]:
    """Return the cells of the table."""
    return [
        [
            str(size),
            _with(leak.answers),
            f"{leak.found:.2f} ({leak.found_interval[0]:.2f} to {leak.found_interval[1]:.2f})",
            _with(leak.weights),
            f"{leak.cosine:.2f}",
            _with(leak.stayed),
        ]
        for size, leak in zip(sizes, leaks, strict=True)
    ]


def _with(found: Interval) -> str:
    return f"{found.value:.3f} ({found.wide[0]:.3f} to {found.wide[1]:.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400, help="digits in the training set")
    parser.add_argument("--went", type=int, default=320, help="rows that go, in all batches")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.went = 150, 64
    print(machine())
    table = digits(arguments.rows)
    sizes = [1, 2, 4, 8, 16, 32]
    leaks = []
    for size in sizes:
        say(f"batches of {size}")
        leaks.append(measure(table, size, max(8, arguments.went // size)))
    show(
        "batches",
        (
            "rows in a batch",
            "AUC by the loss",
            "found at 1 %",
            "AUC by the weights",
            "cosine",
            "rows that stayed",
        ),
        rows_of(sizes, leaks),
        f"Logistic regression on {arguments.rows} digits, in one shard; AUC with 95 % intervals; "
        "at least 8 batches of each size.",
    )


if __name__ == "__main__":
    main()
