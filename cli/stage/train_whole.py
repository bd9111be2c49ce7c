"""The stage `train` of a post-hoc pipeline: one model on all rows."""

from unlearn.cli.output import plural, say
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
from unlearn.stages.project.timings import record_timings
from unlearn.stages.train import stage


def run(context: Context) -> None:
    """Train the original, and say on how many rows."""
    check_code_is_a_dependency(context.project, context.params)
    trained = stage.run_whole(context)
    record_timings(context.project, {"train": trained.timing})
    up_to_date = trained.first_slice > trained.slices
    say(f"train: {plural(trained.rows, 'row')}, {'up to date' if up_to_date else 'trained'}")
