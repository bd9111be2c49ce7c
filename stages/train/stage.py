"""Entry of the `train` stage, for one shard."""

import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.project.files import remove_unplanned, write_folder
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.timings import CHANGE, FILES, Timing
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.training.lineage import FILE_NAME as LINEAGE_FILE
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.method_record import WHOLE
from unlearn.stages.training.recipe import Recipe, check_recorded
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.training.slices import ShardWork, TrainedShard, plan_shard, train_shard


@dataclass(frozen=True)
class Trained:
    """What training one shard came to.

    Parameters
    ----------
    shard
        Its name.
    kind
        `torch`, `sklearn`, `constant` or `empty`.
    rows
        Rows in the shard.
    first_slice, slices
        Where training began (one more than `slices` if nothing was to do), and how many there are.
    timing
        Duration, and the rows read.
    reason
        Why a constant model answers with class frequencies; None for every other model.
    changed
        Rows that came or went where the model of a set of rows was changed; else None.
    rest
        Seconds that the model of a set of rows took besides fitting or changing it; else None.
    """

    shard: str
    kind: str
    rows: int
    first_slice: int
    slices: int
    timing: Timing
    reason: str | None = None
    changed: int | None = None
    rest: float | None = None

    @property
    def timing_name(self) -> str:
        """The name of the timing: what a change takes says nothing of a training."""
        return f"{CHANGE if self.changed is not None else 'train@'}{self.shard}"

    @property
    def timings(self) -> dict[str, Timing]:
        """The timings to record, by name."""
        rest = {} if self.rest is None else {f"{FILES}{self.shard}": Timing(round(self.rest, 4))}
        return {self.timing_name: self.timing, **rest}


def run(context: Context, shard: str) -> Trained:
    """Make `models/shard_models/<shard>` from `data/retain_set/<shard>.parquet`.

    Parameters
    ----------
    context
        The project.
    shard
        A shard that shards.yaml names.

    Raises
    ------
    InputError
        If shards.yaml names no such shard, the retain file is not as it must be, or the model
        cannot be trained.
    """
    project = context.project
    if shard not in context.params.sharding.shards or context.params.kind != "exact":
        raise InputError(f"shards.yaml names no shard {shard!r} to train")
    return _train(context, shard, project.retain_file(shard), project.shard_models / shard)


def run_whole(context: Context) -> Trained:
    """Make `models/original` from `data/shards/s000.parquet`: all rows, listed ones too.

    Raises
    ------
    InputError
        If params.yaml says that the original was imported, or of shards; or as `run`.
    """
    if context.posthoc().unlearn.original != "trained":
        raise InputError("unlearn.original says that the model was imported: nothing to train")
    return _train(context, WHOLE, context.project.shard_file(WHOLE), context.project.original)


def _train(context: Context, shard: str, path: Path, folder: Path) -> Trained:
    project = context.project
    started = time.perf_counter()
    with exclusive(project.lock_file(f"train-{shard}"), f"another training of {shard}"):
        name = f"data/{path.parent.name}/{path.name}"
        retained = read_shard(path, name)
        if retained.layout != context.layout:
            raise InputError(
                f"{name} does not have the columns of schema.yaml",
                "`unlearn repro` makes it again",
            )
        recipe = Recipe.of_project(context)
        check_recorded(context, recipe)
        work = plan_shard(recipe, shard, retained.rows, folder)
        trained = None
        if work.first <= recipe.slices:
            before = time.perf_counter()
            find_spec(context.params.train.model).load()
            # Only the first training of a process waits for it.
            started += time.perf_counter() - before
            trained = train_shard(
                recipe, work, folder, forgotten=lambda: _forgotten(context, shard)
            )
            if trained.refusal is not None and len(context.params.sharding.shards) == 1:
                raise trained.refusal  # there is no other shard to answer
            write_folder(folder, trained.files, last=LINEAGE_FILE)
        elif lineage := read_lineage(folder):
            remove_unplanned(folder, [*lineage.files, LINEAGE_FILE])
        model = read_shard_model(folder, shard)
    seconds = time.perf_counter() - started
    is_changed = trained is not None and trained.changed is not None
    fitting = None if trained is None else trained.seconds
    return Trained(
        shard=shard,
        kind=model.kind,
        rows=retained.rows.num_rows,
        first_slice=work.first,
        slices=recipe.slices,
        timing=Timing(seconds, _rows_read(work, trained), work.first),
        reason=model.description.get("reason"),
        changed=work.change if is_changed else None,
        rest=None if fitting is None else seconds - fitting,
    )


def _rows_read(work: ShardWork, trained: TrainedShard | None) -> int:
    if trained is not None and trained.changed is not None:
        return trained.changed
    # A change that was planned may turn out to be a training, because rows that go are not there.
    return work.rows_to_train if work.change is None else work.rows_in_full


def _forgotten(context: Context, shard: str) -> pa.Table | None:
    """Return the rows of a shard that were forgotten; None if they are not at hand."""
    path = context.project.forget_file(shard)
    try:
        forgotten = read_shard(path, f"data/forget_set/{path.name}")
    except InputError:
        return None
    return forgotten.rows if forgotten.layout == context.layout else None


def remove_others(context: Context) -> list[str]:
    """Delete shard models that shards.yaml no longer names; return their names."""
    folder = context.project.shard_models
    named = set(context.params.sharding.shards)
    if not folder.is_dir():
        return []
    others = sorted({path.name for path in folder.iterdir()} - named - {".gitignore"})
    planned = [
        path.relative_to(folder).as_posix() for name in named for path in (folder / name).rglob("*")
    ]
    remove_unplanned(folder, planned)
    return others
