"""The stage `unlearn` of one post-hoc method."""

from unlearn.cli.output import plural, say
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
from unlearn.stages.project.timings import Timing, read_timings, record_method, record_timings
from unlearn.stages.training.method_record import remove_other_models
from unlearn.stages.unlearn import stage


def run(context: Context, method: str) -> None:
    """Apply a method to the original, and say what stopped it."""
    remove_other_models(context)
    check_code_is_a_dependency(context.project, context.params)
    done = stage.run(context, method)
    seconds = done.seconds
    if done.is_original:
        # What training these rows took, which is what the next request will cost.
        trained = read_timings(context.project).get("train")
        seconds = None if trained is None else trained.seconds
    timing = Timing(round(seconds or 0.0, 4), done.retained)
    record_timings(context.project, {f"unlearn@{method}": timing})
    record_method(context.project, method, seconds, done.guard_seconds)
    say(f"unlearn@{method}: {plural(done.forgotten, 'row')} to forget, {outcome_of(done)}")


def outcome_of(done: stage.Done) -> str:
    """Return what a method came to, in a few words."""
    record = done.record
    if record.why_not is not None:
        return f"not applicable: {record.why_not}"
    if done.seconds is None:
        return "up to date"
    return f"{record.label}, {str(record.stopped_by).replace('_', ' ')}"
