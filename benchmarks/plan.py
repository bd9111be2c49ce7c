"""What `unlearn plan` expects compared with what `unlearn repro` then takes, as whole processes.

Several projects: few shards and many, models that train in no time and models that take a while,
of scikit-learn and the built-in mlp. In each: the first request after the first run, a later one,
and one for a hundredth of the rows. The estimate is asked for just before each run.

With `--processor` everything is in processor time and with one job, for a machine that is busy.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification

from benchmarks.harness import UNLEARN, Bench, Done, machine, new_project, run, say, show, workplace

FEATURES, CLASSES = 20, 5
#: The goal: an estimate that is off by this much at most.
GOAL = 0.3
#: The share of the rows that the last request is about.
SHARE = 0.01


@dataclass(frozen=True)
class Case:
    """A project.

    Parameters
    ----------
    shards, rows
        How many; rows of each shard, on average, those held out included.
    model, train
        `train.model`, and other settings of the section.
    """

    shards: int
    rows: int
    model: str
    train: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.model.rpartition(".")[2]


NAIVE_BAYES = "sklearn.naive_bayes.GaussianNB"
BOOSTING = "sklearn.ensemble.GradientBoostingClassifier"
_MLP = {"epochs": 100, "options": {"hidden": [256, 128]}}

CASES = [
    *(Case(shards, 50, NAIVE_BAYES) for shards in (5, 20, 100)),
    *(Case(shards, 1_000, "mlp", _MLP) for shards in (5, 20)),
    Case(100, 200, "mlp", {"epochs": 100}),
    *(Case(shards, 1_000, BOOSTING) for shards in (5, 20)),
]


@dataclass(frozen=True)
class Request:
    """A request that was carried out.

    Parameters
    ----------
    case, what
        The project, and which request it was.
    trained
        How many shards were trained.
    expected, seconds
        What `plan` said, and what `repro` took.
    """

    case: Case
    what: str
    trained: int
    expected: float
    seconds: float

    @property
    def ratio(self) -> float:
        """The estimate over the time."""
        return self.expected / self.seconds


def main() -> None:
    """Run all projects, and print one line for each request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--processor", action="store_true", help="processor time, with one job")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    if arguments.processor:
        arguments.jobs = 1
    cases = CASES[:1] if arguments.quick else CASES
    print(machine())
    found: list[Request] = []
    with workplace(None) as folder:
        for number, case in enumerate(cases):
            found += carry_out(case, folder / str(number), arguments)
    _show(found)


def carry_out(case: Case, folder: Path, arguments: argparse.Namespace) -> list[Request]:
    """Make a project, run it, and carry out three requests."""
    folder.mkdir()
    count = case.shards * case.rows
    write_rows(folder / "rows.csv", count)
    options = ("--shards", str(case.shards), "--model", case.model)
    bench = new_project(folder / "project", folder / "rows.csv", *options)
    bench.set_params(train=case.train)
    say(f"{case.name}, {case.shards} shards: first run")
    jobs = ("-j", str(arguments.jobs))
    _repro(bench, *jobs, processor=arguments.processor)
    commit(bench)
    order = [int(number) for number in np.random.default_rng(1).permutation(count)]
    many = max(1, round(count * SHARE))
    requests = {"first, 1 row": 1, "later, 1 row": 1, f"{SHARE:.0%} of the rows": many}
    found = []
    for what, size in requests.items():
        drawn, order = _drawn(bench, order, size)
        bench.unlearn("forget", "--ids", "-", stdin="".join(f"r{row}\n" for row in drawn))
        expected = bench.unlearn("plan", *jobs, "--json").json["seconds_expected"]
        repro = _repro(bench, *jobs, processor=arguments.processor)
        seconds = repro.processor if arguments.processor else repro.seconds
        commit(bench)
        trained = len(repro.json["trained"])
        found.append(Request(case, what, trained, expected, seconds))
        say(f"  {what}: expected {expected:.1f} s, took {seconds:.1f} s")
    return found


def _repro(bench: Bench, *options: str, processor: bool) -> Done:
    """Run `unlearn repro`, which records how long things took by the clock that is asked for."""
    clock = Path(__file__).with_name("processor_clock.py")
    command = [sys.executable, str(clock)] if processor else [UNLEARN]
    return run([*command, "repro", *options, "--json"], bench.root)


def _drawn(bench: Bench, order: list[int], size: int) -> tuple[list[int], list[int]]:
    """Return rows for a request, and those that are left; a single one is not held out."""
    while size == 1 and not _is_trained_on(bench, order[0]):
        order = order[1:]
    return order[:size], order[size:]


def _is_trained_on(bench: Bench, row: int) -> bool:
    return bool(bench.unlearn("plan", "--ids", "-", "--json", stdin=f"r{row}\n").json["shards"])


def write_rows(path: Path, rows: int) -> None:
    """Write made-up rows of five classes."""
    features, labels = make_classification(
        n_samples=rows, n_features=FEATURES, n_informative=10, n_classes=CLASSES, random_state=0
    )
    frame = pd.DataFrame(features, columns=[f"x{number}" for number in range(FEATURES)])
    frame.insert(0, "id", [f"r{row}" for row in range(rows)])
    frame["label"] = [f"c{label}" for label in labels]
    frame.to_csv(path, index=False)


def commit(bench: Bench) -> None:
    """Commit everything to git, as a request is."""
    run(["git", "add", "--all"], bench.root)
    run(["git", "commit", "--quiet", "--allow-empty", "--message", "as it is"], bench.root)


def _show(found: list[Request]) -> None:
    ratios = [request.ratio for request in found]
    within = sum(abs(ratio - 1) <= GOAL for ratio in ratios)
    show(
        "plan",
        ("model", "S", "request", "shards trained", "expected, s", "repro, s", "expected / repro"),
        [
            [
                request.case.name,
                request.case.shards,
                request.what,
                request.trained,
                f"{request.expected:.1f}",
                f"{request.seconds:.1f}",
                f"{request.ratio:.2f}",
            ]
            for request in found
        ],
        f"Within {GOAL:.0%}: {within} of {len(found)}; median {statistics.median(ratios):.2f}, "
        f"{min(ratios):.2f} to {max(ratios):.2f}.",
    )


if __name__ == "__main__":
    main()
