"""One plain model on all remaining rows of a project: what sharding is measured against.

Same rows, same network and settings, as a process of its own that does nothing else: it reads the
retain set, fits the preprocessing, trains, and writes the weights. No shards, no slices, no
checkpoints, no lineage, no DVC. It is trained by this library, or by a bare loop of autograd with
fused Adam, as anyone would write it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow as pa
import torch
from safetensors.torch import save
from unlearn.stages.config.train import MlpOptions, TrainParams
from unlearn.stages.context import open_project
from unlearn.stages.estimators.base import Estimator, SliceData
from unlearn.stages.estimators.mlp import build_mlp
from unlearn.stages.estimators.preprocessing import fit_preprocessor
from unlearn.stages.estimators.registry import make_estimator
from unlearn.stages.estimators.torch_state import make_optimizer
from unlearn.stages.project.paths import Project
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.shard_file import read_shard, targets
from unlearn.stages.training.shard_model import describe_model
from unlearn.stages.training.sliced_rows import step_totals

from benchmarks.bare_loops import train_bare

#: Trains for so many classes, and returns the file of weights.
Loop = Callable[[Estimator, TrainParams, SliceData, int, int], bytes]


def main() -> None:
    """Train, and write a folder that `read_shard_model` reads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, help="instead of those in params.yaml")
    parser.add_argument("--loop", choices=list(_LOOPS), default="unlearn")
    parser.add_argument(
        "--threads", type=int, default=1, help="more than one, and two runs may differ"
    )
    arguments = parser.parse_args()
    if arguments.threads == 1:
        use_one_thread()
    context = open_project(Project(arguments.project.resolve()))
    params = context.params
    if params.train.model != "mlp":
        sys.exit("this comparison is for the built-in mlp")
    train = params.train.model_copy(update={"epochs": arguments.epochs} if arguments.epochs else {})
    rows = pa.concat_tables(
        read_shard(context.project.retain_file(shard), shard).rows
        for shard in params.sharding.shards
    ).combine_chunks()
    layout = context.layout
    preprocessor = fit_preprocessor(rows, layout, train.preprocessing)
    estimator = make_estimator(train, preprocessor.width, layout.outputs, sliced=False, code=None)
    # The estimator has asked for one thread, as it does for shards.
    torch.set_num_threads(arguments.threads)
    data = SliceData(
        inputs=preprocessor.transform(rows, estimator.dtype),
        targets=targets(rows, layout),
        new=rows.num_rows,
        steps=step_totals([rows.num_rows], train.epochs, train.batch)[0],
        seed=lambda epoch: context.key.seed(params.seed, "plain", 1, epoch),
    )
    seed = context.key.seed(params.seed, "plain", "init")
    weights = _LOOPS[arguments.loop](estimator, train, data, len(layout.classes), seed)
    own = {**estimator.describe(), "preprocessing": preprocessor.as_json()}
    description = describe_model(train, layout, rows.num_rows, own)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / description["file"]).write_bytes(weights)
    (arguments.output / "model.json").write_text(json.dumps(description), encoding="utf-8")


def _own_loop(
    estimator: Estimator, _train: TrainParams, data: SliceData, _classes: int, seed: int
) -> bytes:
    return estimator.export(estimator.fit_slice(None, data, seed))


def _bare_loop(
    _estimator: Estimator, train: TrainParams, data: SliceData, classes: int, seed: int
) -> bytes:
    torch.manual_seed(seed)
    options = MlpOptions.model_validate(train.options).model_dump()
    module = build_mlp(data.inputs.shape[1], classes, **options)
    optimizer = make_optimizer(train.optimizer, list(module.parameters()))
    train_bare(module, optimizer, data, train.batch)
    return save(module.state_dict())


_LOOPS: dict[str, Loop] = {"unlearn": _own_loop, "bare": _bare_loop}


if __name__ == "__main__":
    main()
