"""Every post-hoc method against retraining: what it forgets, what it breaks, what it costs.

UCI Adult and digits, the default network with the epochs that `unlearn init` pins, every setting
at its default; and digits with the one model that has a certificate. Forget sets: one row in a
hundred and one in ten at random, a whole class, and records that were mislabelled before training,
which a network can only know by heart. Stages run in this process, one after another, so that
their times compare: processor time, which a busy machine does not stretch.
"""

import argparse
import csv
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.methods import METHODS, YOUNG
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.forget_list import render
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.unlearn import stage as unlearn_stage
from unlearn.stages.verify import stage as verify_stage

from benchmarks.adult import write_dataset
from benchmarks.harness import Bench, machine, new_project, say, show, workplace

DIGITS = Path(__file__).parent.parent / "data" / "digits.csv"

#: Two methods to measure by. One does nothing: what it reaches, any method must beat. The other
#: retrains from other random numbers: nothing can be expected to come nearer than this.
UNTOUCHED, AGAIN = "yardsticks.py:untouched", "yardsticks.py:another_retraining"
YARDSTICKS = """\
import torch


def untouched(model, forget, retain, settings, run):
    return model


def another_retraining(model, forget, retain, settings, run):
    fresh = run.fresh().train()
    optimizer = torch.optim.Adam(fresh.parameters(), lr=1e-3)
    for epoch in range(run.epochs):
        for rows in run.batches(retain, epoch, "retain"):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(fresh(rows.inputs), rows.targets).backward()
            optimizer.step()
    return fresh.eval()
"""

#: Share of all records whose label is changed before training.
MISLABELLED = 0.03

SETS = ("1%", "10%", "class", "mislabelled")

#: The goal: points of held-out accuracy from the retrained model's, and share of its time.
POINTS, SHARE = 1.0, 0.2

#: Methods for the model with a certificate, which is trained in a moment.
CONVEX = (RETRAIN, "certified_removal", "influence", "finetune", "negative_gradient_plus")


@dataclass(frozen=True)
class Task:
    """A dataset and a model.

    Parameters
    ----------
    name
        Of the task.
    source
        The dataset's CSV, with columns `id` and `label`.
    gone
        The class that is forgotten whole, by seed.
    methods
        Those to compare.
    train
        Sections of params.yaml's `train` that are not what `init` pins.
    guarded
        Whether the guard is on.
    """

    name: str
    source: Path
    gone: Sequence[str]
    methods: tuple[str, ...]
    train: Mapping[str, Any] = field(default_factory=dict)
    guarded: bool = True

    @property
    def compared(self) -> tuple[str, ...]:
        """The methods, and what to measure them by; the latter trains as networks are trained."""
        return (*self.methods, UNTOUCHED) if self.train else (*self.methods, AGAIN, UNTOUCHED)

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.name if self.guarded else f"{self.name}, unguarded"


@dataclass(frozen=True)
class Found:
    """What one method came to on one forget set and seed.

    Parameters
    ----------
    result
        Its entry in reports/verify.json.
    seconds
        Processor time of the method on a project that is open: its files are read before, and its
        model is written after.
    guard
        Share of the method's time that the measurements of its guard took.
    """

    result: dict[str, Any]
    seconds: float
    guard: float

    @property
    def membership(self) -> tuple[float, float, float] | None:
        """The attack's AUC less that on the retrained model, and its 95 % interval.

        On matched pairs, where these decide.
        """
        membership = self.result["membership"] or {}
        found = (membership.get("matched") or {}).get("difference")
        if found is None:
            found = membership.get("difference_from_retrain")
        return None if found is None or found["ci"] is None else (found["auc"], *found["ci"])


#: By method, what each seed found; by forget set.
Results = dict[str, dict[str, list[Found]]]


