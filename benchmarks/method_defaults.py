"""Settings of the methods that train on the retain rows: what their defaults rest on.

Digits and a fifth of UCI Adult, the default network with the epochs that `unlearn init` pins;
forget sets and originals are those of `methods.py`. A model is compared with the retrained one by
the accuracy on held-out rows, and by an AUC: each forgotten row is paired with a held-out row whose
logit of the same label is nearest in the retrained model, and the AUC is that of the forgotten
rows' logits against the held-out rows' logits. At .5 the model knows the forgotten rows no better
than rows that it never saw and that are equally hard.
"""

import argparse
import copy
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score
from unlearn.stages.context import Context, check_params
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.forget_list import render
from unlearn.stages.rows.shard_file import read_shard, targets
from unlearn.stages.training.method_record import MethodRows
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.training.young import young_recipe
from unlearn.stages.unlearn.stage import read_rows, train_from_scratch, unlearn_rows

from benchmarks import adult
from benchmarks.harness import machine, new_project, say, show, workplace
from benchmarks.methods import DIGITS, Task, forget_sets, mislabel, place

Tried = tuple[Mapping[str, Any], ...]


def grid(name: str, values: tuple[float, ...], factors: tuple[float, ...]) -> Tried:
    """Return all pairs of a setting and a factor of training's rate."""
    return tuple({name: value, "rate_factor": f} for f in factors for value in values)


#: Which settings are tried, by method.
TRIED: Mapping[str, Tried] = {
    "finetune": (
        {"optimizer": "sgd"},
        *({"optimizer": "training", "rate_factor": factor} for factor in (1.0, 4.0, 8.0, 16.0)),
    ),
    "scrub": ({"decay": 1.0}, {"decay": 0.1}),
    "shrink_perturb": grid("keep", (0.1, 0.25, 0.4), (1.0, 4.0, 8.0, 16.0)),
    "msg": grid("share", (0.5, 0.7, 0.9), (1.0, 4.0, 8.0, 16.0)),
    "l1_sparse": grid("penalty", (5e-4, 1e-3, 2e-3), (1.0, 4.0, 8.0, 16.0)),
}

Places = npt.NDArray[np.int64]

SETS = ("1% random", "10% random", "mislabelled")

#: One row in how many of Adult's is used.
_ADULT = 5

#: Largest difference of logits in a pair of a forgotten and a held-out row.
_CALIPER = 0.5


@dataclass(frozen=True)
class Measured:
    """What one choice of settings came to.

    Parameters
    ----------
    points
        Held-out accuracy less the retrained model's, in points.
    auc
        Of the forgotten rows' logits against those of equally hard held-out rows.
    retained
        Accuracy on the retained rows.
    share
        Processor time, relative to retraining.
    stopped_by
        What ended the method.
    """

    points: float
    auc: float
    retained: float
    share: float
    stopped_by: str


