"""The stage `young` of a post-hoc pipeline: a fresh model, for the epochs a method may take."""

from unlearn.cli.output import plural, say
from unlearn.cli.stage.unlearn import outcome_of
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
from unlearn.stages.project.timings import Timing, record_method, record_timings
from unlearn.stages.unlearn import stage


def run(context: Context) -> None:
    """Train a fresh model on the retained rows for a few epochs, and say on how many rows."""
    check_code_is_a_dependency(context.project, context.params)
    done = stage.run_young(context)
    timing = Timing(round(done.seconds or 0.0, 4), done.retained)
    record_timings(context.project, {YOUNG: timing})
    record_method(context.project, YOUNG, done.seconds)
    say(f"young: {plural(done.retained, 'row')}, {outcome_of(done)}")
