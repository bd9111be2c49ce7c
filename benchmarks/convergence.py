"""How long a shard has to be trained: what the epochs that `unlearn init` pins rest on.

For several tasks, the accuracy of shard models and of their ensemble by the optimizer steps that
a shard model gets, at the default batch, learning rate and model.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pandas as pd
from sklearn.datasets import make_classification
from unlearn.cli.init.scaffold import CONVERGED_STEPS, DEFAULT_BATCH, suggest
from unlearn.stages.shard.stage import run as place_rows

from benchmarks import adult, purchase
from benchmarks.harness import Bench, machine, new_project, say, show, workplace
from benchmarks.models import place_copy, train_and_score

STEPS = (300, 600, 1_000, 1_500, 2_000, 3_000, 6_000)
SHARDS, SLICES, HOLDOUT = 20, 5, 0.2


@dataclass(frozen=True)
class Task:
    """A dataset: its name, its rows, and what writes its CSV."""

    name: str
    rows: int
    write: Callable[[Path], object]


def main() -> None:
    """Train every task for every number of steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps = [20, 40]
    print(machine())
    lines = []
    for task in _tasks(arguments.data, 20 if arguments.quick else 1):
        with workplace(None) as folder:
            lines += list(train_task(task, folder, arguments.steps, arguments.jobs))
    header = (
        "task",
        "shards",
        "rows a shard",
        "steps",
        "epochs",
        "shard model, own rows",
        "shard model",
        "ensemble",
        "its log loss",
    )
    show(
        "convergence",
        header,
        lines,
        f"Accuracies on the holdout, but for the shard models' own rows. `unlearn init` pins "
        f"epochs that come to about {CONVERGED_STEPS:,} steps of {DEFAULT_BATCH} rows.",
    )


def _tasks(data: Path, divisor: int) -> Iterator[Task]:
    files = [data / name for name in ("adult-train.csv", "adult-test.csv")]
    if all(file.is_file() for file in files):
        yield Task(
            "Adult", 48_842 // divisor, lambda path: adult.write_dataset(files, path, divisor)
        )
    else:
        say("Adult is left out: its files are not there")
    rows = 60_000 // divisor
    yield Task("Purchase-like", rows, lambda path: purchase.write_dataset(path, rows))
    yield Task("clusters", 20_000 // divisor, lambda path: write_clusters(path, 20_000 // divisor))


def write_clusters(target: Path, rows: int) -> None:
    """Write made-up rows of five classes, each of three clusters, that no line separates."""
    features, labels = make_classification(
        n_samples=rows,
        n_features=20,
        n_informative=10,
        n_redundant=4,
        n_classes=5,
        n_clusters_per_class=3,
        class_sep=1.2,
        flip_y=0.03,
        random_state=0,
    )
    frame = pd.DataFrame(features, columns=[f"f{number:02d}" for number in range(20)])
    frame.insert(0, "id", [f"k{number:05d}" for number in range(rows)])
    frame["label"] = [f"c{label}" for label in labels]
    frame.to_csv(target, index=False)


def train_task(task: Task, folder: Path, steps: list[int], jobs: int) -> Iterator[list[object]]:
    """Yield a line of the table for each number of steps, and one for a single plain model."""
    source = folder / "rows.csv"
    task.write(source)
    options = ("--slices", str(SLICES), "--holdout", str(HOLDOUT), "--shards", str(SHARDS))
    bench = new_project(folder / "project", source, *options)
    place_rows(bench.context())
    per_shard = max(1, round(task.rows * (1 - HOLDOUT) / SHARDS))
    steps_an_epoch = -(-per_shard // DEFAULT_BATCH)
    for wanted in steps:
        epochs = -(-wanted // steps_an_epoch)
        yield _line(task, bench, SHARDS, epochs, epochs * steps_an_epoch, jobs)
    plain = Bench(folder / "plain")
    place_copy(plain, bench, source, shards=1, slices=1)
    epochs = suggest(task.rows, holdout=HOLDOUT, can_slice=True, shards=1, slices=1).epochs
    total = epochs * -(-round(task.rows * (1 - HOLDOUT)) // DEFAULT_BATCH)
    yield _line(task, plain, 1, epochs, total, jobs)


def _line(
    task: Task, bench: Bench, shards: int, epochs: int, steps: int, jobs: int
) -> list[object]:
    say(f"{task.name}: {shards} shards, {epochs} epochs")
    bench.set_params(train={"epochs": epochs})
    scores = train_and_score(bench, jobs)
    return [
        task.name,
        shards,
        f"{task.rows * (1 - HOLDOUT) / shards:,.0f}",
        f"{steps:,}",
        epochs,
        f"{scores.own:.4f}",
        f"{scores.shard:.4f}",
        f"{scores.ensemble:.4f}",
        f"{scores.log_loss:.4f}",
    ]


if __name__ == "__main__":
    main()