def main() -> None:
    """Try all settings and print a table for each forget set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--tasks", nargs="+", choices=("digits", "adult"), default=["digits"])
    parser.add_argument("--methods", nargs="+", choices=TRIED, default=list(TRIED))
    parser.add_argument("--unguarded", action="store_true", help="let methods do what they do")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    seeds = range(1 if arguments.quick else arguments.seeds)
    methods = arguments.methods[:1] if arguments.quick else arguments.methods
    use_one_thread()
    print(machine())
    with workplace(None) as folder:
        for name in arguments.tasks:
            task = _task(name, arguments.data, folder, guarded=not arguments.unguarded)
            found: dict[str, dict[str, list[Measured]]] = {each: {} for each in SETS}
            for seed in seeds:
                for each, context in _projects(task, folder, seed):
                    say(f"seed {seed}, {each}")
                    for method, one in _measured(context, methods):
                        found[each].setdefault(method, []).append(one)
            _show(task.title, found, len(seeds))


def _show(title: str, found: Mapping[str, Mapping[str, list[Measured]]], seeds: int) -> None:
    for name, by_method in found.items():
        show(
            f"method-defaults-{title}-{name}".replace(" ", "-").replace("%", ""),
            (
                f"{title}, {name}",
                "points from retrain",
                "AUC, paired",
                "retain",
                "time / retrain",
                "ended",
            ),
            [_line(method, measured) for method, measured in by_method.items()],
            f"Medians of {seeds} seeds.",
        )


def _task(name: str, data: Path, folder: Path, *, guarded: bool) -> Task:
    source = folder / f"{name}.csv"
    if name == "digits":
        heading, _, body = DIGITS.read_text(encoding="utf-8").partition("\n")
        source.write_text(f"{heading.removesuffix('digit')}label\n{body}", encoding="utf-8")
        gone = ("3", "5", "8")
    else:
        files = [data / part for part in ("adult-train.csv", "adult-test.csv")]
        adult.write_dataset(files, source, _ADULT)
        gone = (">50K",) * 3
    new_project(folder / f"{name}-pinned", source, "--template", "posthoc", "--holdout", "0.3")
    return Task(name, source, gone, ("retrain", *TRIED), guarded=guarded)


def _projects(task: Task, folder: Path, seed: int) -> Iterator[tuple[str, Context]]:
    """Yield the name of each forget set, and a project whose original has learned it."""
    pinned = folder / f"{task.name}-pinned"
    plain = place(task, pinned, folder / f"{task.name}-{seed}", seed)
    for name, tokens in forget_sets(task, plain, seed):
        if name in SETS:
            yield name, _listed(plain, tokens)
    changed = folder / f"{task.name}-{seed}.csv"
    ids = mislabel(task.source, changed, seed)
    noisy = place(task, pinned, folder / f"{task.name}-{seed}-mislabelled", seed, changed)
    yield "mislabelled", _listed(noisy, [noisy.tokenizer.token("record", raw) for raw in ids])


def _listed(context: Context, tokens: list[str]) -> Context:
    context.project.forget_list.write_bytes(render(tokens))
    forget_stage.run(context)
    return context


def _measured(context: Context, methods: list[str]) -> Iterator[tuple[str, Measured]]:
    """Yield what each choice of settings came to, by its name."""
    rows = read_rows(context)
    held_out = read_shard(context.project.retain_file(HOLDOUT), HOLDOUT).rows
    started = time.process_time()
    recipe = Recipe.of_project(context)
    retrained = ShardModel.of_files(train_from_scratch(recipe, rows.retain).files)
    seconds = time.process_time() - started
    original = read_shard_model(context.project.original, "original")
    reference = _Reference(context, rows, held_out, retrained, seconds)
    yield "untouched", reference.measure(original, 0.0, "")
    yield "retrain", reference.measure(retrained, seconds, "")
    started = time.process_time()
    fresh = ShardModel.of_files(train_from_scratch(young_recipe(recipe), rows.retain).files)
    took = time.process_time() - started
    yield "a fresh model, a fifth of the epochs", reference.measure(fresh, took, "")
    for method in methods:
        for settings in TRIED[method]:
            changed = _with(context, method, settings)
            started = time.process_time()
            result = unlearn_rows(changed.posthoc(), method, original, rows)
            took = time.process_time() - started
            name = f"{method} " + ", ".join(f"{key} {value}" for key, value in settings.items())
            model = ShardModel.of_files(result.files)
            yield name, reference.measure(model, took, str(result.record.stopped_by))


def _with(context: Context, method: str, settings: Mapping[str, Any]) -> Context:
    raw = copy.deepcopy(context.params.model_dump(mode="json"))
    raw["unlearn"]["settings"][method] |= settings
    return replace(context, params=check_params(raw))


@dataclass(frozen=True)
class _Reference:
    """The retrained model, and what is compared with it."""

    context: Context
    rows: MethodRows
    held_out: pa.Table
    model: ShardModel
    seconds: float

    def measure(self, model: ShardModel, took: float, ended: str) -> Measured:
        own = targets(self.rows.forget, self.context.layout)
        forgotten, unseen = self.pairs
        mine = self._logits(model, self.rows.forget)[forgotten, own[forgotten]]
        theirs = self._logits(model, self.held_out)[unseen, own[forgotten]]
        known = np.concatenate([np.ones(len(mine)), np.zeros(len(theirs))])
        right, retrained = (self._right(each, self.held_out) for each in (model, self.model))
        return Measured(
            points=100 * (right - retrained),
            auc=float(roc_auc_score(known, np.concatenate([mine, theirs]))),
            retained=self._right(model, self.rows.retain),
            share=took / self.seconds,
            stopped_by=ended,
        )

    @cached_property
    def pairs(self) -> tuple[Places, Places]:
        """Places of forgotten rows and of the held-out rows that are paired with them."""
        own = targets(self.rows.forget, self.context.layout)
        forgotten = self._logits(self.model, self.rows.forget)[np.arange(len(own)), own]
        unseen = self._logits(self.model, self.held_out)
        gaps = np.abs(forgotten[:, None] - unseen.T[own])
        # A pair past the caliper costs more than all others together.
        rows, columns = linear_sum_assignment(np.where(gaps > _CALIPER, 1e6, gaps))
        near = gaps[rows, columns] <= _CALIPER
        return rows[near], columns[near]

    def _logits(self, model: ShardModel, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return log(p / (1 - p)) of every row and class."""
        p = model.predictor(self.context.code).probabilities(rows).clip(1e-12, 1 - 1e-12)
        found: npt.NDArray[np.float64] = np.log(p) - np.log1p(-p)
        return found

    def _right(self, model: ShardModel, rows: pa.Table) -> float:
        answers = model.predictor(self.context.code).probabilities(rows)
        return float((answers.argmax(axis=1) == targets(rows, self.context.layout)).mean())


def _line(method: str, found: list[Measured]) -> list[object]:
    ended = [one.stopped_by.replace("_", " ") for one in found]
    return [
        method,
        f"{median(one.points for one in found):+.2f}",
        f"{median(one.auc for one in found):.3f}",
        f"{median(one.retained for one in found):.3f}",
        f"{median(one.share for one in found):.2f}",
        ", ".join(f"{ended.count(word)} {word}" for word in dict.fromkeys(ended) if word),
    ]


if __name__ == "__main__":
    main()
