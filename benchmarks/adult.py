"""UCI Adult: whether cost and accuracy are what `unlearn plan` and the formula say.

Three tables. Requests: what `unlearn repro` trains against what `unlearn plan` said, to the row,
and the mean of many planned draws against the expected share of a full training. Accuracy: the
ensemble against one plain model. Shards: how their number trades accuracy for cost.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
from unlearn.cli.init.scaffold import suggest
from unlearn.stages.context import Context
from unlearn.stages.requests.plan import expected_fraction, fraction_of_full_training, plan_shards
from unlearn.stages.rows.forget_list import parse_forget_list, render
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.rows.tokens import place

from benchmarks.harness import Bench, machine, new_project, say, show, workplace
from benchmarks.models import place_copy, train_and_score

COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
    "label",
]
SHARDS, SLICES, HOLDOUT = 20, 5, 0.2
BATCHES = (1, 8, 39)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Size:
    """How much of it all is done.

    Parameters
    ----------
    keep_every
        Every how many rows one is kept.
    epochs
        Instead of those that `unlearn init` pins; None to leave them.
    draws, checked
        Planned draws for each size of request, and how many of them by `plan_shards` too.
    shards
        Numbers of shards in the last table.
    """

    keep_every: int
    epochs: int | None
    draws: int
    checked: int
    shards: tuple[int, ...]


FULL = Size(1, None, draws=200, checked=10, shards=(1, 5, 10, 20, 50))
QUICK = Size(20, 2, draws=50, checked=2, shards=(1, 5))


def main() -> None:
    """Run all three and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    files = [arguments.data / name for name in ("adult-train.csv", "adult-test.csv")]
    if not all(file.is_file() for file in files):
        sys.exit(
            f"{arguments.data} does not hold adult-train.csv and adult-test.csv; they are "
            "adult.data and adult.test of the UCI Machine Learning Repository (--data FOLDER)"
        )
    print(machine())
    with workplace(arguments.keep) as folder:
        source = folder / "adult.csv"
        rows = write_dataset(files, source, size.keep_every)
        say(f"{rows:,} rows")
        bench = new_project(
            folder / "project",
            source,
            *("--shards", str(SHARDS), "--slices", str(SLICES), "--holdout", str(HOLDOUT)),
        )
        if size.epochs is not None:
            bench.set_params(train={"epochs": size.epochs})
        say("training all shards")
        bench.unlearn("repro", "-j", str(arguments.jobs))
        good = compare_requests(bench, folder, source, size, arguments.jobs)
        good &= compare_accuracy(bench, folder, source, size, arguments.jobs)
        compare_shards(bench, folder, source, rows, size, arguments.jobs)
    if not good:
        sys.exit("a number is not what it must be: see above")


def write_dataset(files: Sequence[Path], target: Path, keep_every: int) -> int:
    """Turn the header-less files into one CSV with a header and an id; return its rows."""
    number = kept = 0
    with target.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["id", *COLUMNS])
        for file in files:
            for line in file.read_text(encoding="utf-8").splitlines():
                fields = [field.strip() for field in line.split(",")]
                if len(fields) != len(COLUMNS):
                    continue  # the test file's heading, and blank lines
                # The test file ends its labels with a full stop.
                fields[-1] = fields[-1].removesuffix(".")
                if number % keep_every == 0:
                    writer.writerow([f"a{number:05d}", *fields])
                    kept += 1
                number += 1
    return kept


def read_ids(source: Path) -> list[str]:
    """Return the dataset's ids."""
    with source.open(encoding="utf-8", newline="") as handle:
        return [row["id"] for row in csv.DictReader(handle)]


