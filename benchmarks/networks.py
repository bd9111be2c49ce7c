"""Networks on pictures: the pace of a training, and what shards cost in accuracy.

`--part pace`: the tool's `fit_slice` and a bare loop of PyTorch, in turns, in one process. The bare
loop has the same network, batches, optimizer and schedule, and changes the pictures of a batch by
the same crops and mirrors with torch's own generator. Its clock stops before anything is written;
that of the tool counts the bytes of the state as well, and its kernels are deterministic. One
thread each.

`--part shards`: the made-up shapes of `unlearn init --example shapes`. A fifth of the people is
held out. The others are split into shards by person, a network is trained on each, and the mean of
their probabilities answers.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.cli.examples.shapes import CLASSES, draw_shapes
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.packing import Packing, packing_of
from unlearn.stages.estimators.resnet import build_resnet
from unlearn.stages.estimators.schedules import rate_factors
from unlearn.stages.estimators.torch_machine import be_deterministic
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.estimators.torch_predictors import TorchPredictor
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.rows.outputs import Outputs

from benchmarks.bare_loops import GOAL, Contender, ratios, take_turns
from benchmarks.harness import machine, say, show, spread

SEED = 7
#: Points of accuracy that an ensemble of 5 shards may lose at most.
MOST_LOST = 3.0
MARGIN = 2


@dataclass(frozen=True)
class Job:
    """A network and how it is trained."""

    side: int
    batch: int
    options: dict[str, Any]
    settings: dict[str, Any]

    @property
    def cells(self) -> list[str]:
        """What the table says of it."""
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        settings = ", ".join(self.settings) or "-"
        return [f"{self.side} x {self.side}", options, settings, str(self.batch)]

    @property
    def packing(self) -> Packing:
        """The one picture of a row."""
        return packing_of({"photo": ("image", (3, self.side, self.side))}, columns=0)

    @property
    def train(self) -> TrainParams:
        """The settings."""
        return TrainParams.model_validate(
            {
                "model": "resnet",
                "options": self.options,
                "batch": self.batch,
                "device": "cpu",
                "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9},
                **self.settings,
            }
        )


_COSINE = {"schedule": {"name": "cosine"}}
_CHANGED = {**_COSINE, "augment": {"crop": MARGIN, "flip": True}}
JOBS = [
    Job(16, 32, {"width": 8, "norm": "group"}, {}),
    Job(16, 32, {"width": 16, "norm": "group"}, _CHANGED),
    Job(32, 32, {"width": 16, "norm": "batch"}, _CHANGED),
    Job(32, 128, {"width": 16, "norm": "group"}, _CHANGED),
    Job(32, 32, {"width": 16, "norm": "group"}, {**_CHANGED, "clip": 1.0, "average": 0.2}),
    Job(32, 32, {"width": 16, "norm": "batch"}, {**_CHANGED, "channels_last": True}),
]


def main() -> None:
    """Run the parts, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["pace", "shards"], default=None)
    parser.add_argument("--rows", type=int, default=640, help="pictures of the pace")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=25, help="of the shards' trainings")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20])
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.pairs, arguments.epochs, arguments.seeds = 64, 2, 1, 1
        arguments.shards = [1, 2]
    print(machine())
    be_deterministic()
    if arguments.part != "shards":
        _show_pace(arguments)
    if arguments.part != "pace":
        _show_shards(arguments)


def _show_pace(arguments: argparse.Namespace) -> None:
    lines = [_paced(job, arguments) for job in JOBS]
    show(
        "training on pictures",
        (
            "pictures",
            "resnet",
            "settings",
            "batch",
            "bare loop, ms a step",
            "unlearn, ms a step",
            "bare loop / unlearn",
        ),
        lines,
        f"{arguments.rows:,} pictures, 1 epoch, {arguments.pairs} pairs, processor time, median "
        f"(least to largest). The goal is {1 / (1 + GOAL):.2f} and more.",
    )


