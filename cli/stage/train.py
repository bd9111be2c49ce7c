"""The stage `train` of one shard."""

from unlearn.cli.output import plural, say
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
from unlearn.stages.project.timings import record_timings
from unlearn.stages.train import stage
from unlearn.stages.train.stage import Trained


def run(context: Context, shard: str) -> None:
    """Train a shard, and say from which slice on."""
    check_code_is_a_dependency(context.project, context.params)
    stage.remove_others(context)
    trained = stage.run(context, shard)
    record_timings(context.project, trained.timings)
    say(describe_training(trained))


def describe_training(trained: Trained) -> str:
    """Return a line that says how a shard was trained."""
    name = f"train@{trained.shard}: {plural(trained.rows, 'row')}"
    if trained.first_slice > trained.slices:
        return f"{name}, up to date"
    if trained.kind == "empty":
        return f"{name} left, no model was trained"
    if trained.reason is not None:
        return f"{name}, a constant model: {trained.reason}"
    if trained.kind == "constant":
        return f"{name} of one class, a constant model"
    return f"{name}, {_how(trained)}"


def _how(trained: Trained) -> str:
    if trained.changed is not None:
        return f"changed by {plural(trained.changed, 'row')}"
    if trained.slices == 1:
        return "trained"
    if trained.timing.rows == 0:
        return f"as after slice {trained.first_slice - 1} of {trained.slices}; nothing was trained"
    verb = "trained from" if trained.first_slice == 1 else "resumed at"
    return f"{verb} slice {trained.first_slice} of {trained.slices}"