def compare_requests(bench: Bench, folder: Path, source: Path, size: Size, jobs: int) -> bool:
    """Compare plan, run and formula for each number of requests; return whether all agree."""
    context = bench.context()
    params = context.params
    where = Places.of(context, read_ids(source))
    rows, good = [], True
    for requests in BATCHES:
        say(f"{requests} requests: planning {size.draws} draws")
        draw = np.random.default_rng(requests)
        draws = [where.draw(draw, requests) for _ in range(size.draws)]
        shares = np.array([where.fraction(drawn) for drawn in draws])
        agreed = sum(
            planned == where.fraction(drawn)
            for planned, drawn in zip(
                fractions_by_plan(context, where, draws[: size.checked]), draws, strict=False
            )
        )
        say(f"{requests} requests: forgetting the first draw")
        ids = [where.ids[index] for index in draws[0]]
        planned, trained = forget_for_real(bench, folder / f"forget-{requests}", ids, jobs)
        error = float(shares.std(ddof=1) / np.sqrt(size.draws))
        formula = expected_fraction(
            len(params.sharding.shards), params.sharding.slices, params.sharding.holdout, requests
        )
        distance = (float(shares.mean()) - formula) / error
        good &= planned == trained and agreed == size.checked and abs(distance) <= 3
        rows.append(
            [
                requests,
                f"{planned:,}",
                f"{trained:,}",
                f"{shares.mean():.4f}",
                f"{error:.4f}",
                f"{formula:.4f}",
                f"{distance:+.1f}",
                f"{agreed} of {size.checked}",
            ]
        )
    header = (
        "requests",
        "rows to retrain by plan",
        "rows that repro trained",
        f"mean share of a full training, {size.draws} draws",
        "standard error",
        "by the formula",
        "difference, in standard errors",
        "draws that plan_shards confirms",
    )
    show("adult-requests", header, rows)
    return good


@dataclass(frozen=True)
class Places:
    """Shard and slice of every record, from its token alone.

    Parameters
    ----------
    ids, tokens
        Of every record in the dataset.
    shard
        Index of its shard; -1 for the holdout.
    slice
        Its slice, from 0.
    sizes
        Rows in each slice by itself, shape (shards, slices).
    """

    ids: list[str]
    tokens: list[str]
    shard: Ints
    slice: Ints
    sizes: Ints

    @classmethod
    def of(cls, context: Context, ids: list[str]) -> "Places":
        """Find every record's place."""
        sharding = context.params.sharding
        tokens = [context.tokenizer.token("record", raw) for raw in ids]
        found = [
            place(token, len(sharding.shards), sharding.slices, sharding.holdout)
            for token in tokens
        ]
        index = {name: number for number, name in enumerate(sharding.shards)}
        shard = np.array([index.get(where.shard, -1) for where in found])
        number = np.array([where.slice - 1 for where in found])
        sizes = np.zeros((len(sharding.shards), sharding.slices), dtype=np.int64)
        trained = shard >= 0
        np.add.at(sizes, (shard[trained], number[trained]), 1)
        return cls(ids, tokens, shard, number, sizes)

    def draw(self, draw: np.random.Generator, requests: int) -> Ints:
        """Return the indices of that many different records, each as likely as any other."""
        return draw.choice(len(self.ids), requests, replace=False).astype(np.int64)

    def fraction(self, drawn: Ints) -> float:
        """Return the share of a full training that forgetting these records takes.

        What `plan_shards` works out from files, from counts alone: in each shard, training
        begins at the first slice that loses a row, and slice r reads the rows of slices 1..r.
        """
        left = self.sizes.copy()
        shards, slices = left.shape
        first = np.full(shards, slices)
        trained = drawn[self.shard[drawn] >= 0]
        np.subtract.at(left, (self.shard[trained], self.slice[trained]), 1)
        np.minimum.at(first, self.shard[trained], self.slice[trained])
        unions = left.cumsum(axis=1)
        again = np.arange(slices)[None, :] >= first[:, None]
        return float(unions[again].sum() / unions.sum())


def fractions_by_plan(context: Context, where: Places, draws: Sequence[Ints]) -> list[float]:
    """Return the share of a full training for each draw as `unlearn plan` computes it."""
    held = {
        name: read_shard(context.project.shard_file(name), name).rows
        for name in context.params.sharding.shards
    }

    def planned(tokens: Sequence[str]) -> float:
        after = parse_forget_list(render(tokens), context.tokenizer, subjects=False)
        return fraction_of_full_training(plan_shards(context, held.__getitem__, after, changed=()))

    return [planned([where.tokens[index] for index in drawn]) for drawn in draws]


