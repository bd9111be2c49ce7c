"""A job like the Purchase data of the SISA paper: forgetting against training from scratch.

Eight requests in one batch, `unlearn forget` and `unlearn repro` as whole processes, beside one
plain model on all remaining rows as a process of its own: in turns, on the same machine, with
the same settings and epochs. The plain model is trained by a bare loop of autograd with fused
Adam, and by this library. The data are made up: 600 binary features, 100 classes.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from unlearn.cli.init.scaffold import suggest
from unlearn.stages.requests.plan import expected_fraction
from unlearn.stages.rows.shard_file import targets
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.verify.measures.utility import accuracy

from benchmarks.harness import (
    Bench,
    Done,
    machine,
    new_project,
    run,
    say,
    show,
    spread,
    workplace,
)
from benchmarks.models import holdout, score_shard_models

FEATURES, CLASSES = 600, 100
#: Chance that a feature differs from its class's prototype: one model can learn nearly all of
#: it, a model of a twentieth of the rows cannot.
FLIP = 0.35
REQUESTS = 8


@dataclass(frozen=True)
class Job:
    """What is compared.

    Parameters
    ----------
    rows, shards, slices, holdout
        Of the project.
    batch, epochs
        Of shard models and plain model alike.
    """

    rows: int
    shards: int
    slices: int
    holdout: float
    batch: int
    epochs: int


@dataclass
class Times:
    """Wall-clock and processor seconds of one thing, time after time.

    Parameters
    ----------
    wall, processor
        In seconds; of all processes together.
    """

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, *processes: Done) -> None:
        """Add what some processes took together."""
        self.wall.append(sum(done.seconds for done in processes))
        self.processor.append(sum(done.processor for done in processes))

    def ratios(self, other: "Times") -> "Times":
        """Return how many times as long this took as `other`, turn by turn."""
        pairs = ((self.wall, other.wall), (self.processor, other.processor))
        return Times(*([a / b for a, b in zip(*pair, strict=True)] for pair in pairs))


@dataclass
class Turns:
    """What the repetitions came to.

    Parameters
    ----------
    first
        The first run of the whole pipeline.
    forget, sharded
        `unlearn forget`; this and `unlearn repro` together.
    shares
        Of a full training, by `unlearn plan`, each time.
    expected
        Seconds of `unlearn repro`, by `unlearn plan`, over those that it took, each time.
    bare, plain
        One plain model, trained for as many epochs as the shards: by a bare loop of autograd with
        fused Adam, and by this library.
    threads, own
        The same by this library on as many threads as there are jobs, once; and one trained for
        the epochs that `init` pins for one shard, once.
    check
        The retraining check of `verify`, by itself, in seconds.
    shard_accuracy, own_rows, ensemble, plain_accuracy, plain_own_accuracy
        On the holdout; `own_rows` of the shard models on the rows that they were trained on.
    """

    first: float
    forget: Times = field(default_factory=Times)
    sharded: Times = field(default_factory=Times)
    shares: list[float] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    bare: Times = field(default_factory=Times)
    plain: Times = field(default_factory=Times)
    threads: Times = field(default_factory=Times)
    own: Times = field(default_factory=Times)
    check: float = 0.0
    shard_accuracy: float = 0.0
    own_rows: float = 0.0
    ensemble: float = 0.0
    plain_accuracy: float = 0.0
    plain_own_accuracy: float = 0.0


def main() -> None:
    """Run one comparison for each batch size, or one for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--holdout", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, help="by default those that init pins")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument(
        "--threads",
        action="store_true",
        help="train a plain model on as many threads as there are jobs, too; slow if others work",
    )
    parser.add_argument(
        "--sweep", action="store_true", help="numbers of rows instead, at the first batch size"
    )
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.shards, arguments.epochs = 2_000, 4, 2
        arguments.turns, arguments.batch = 1, arguments.batch[:2]
    print(machine())
    epochs = arguments.epochs or init_epochs(arguments, arguments.shards)
    jobs = [
        Job(rows, arguments.shards, arguments.slices, arguments.holdout, batch, epochs)
        for rows in (_sweep(arguments.rows) if arguments.sweep else [arguments.rows])
        for batch in (arguments.batch[:1] if arguments.sweep else arguments.batch)
    ]
    own_epochs = min(epochs, init_epochs(arguments, 1))
    with workplace(arguments.keep) as folder:
        done = [
            (job, compare(job, folder / f"{job.rows}-{job.batch}", own_epochs, arguments))
            for job in jobs
        ]
    if arguments.sweep:
        show_sweep(done, arguments.turns)
    else:
        show_batches(done, arguments.turns, own_epochs, arguments.jobs)


def init_epochs(arguments: argparse.Namespace, shards: int) -> int:
    """Return the epochs that `unlearn init` pins for so many shards; it knows no batch size."""
    return suggest(arguments.rows, holdout=arguments.holdout, can_slice=True, shards=shards).epochs