def _paced(job: Job, arguments: argparse.Namespace) -> list[str]:
    say(", ".join(job.cells))
    draw = np.random.default_rng(SEED)
    steps = -(-arguments.rows // job.batch)
    data = SliceData(
        inputs=draw.integers(0, 256, (arguments.rows, job.packing.width), dtype=np.uint8),
        targets=draw.integers(0, 10, arguments.rows),
        new=arguments.rows,
        steps=steps,
        seed=lambda epoch: SEED + epoch,
        draws=draw.integers(0, 2**63, arguments.rows).astype(np.uint64),
    )
    estimator = TorchEstimator(job.train, job.packing, Outputs(10), build_resnet)
    contenders: dict[str, Contender] = {
        "bare": _bare(job, data),
        "ours": lambda: lambda: estimator.fit_slice(None, data, SEED),
    }
    found = take_turns(contenders, arguments.pairs)
    bare, own = found["bare"].processor, found["ours"].processor
    return [
        *job.cells,
        f"{median(bare) / steps * 1e3:.1f}",
        f"{median(own) / steps * 1e3:.1f}",
        spread(ratios(bare, own), 2),
    ]


def _bare(job: Job, data: SliceData) -> Contender:
    train, shape = job.train, (3, job.side, job.side)

    def prepare() -> Callable[[], object]:
        torch.manual_seed(SEED)
        module = build_resnet(shape, 10, **train.options).train()
        if train.channels_last:
            # The types of torch do not know this form.
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(train.optimizer, list(module.parameters()))
        pictures = torch.from_numpy(data.inputs).view(-1, *shape)
        return lambda: _train_bare(
            module, optimizer, pictures, torch.from_numpy(data.targets), train
        )

    return prepare


@contextmanager
def _as_installed() -> Iterator[None]:
    """Let torch choose its kernels, as in a loop that promises nothing, within the block."""
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        be_deterministic()


@_as_installed()
def _train_bare(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    pictures: torch.Tensor,
    targets: torch.Tensor,
    train: TrainParams,
) -> None:
    """Train an epoch as anyone would."""
    order = torch.split(torch.randperm(len(targets)), train.batch)
    factor = rate_factors(train.schedule, len(order))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    average = torch.optim.swa_utils.AveragedModel(module) if train.average else None
    for step, rows in enumerate(order):
        batch = pictures[rows]
        if train.augment is not None:
            batch = _changed(batch)
        if train.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        answers = module((batch.float() / 255 - 0.5) / 0.5)
        loss = nn.functional.cross_entropy(answers, targets[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if train.clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), train.clip)
        optimizer.step()
        schedule.step()
        if average is not None and step >= len(order) * (1 - train.average):
            average.update_parameters(module)


def _changed(pictures: torch.Tensor) -> torch.Tensor:
    """Return pictures that are cropped and mirrored, each as torch's generator draws it."""
    rows, _, height, width = pictures.shape
    padded = nn.functional.pad(pictures, (MARGIN,) * 4, value=128)
    down, right = torch.randint(2 * MARGIN + 1, (2, rows, 1))
    columns = torch.arange(width).expand(rows, width)
    columns = torch.where(torch.rand(rows, 1) < 0.5, columns.flip(1), columns) + right
    lines = torch.arange(height) + down
    places = torch.arange(rows)[:, None, None]
    found = padded[places, :, lines[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Split:
    """Pictures to train on and to ask about, as rows of bytes."""

    inputs: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    people: npt.NDArray[np.int64]
    asked: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.int64]


def _split(seed: int) -> Split:
    shapes = draw_shapes(seed=seed)
    pixels = shapes.pixels.reshape(len(shapes), -1)
    people = np.random.default_rng(seed).permutation(np.unique(shapes.people))
    held_out = np.isin(shapes.people, people[: len(people) // 5])
    return Split(
        pixels[~held_out],
        shapes.labels[~held_out],
        shapes.people[~held_out],
        pixels[held_out],
        shapes.labels[held_out],
    )


def _show_shards(arguments: argparse.Namespace) -> None:
    found: dict[int, list[tuple[float, float, float]]] = {}
    for seed in range(1, arguments.seeds + 1):
        split = _split(seed)
        for shards in arguments.shards:
            say(f"seed {seed}, {shards} shards")
            found.setdefault(shards, []).append(_accuracy(split, shards, arguments.epochs, seed))
    whole = mean(right for right, _, _ in found[arguments.shards[0]])
    lines = [
        [
            str(shards),
            spread([right for right, _, _ in runs], 1),
            f"{mean(right for right, _, _ in runs) - whole:+.1f}",
            f"{mean(alone for _, alone, _ in runs):.1f}",
            f"{mean(seconds for _, _, seconds in runs):.0f}",
        ]
        for shards, runs in found.items()
    ]
    show(
        "shards on pictures",
        ("shards", "accuracy, %", "points", "of one network, %", "seconds"),
        lines,
        f"{arguments.seeds} draws of the shapes, {arguments.epochs} epochs. The goal is "
        f"{MOST_LOST:.0f} points at 5 shards.",
    )


def _accuracy(split: Split, shards: int, epochs: int, seed: int) -> tuple[float, float, float]:
    """Return the accuracy of the ensemble, the mean of its members' (%), and the seconds."""
    started = perf_counter()
    packing = packing_of({"photo": ("image", (3, 16, 16))}, columns=0)
    train = TrainParams.model_validate(EXAMPLE)
    answers, alone = [], []
    for number, rows in enumerate(_shards(split, shards, seed)):
        estimator = TorchEstimator(train, packing, Outputs(len(CLASSES)), build_resnet)
        draw = np.random.default_rng([seed, number])
        data = SliceData(
            inputs=split.inputs[rows],
            targets=split.targets[rows],
            new=len(rows),
            steps=epochs * -(-len(rows) // train.batch),
            seed=lambda epoch, number=number: seed * 100_000 + number * 1_000 + epoch,  # type: ignore[misc]  # bound
            draws=draw.integers(0, 2**63, len(rows)).astype(np.uint64),
        )
        state = estimator.fit_slice(None, data, seed * 100 + number)
        predictor = estimator.predictor(estimator.export(state))
        if not isinstance(predictor, TorchPredictor):
            raise TypeError("a classifier answers with probabilities")
        answers.append(predictor.probabilities(split.asked))
        alone.append(float(np.mean(answers[-1].argmax(axis=1) == split.truth)))
    right = float(np.mean(np.mean(answers, axis=0).argmax(axis=1) == split.truth))
    return 100 * right, 100 * mean(alone), perf_counter() - started


#: What each network is trained with, however many shards there are.
EXAMPLE: dict[str, Any] = {
    "model": "resnet",
    "options": {"width": 8},
    "batch": 16,
    "device": "cpu",
    "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.01},
    "schedule": {"name": "one_cycle"},
    "augment": {"crop": 2, "flip": True, "colour": 0.3},
}


def _shards(split: Split, shards: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each shard; all pictures of a person are in one."""
    of = np.random.default_rng(seed + 50).integers(0, shards, split.people.max() + 1)
    for number in range(shards):
        yield np.flatnonzero(of[split.people] == number)


if __name__ == "__main__":
    main()