def main() -> None:
    """Run all tasks and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--tasks", nargs="+", default=["digits", "digits-convex", "adult"])
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS["tabular"], help="only these, and retrain"
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="of rows to forget")
    parser.add_argument("--unguarded", action="store_true", help="let methods do what they do")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    use_one_thread()
    seeds = range(1 if arguments.quick else arguments.seeds)
    print(machine())
    summary: list[tuple[str, Results]] = []
    with workplace(arguments.keep) as folder:
        for task in _tasks(arguments, folder):
            results: Results = {}
            for seed in seeds:
                for name, found in run_seed(task, folder, seed, arguments.sets):
                    of_set = results.setdefault(name, {})
                    for method, one in found.items():
                        of_set.setdefault(method, []).append(one)
            show_task(task, results)
            summary.append((task.title, results))
            show_goal(summary[-1:], _slug(f"methods-goal-{task.title}"))


def _tasks(arguments: argparse.Namespace, folder: Path) -> Iterator[Task]:
    wanted, guarded = arguments.methods or METHODS["tabular"], not arguments.unguarded
    methods = tuple(name for name in METHODS["tabular"] if name in wanted or name == RETRAIN)
    if "digits" in arguments.tasks or "digits-convex" in arguments.tasks:
        source = folder / "digits.csv"
        text = DIGITS.read_text(encoding="utf-8")
        heading, _, body = text.partition("\n")
        source.write_text(f"{heading.removesuffix('digit')}label\n{body}", encoding="utf-8")
    if "digits" in arguments.tasks:
        networks = tuple(name for name in methods if name != "certified_removal")
        yield Task("digits", source, ("3", "5", "8"), networks, guarded=guarded)
    if "digits-convex" in arguments.tasks:
        convex = {
            "model": "perturbed_logistic",
            "options": {"range": [0, 16]},
            "preprocessing": {"scale": "none", "impute": "zero"},
        }
        few = tuple(name for name in CONVEX if name in methods)
        yield Task("digits-convex", source, ("3", "5", "8"), few, convex)
    if "adult" in arguments.tasks:
        files = [arguments.data / name for name in ("adult-train.csv", "adult-test.csv")]
        if not all(file.is_file() for file in files):
            say(f"{arguments.data} does not hold adult-train.csv and adult-test.csv: without Adult")
            return
        source = folder / "adult.csv"
        rows = write_dataset(files, source, 20 if arguments.quick else 1)
        say(f"adult: {rows:,} rows")
        networks = tuple(name for name in methods if name != "certified_removal")
        yield Task("adult", source, (">50K",) * 3, networks, guarded=guarded)


def run_seed(
    task: Task, folder: Path, seed: int, sets: Collection[str]
) -> Iterator[tuple[str, dict[str, Found]]]:
    """Yield the name of each forget set and what every method came to on it."""
    pinned = folder / f"{task.name}-pinned"
    if not pinned.is_dir():
        new_project(pinned, task.source, "--template", "posthoc", "--holdout", "0.3")
    if set(sets) != {"mislabelled"}:
        plain = place(task, pinned, folder / f"{task.name}-{seed}", seed)
        for name, tokens in forget_sets(task, plain, seed):
            if name.split()[0] in sets or name.split()[-1] in sets:
                yield name, forget_and_compare(task, plain, tokens, seed)
        shutil.rmtree(plain.project.root)
    if "mislabelled" not in sets:
        return
    changed = folder / f"{task.name}-{seed}.csv"
    ids = mislabel(task.source, changed, seed)
    noisy = place(task, pinned, folder / f"{task.name}-{seed}-mislabelled", seed, changed)
    wrong = [noisy.tokenizer.token("record", raw) for raw in ids]
    yield "mislabelled", forget_and_compare(task, noisy, wrong, seed)
    shutil.rmtree(noisy.project.root)


def forget_sets(task: Task, context: Context, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the tokens of each forget set among records as they are, and its name."""
    draw = np.random.default_rng(seed)
    shard = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    tokens = sorted(record_tokens(shard))
    for share in (0.01, 0.1):
        drawn = draw.choice(len(tokens), round(share * len(tokens)), replace=False)
        yield f"{share:.0%} random", [tokens[index] for index in drawn]
    gone = task.gone[seed % len(task.gone)]
    with task.source.open(encoding="utf-8", newline="") as handle:
        ids = [row["id"] for row in csv.DictReader(handle) if row["label"] == gone]
    yield "one class", [context.tokenizer.token("record", raw) for raw in ids]


