"""The built-in mlp against a bare loop of autograd and fused Adam, in turns, in one process.

The bare loop has the same rows, batches, network and optimizer, and gathers the rows once an epoch,
which is the fastest way for it. Its clock stops before anything is written; that of the tool's
`fit_slice` counts the bytes of the state as well. One thread each, as in every training of a shard.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from unlearn.stages.config.train import MlpOptions, OptimizerParams, TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.mlp import MlpEstimator, build_mlp
from unlearn.stages.estimators.torch_machine import be_deterministic
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.rows.outputs import Outputs

from benchmarks.bare_loops import Contender, ratios, take_turns, train_bare
from benchmarks.harness import machine, say, show, spread

SEED = 7


@dataclass(frozen=True)
class Job:
    """A network and how it is trained."""

    inputs: int
    classes: int
    batch: int
    options: MlpOptions
    optimizer: OptimizerParams = field(default_factory=OptimizerParams)

    @property
    def cells(self) -> list[str]:
        """What the table says of it."""
        widths = [self.inputs, *self.options.hidden, self.classes]
        dropout = f", dropout {self.options.dropout}" if self.options.dropout else ""
        return [
            f"{'-'.join(map(str, widths))}, {self.options.activation}{dropout}",
            self.optimizer.name,
            str(self.batch),
        ]


def _tanh(hidden: int) -> MlpOptions:
    return MlpOptions(hidden=[hidden], activation="tanh")


JOBS = [
    *(Job(600, 100, batch, _tanh(128)) for batch in (16, 64, 256)),
    Job(64, 10, 32, MlpOptions()),
    Job(64, 10, 32, _tanh(64)),
    Job(64, 10, 32, MlpOptions(activation="gelu")),
    Job(64, 10, 32, MlpOptions(activation="sigmoid")),
    Job(64, 10, 32, MlpOptions(dropout=0.2)),
    Job(64, 10, 32, MlpOptions(), OptimizerParams(name="adamw", weight_decay=0.01)),
    Job(64, 10, 32, MlpOptions(), OptimizerParams(name="sgd", rate=0.01, momentum=0.9)),
]


def main() -> None:
    """Run both for each network, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.epochs, arguments.pairs = 600, 1, 2
    print(machine())
    be_deterministic()
    lines = [_measured(job, arguments) for job in JOBS]
    show(
        "training",
        (
            "network",
            "optimizer",
            "batch",
            "bare loop, us a step",
            "unlearn, us a step",
            "bare loop / unlearn",
        ),
        lines,
        f"{arguments.rows:,} rows, {arguments.epochs} epochs, {arguments.pairs} pairs, processor "
        "time, median (least to largest).",
    )


def _measured(job: Job, arguments: argparse.Namespace) -> list[str]:
    say(", ".join(job.cells))
    draw = np.random.default_rng(SEED)
    steps = arguments.epochs * -(-arguments.rows // job.batch)
    data = SliceData(
        inputs=draw.normal(size=(arguments.rows, job.inputs)).astype(np.float32),
        targets=draw.integers(0, job.classes, arguments.rows),
        new=arguments.rows,
        steps=steps,
        seed=lambda epoch: SEED + epoch,
    )
    contenders = {"bare": _bare(job, data), "ours": _ours(job, data)}
    found = take_turns(contenders, arguments.pairs)
    bare, own = found["bare"].processor, found["ours"].processor
    return [
        *job.cells,
        f"{median(bare) / steps * 1e6:.0f}",
        f"{median(own) / steps * 1e6:.0f}",
        spread(ratios(bare, own), 2),
    ]


def _ours(job: Job, data: SliceData) -> Contender:
    train = TrainParams(
        model="mlp",
        options=job.options.model_dump(),
        batch=job.batch,
        optimizer=job.optimizer,
        device="cpu",
    )
    estimator = MlpEstimator(train, job.inputs, Outputs(job.classes))
    return lambda: lambda: estimator.fit_slice(None, data, SEED)


def _bare(job: Job, data: SliceData) -> Contender:
    def prepare() -> Callable[[], object]:
        torch.manual_seed(SEED)
        module = build_mlp(job.inputs, job.classes, **job.options.model_dump())
        optimizer = make_optimizer(job.optimizer, list(module.parameters()))
        return lambda: train_bare(module, optimizer, data, job.batch)

    return prepare


if __name__ == "__main__":
    main()