def forget_for_real(bench: Bench, folder: Path, ids: Sequence[str], jobs: int) -> tuple[int, int]:
    """Forget these records in a copy of the project; return rows planned and rows trained."""
    copy = bench.copy(folder)
    text = "\n".join(ids) + "\n"
    planned = copy.unlearn("plan", "--ids", "-", "--json", stdin=text).json
    copy.unlearn("forget", "--ids", "-", stdin=text)
    done = copy.unlearn("repro", "-j", str(jobs), "--json").json
    if done["trained"] != planned["shards"] or done["verdict"] != "pass":
        sys.exit(f"planned {planned['shards']}, trained {done['trained']}: {done['verdict']}")
    return int(planned["rows_to_retrain"]), int(done["rows_trained"])


def compare_accuracy(bench: Bench, folder: Path, source: Path, size: Size, jobs: int) -> bool:
    """Compare the pipeline's final model with one plain model; return whether it is near."""
    params = bench.context().params
    report = bench.report()["utility"]
    say("one plain model, with the same settings")
    plain = Bench(folder / "plain")
    place_copy(plain, bench, source, shards=1, slices=1)
    scores = train_and_score(plain, jobs)
    sharding = f"{len(params.sharding.shards)} shards of {params.sharding.slices} slices"
    rows = [
        [
            f"final model of the pipeline, {sharding}",
            params.train.epochs,
            f"{report['accuracy']:.4f}",
            f"{report['log_loss']:.4f}",
        ],
        [
            "one plain model on all rows",
            params.train.epochs,
            f"{scores.ensemble:.4f}",
            f"{scores.log_loss:.4f}",
        ],
    ]
    points = 100 * (report["accuracy"] - scores.ensemble)
    show(
        "adult-accuracy",
        ("model", "epochs", "holdout accuracy", "log loss"),
        rows,
        f"{points:+.2f} points for the pipeline, on {report['rows']:,} held-out rows.",
    )
    return bool(size.epochs is not None or points >= -1.5)


def compare_shards(
    bench: Bench, folder: Path, source: Path, rows: int, size: Size, jobs: int
) -> None:
    """Show what more shards cost in accuracy and spare in work, with the defaults of `init`."""
    lines = []
    plain_epochs = suggest(rows, holdout=HOLDOUT, can_slice=True, shards=1, slices=1).epochs
    for shards in size.shards:
        slices = 1 if shards == 1 else SLICES
        plan = suggest(rows, holdout=HOLDOUT, can_slice=True, shards=shards, slices=slices)
        epochs = size.epochs or plan.epochs
        say(f"{shards} shards, {epochs} epochs")
        place = Bench(folder / f"shards-{shards}")
        place_copy(place, bench, source, shards=shards, slices=slices)
        place.set_params(train={"epochs": epochs})
        scores = train_and_score(place, jobs)
        shares = [expected_fraction(shards, slices, HOLDOUT, k) for k in BATCHES]
        lines.append(
            [
                shards,
                slices,
                epochs,
                f"{rows * (1 - HOLDOUT) / shards:,.0f}",
                f"{scores.shard:.4f}",
                f"{scores.ensemble:.4f}",
                f"{scores.log_loss:.4f}",
                f"{epochs / (size.epochs or plain_epochs):.1f}",
                *(f"{share * epochs / (size.epochs or plain_epochs):.2f}" for share in shares),
            ]
        )
    header = (
        "shards",
        "slices",
        "epochs that init chooses",
        "rows a shard",
        "accuracy of one shard model",
        "of the ensemble",
        "its log loss",
        "cost of a first training",
        *(f"of {requests} request{'s' if requests > 1 else ''}" for requests in BATCHES),
    )
    show(
        "adult-shards",
        header,
        lines,
        "Costs are in trainings of one plain model (one shard, one slice, its own epochs).",
    )


if __name__ == "__main__":
    main()