def mislabel(source: Path, target: Path, seed: int) -> list[str]:
    """Write a copy of a dataset in which some records have another label; return their ids."""
    with source.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    classes = sorted({row["label"] for row in rows})
    draw = np.random.default_rng(1_000 + seed)
    chosen = draw.choice(len(rows), round(MISLABELLED * len(rows)), replace=False)
    for index in chosen:
        others = [name for name in classes if name != rows[index]["label"]]
        rows[index]["label"] = others[draw.integers(len(others))]
    with target.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return [rows[index]["id"] for index in chosen]


def place(task: Task, pinned: Path, target: Path, seed: int, source: Path | None = None) -> Context:
    """Return a project without git and DVC, with its rows placed and its original trained."""
    (target / "data").mkdir(parents=True)
    for name in ("params.yaml", "schema.yaml", "dvc.yaml", "unlearn.key"):
        shutil.copy(pinned / name, target / name)
    (target / "yardsticks.py").write_text(YARDSTICKS, encoding="utf-8")
    bench = Bench(target)
    shutil.copy(source or task.source, target / bench.context().params.dataset.path)
    (target / "data" / "forget_list.txt").write_bytes(b"")
    methods = list(task.compared)
    # The exact model is trained once, on the clock; training it again to check is not compared.
    bench.set_params(
        train=dict(task.train),
        unlearn={"methods": methods, "guard": {"active": task.guarded}},
        verify={"rerun": 0},
    )
    path = target / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^seed: \d+$", f"seed: {seed}", text), encoding="utf-8")
    context = bench.context()
    recipe_stage.run(context)
    shard_stage.run(context)
    trained = train_stage.run_whole(context)
    say(f"{target.name}: {trained.rows:,} rows, {context.params.train.epochs} epochs")
    return context


def forget_and_compare(
    task: Task, context: Context, tokens: Sequence[str], seed: int
) -> dict[str, Found]:
    """Apply every method to the original with this list, and compare them."""
    context.project.forget_list.write_bytes(render(tokens))
    applied = forget_stage.run(context)
    done = {YOUNG: unlearn_stage.run_young(context)}
    # The first method to run also loads what all of them need.
    unlearn_stage.run(context, "finetune" if "finetune" in task.compared else UNTOUCHED)
    shutil.rmtree(context.project.unlearned / "finetune", ignore_errors=True)
    for method in task.compared:
        done[method] = unlearn_stage.run(context, method)
    aggregate_stage.run(context)
    report = verify_stage.run(context).as_json()
    say(f"  {task.name}, seed {seed}: {applied.forgotten:,} rows forgotten")
    return {
        name: Found(
            report["methods"][name],
            one.processor_seconds,
            one.guard_seconds / one.seconds if one.seconds else 0.0,
        )
        for name, one in sorted(done.items(), key=lambda item: item[0] != RETRAIN)
    }


def show_task(task: Task, results: Results) -> None:
    """Print a table for each forget set."""
    for name, of_set in results.items():
        reference = of_set[RETRAIN]
        rows = [_line(method, found, reference) for method, found in of_set.items()]
        show(
            _slug(f"methods-{task.title}-{name}"),
            (
                f"{task.title}, {name}",
                "forget",
                "retain",
                "holdout",
                "points from retrain",
                "membership AUC less retrain's (95 % interval)",
                "verdicts",
                "disagreement",
                "KL",
                "relearning",
                "time / retrain",
                "guard / time",
                "stopped by",
            ),
            rows,
        )


def _line(method: str, found: Sequence[Found], reference: Sequence[Found]) -> list[object]:
    name = _name(method)
    reasons = [
        one.result["reasons"][0] for one in found if one.result["verdict"] == "not applicable"
    ]
    if reasons:
        return [f"{name}: {reasons[0]}", *["-"] * 12]
    share = [one.seconds / other.seconds for one, other in zip(found, reference, strict=True)]
    return [
        name,
        *(
            _middle(found, key)
            for key in ("forget_accuracy", "retain_accuracy", "holdout_accuracy")
        ),
        "-" if method == RETRAIN else f"{_median(_points(found, reference)):+.2f}",
        "-" if method == RETRAIN else _membership(found),
        _counted([one.result["verdict"] for one in found]),
        *(_middle(found, key) for key in ("disagreement_with_retrain", "kl_from_retrain")),
        _middle(found, "relearning_ratio", 2),
        # Another loop than the stage's: its time says nothing.
        "-" if method == AGAIN else f"{_median(share):.2f}",
        f"{_median([one.guard for one in found]):.2f}",
        _counted([str(one.result["stopped_by"]).replace("_", " ") for one in found]),
    ]