def _sweep(rows: int) -> list[int]:
    """Return numbers of rows up to `rows`, each twice the one before."""
    return [rows // 16, rows // 8, rows // 4, rows // 2, rows]


def write_dataset(target: Path, rows: int) -> None:
    """Write made-up rows: a prototype for each class, and features that differ by chance."""
    draw = np.random.default_rng(0)
    prototypes = draw.random((CLASSES, FEATURES)) < 0.5
    labels = draw.integers(0, CLASSES, rows)
    features = prototypes[labels] ^ (draw.random((rows, FEATURES)) < FLIP)
    columns = {"id": pa.array([f"p{number:06d}" for number in range(rows)])}
    for number in range(FEATURES):
        columns[f"f{number:03d}"] = pa.array(features[:, number].astype(np.int8))
    columns["label"] = pa.array([f"c{label:02d}" for label in labels])
    pacsv.write_csv(pa.table(columns), target)


def compare(job: Job, folder: Path, own_epochs: int, arguments: argparse.Namespace) -> Turns:
    """Train a project, then forget and train a plain model in turns."""
    folder.mkdir()
    source = folder / "purchase.csv"
    write_dataset(source, job.rows)
    bench = new_project(
        folder / "project",
        source,
        *("--shards", str(job.shards), "--slices", str(job.slices)),
        *("--holdout", str(job.holdout), "--epochs", str(job.epochs)),
    )
    bench.set_params(
        train={"batch": job.batch, "options": {"hidden": [128], "activation": "tanh"}},
        verify={"rerun": 0},
    )
    say(f"{job.rows:,} rows, batch {job.batch}, {job.epochs} epochs: training all shards")
    workers = ("-j", str(arguments.jobs))
    turns = Turns(bench.unlearn("repro", *workers).seconds)
    # Different records each time, on top of those already forgotten.
    order = np.random.default_rng(1).permutation(job.rows)
    for turn in range(arguments.turns):
        drawn = order[turn * REQUESTS : (turn + 1) * REQUESTS]
        ids = folder / "ids.txt"
        ids.write_text("".join(f"p{number:06d}\n" for number in drawn), encoding="utf-8")
        planned = bench.unlearn("plan", *workers, "--ids", str(ids), "--json").json
        say(f"turn {turn + 1} of {arguments.turns}: {REQUESTS} requests")
        forget = bench.unlearn("forget", "--ids", str(ids))
        repro = bench.unlearn("repro", *workers)
        turns.shares.append(planned["fraction_of_full_training"])
        turns.expected.append(planned["seconds_expected"] / repro.seconds)
        turns.forget.add(forget)
        turns.sharded.add(forget, repro)
        say(f"  {turns.sharded.wall[-1]:.1f} s; one plain model on the rows that remain")
        turns.plain.add(train_plain(bench, folder / "plain", job.epochs))
        say(f"  {turns.plain.wall[-1]:.1f} s")
        if not arguments.sweep:
            say("  the same by a bare loop")
            turns.bare.add(train_plain(bench, folder / "bare", job.epochs, loop="bare"))
            say(f"  {turns.bare.wall[-1]:.1f} s")
    if arguments.threads:
        say("  the same on more threads")
        turns.threads.add(
            train_plain(bench, folder / "threads", job.epochs, threads=arguments.jobs)
        )
    if not arguments.sweep:
        say("  one of fewer epochs")
        turns.own.add(train_plain(bench, folder / "plain-own", own_epochs))
    measure_check(bench, turns)
    measure_accuracy(bench, turns, folder)
    if arguments.keep is None:
        shutil.rmtree(folder)
    return turns


def train_plain(
    bench: Bench, output: Path, epochs: int, *, threads: int = 1, loop: str = "unlearn"
) -> Done:
    """Train one plain model on what the retain set holds now, as a process of its own."""
    script = Path(__file__).with_name("plain_model.py")
    options = ("--epochs", str(epochs), "--threads", str(threads), "--loop", loop)
    return run([sys.executable, str(script), str(bench.root), str(output), *options], bench.root)


def measure_check(bench: Bench, turns: Turns) -> None:
    """Measure what the retraining check adds to `verify`, by the stage's own clock."""
    without = bench.timings()["verify"].seconds
    bench.set_params(verify={"rerun": 1})
    bench.unlearn("repro")
    turns.check = bench.timings()["verify"].seconds - without
    report = bench.report()
    if (report["exactness"]["reran"], report["exactness"]["matched"]) != (1, 1):
        sys.exit(f"the retraining check did not pass: {report['exactness']} {report['reasons']}")


def measure_accuracy(bench: Bench, turns: Turns, folder: Path) -> None:
    """Score shard models, ensemble and plain models on the holdout."""
    context = bench.context()
    scores = score_shard_models(context)
    turns.shard_accuracy, turns.own_rows = scores.shard, scores.own
    turns.ensemble = scores.ensemble
    rows = holdout(context)
    truth = targets(rows, context.layout)
    turns.plain_accuracy, turns.plain_own_accuracy = (
        accuracy(read_shard_model(path, "plain model").predictor().probabilities(rows), truth)
        if path.is_dir()
        else float("nan")
        for path in (folder / "plain", folder / "plain-own")
    )


def show_batches(
    done: Sequence[tuple[Job, Turns]], turns: int, own_epochs: int, workers: int
) -> None:
    """Print seconds and accuracies by batch size."""
    job = done[0][0]
    share = expected_fraction(job.shards, job.slices, job.holdout, REQUESTS)
    show(
        "purchase-seconds",
        (
            "batch",
            "epochs",
            "share of a full training",
            "forget + repro, s",
            "bare loop, s",
            "bare loop / together",
            "this library, s",
            "this library / together",
            f"this library, {workers} threads, s",
            "retraining check, s",
            "first run, s",
            "plan / repro",
        ),
        [
            [
                job.batch,
                job.epochs,
                spread(found.shares, 2),
                spread(found.sharded.wall),
                spread(found.bare.wall),
                spread(found.bare.ratios(found.sharded).wall, 2),
                spread(found.plain.wall),
                spread(found.plain.ratios(found.sharded).wall, 2),
                spread(found.threads.wall) if found.threads.wall else "-",
                f"{found.check:.1f}",
                f"{found.first:.1f}",
                spread(found.expected, 2),
            ]
            for job, found in done
        ],
        f"{job.rows:,} rows, {job.shards} shards, {job.slices} slices, {REQUESTS} requests a "
        f"batch (expected share {share:.2f}), {turns} turns, median (least to largest).",
    )
    show(
        "purchase-processor",
        (
            "batch",
            "forget + repro, s",
            "bare loop, s",
            "bare loop / together",
            "this library, s",
            "this library / together",
        ),
        [
            [
                job.batch,
                spread(found.sharded.processor),
                spread(found.bare.processor),
                spread(found.bare.ratios(found.sharded).processor, 2),
                spread(found.plain.processor),
                spread(found.plain.ratios(found.sharded).processor, 2),
            ]
            for job, found in done
        ],
        "The same in processor time of all processes, as if there were one processor.",
    )
    show(
        "purchase-accuracy",
        (
            "batch",
            "shard models, own rows",
            "shard models",
            "ensemble",
            "plain model",
            f"plain model of {own_epochs} epochs",
            "its s",
        ),
        [
            [
                job.batch,
                f"{found.own_rows:.4f}",
                f"{found.shard_accuracy:.4f}",
                f"{found.ensemble:.4f}",
                f"{found.plain_accuracy:.4f}",
                f"{found.plain_own_accuracy:.4f}",
                spread(found.own.wall),
            ]
            for job, found in done
        ],
        "Accuracy on the holdout, but for the first column.",
    )


def show_sweep(done: Sequence[tuple[Job, Turns]], turns: int) -> None:
    """Print seconds by number of rows, and where the two ways cost the same."""
    job = done[0][0]
    show(
        "purchase-sweep",
        (
            "rows",
            "forget + repro, s",
            "plain model, s",
            "plain / together",
            "forget + repro, processor s",
            "plain model, processor s",
            "plain / together",
        ),
        [
            [
                f"{job.rows:,}",
                spread(found.sharded.wall),
                spread(found.plain.wall),
                spread(found.plain.ratios(found.sharded).wall, 2),
                spread(found.sharded.processor),
                spread(found.plain.processor),
                spread(found.plain.ratios(found.sharded).processor, 2),
            ]
            for job, found in done
        ],
        f"{REQUESTS} requests, {job.shards} shards, {job.slices} slices, batch {job.batch}, "
        f"{job.epochs} epochs; {turns} turns, median (least to largest).",
        f"In wall-clock time: {_break_even(done, 'wall')}",
        f"In processor time: {_break_even(done, 'processor')}",
    )


def _break_even(done: Sequence[tuple[Job, Turns]], clock: Literal["wall", "processor"]) -> str:
    """Say from which training time of one plain model sharding saves time."""
    plain = np.array([np.median(getattr(found.plain, clock)) for _, found in done])
    sharded = np.array([np.median(getattr(found.sharded, clock)) for _, found in done])
    slope, base = np.polyfit(plain, sharded, 1)
    if slope >= 1:
        return "sharding saves no time at any of these sizes."
    return (
        f"a straight line through these is together = {base:.1f} s + {slope:.2f} x plain model. "
        f"Sharding saves time where one plain model takes more than {base / (1 - slope):.1f} s."
    )


if __name__ == "__main__":
    main()