def _slug(text: str) -> str:
    return re.sub(r"[ ,%]+", "-", text)


def _name(method: str) -> str:
    return method.partition(":")[2].replace("_", " ") if ":" in method else method


def _middle(found: Sequence[Found], key: str, digits: int = 4) -> str:
    values = [one.result[key] for one in found if one.result[key] is not None]
    return f"{median(values):.{digits}f}" if values else "-"


def _median(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return median(known) if known else float("nan")


def _points(found: Sequence[Found], reference: Sequence[Found]) -> list[float | None]:
    """Return each seed's held-out accuracy less the retrained model's, in points."""
    pairs = [
        (one.result["holdout_accuracy"], other.result["holdout_accuracy"])
        for one, other in zip(found, reference, strict=True)
    ]
    return [None if None in pair else 100 * (pair[0] - pair[1]) for pair in pairs]


def _membership(found: Sequence[Found]) -> str:
    """Return the middle seed's difference with its interval."""
    known = sorted(one.membership for one in found if one.membership is not None)
    if not known:
        return "-"
    value, low, high = known[len(known) // 2]
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _counted(said: Sequence[str]) -> str:
    counts = {word: said.count(word) for word in dict.fromkeys(said)}
    if len(counts) == 1:
        return said[0]
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def show_goal(tasks: Sequence[tuple[str, Results]], table: str) -> None:
    """Print in how many seeds each method reaches the goal, and what it misses elsewhere."""
    for task, results in tasks:
        methods = list(dict.fromkeys(name for of_set in results.values() for name in of_set))
        rows = []
        for method in methods:
            if method == RETRAIN:
                continue
            cells = [
                _reached(of_set[method], of_set[RETRAIN], timed=method != AGAIN)
                if method in of_set
                else "-"
                for of_set in results.values()
            ]
            rows.append([_name(method), *cells])
        show(
            table,
            (task, *results),
            rows,
            f"Seeds in which the method is within {POINTS:g} point of retrain on held-out rows, "
            "the 95 % interval of its membership AUC less retrain's covers 0, and it takes at "
            f"most {SHARE:.0%} of retrain's time. What was missed: h held-out accuracy, "
            "m membership (on a whole class: forget accuracy within 1 point of retrain's), t time.",
        )


def _reached(found: Sequence[Found], reference: Sequence[Found], *, timed: bool) -> str:
    """Return how many seeds reach the goal, and letters for what the others miss."""
    if all(one.result["verdict"] == "not applicable" for one in found):
        return "not applicable"
    reached, missed = 0, set()
    points = _points(found, reference)
    for one, other, apart in zip(found, reference, points, strict=True):
        wrong = set()
        if apart is None or abs(apart) > POINTS:
            wrong.add("h")
        if not _as_unseen(one, other):
            wrong.add("m")
        if timed and one.seconds > SHARE * other.seconds:
            wrong.add("t")
        reached += not wrong
        missed |= wrong
    letters = " ".join(letter for letter in "hmt" if letter in missed)
    return f"{reached} of {len(found)}" + (f" ({letters})" if letters else "")


def _as_unseen(one: Found, reference: Found) -> bool:
    """Tell whether a model treats the forgotten rows as the retrained one does."""
    if one.membership is not None:
        _, low, high = one.membership
        return low <= 0 <= high
    # No unseen row of the class is left to compare with.
    pair = one.result["forget_accuracy"], reference.result["forget_accuracy"]
    return None not in pair and 100 * abs(pair[0] - pair[1]) <= POINTS


if __name__ == "__main__":
    main()
