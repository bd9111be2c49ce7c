"""The stage `verify`."""

import time

from unlearn.cli.output import say
from unlearn.cli.workers import retrain_side_by_side
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_figures_are_where_they_belong
from unlearn.stages.project.timings import Timing, record_timings
from unlearn.stages.verify import stage


def run(context: Context) -> None:
    """Gather the evidence, and say the verdict."""
    check_figures_are_where_they_belong(context.project, context.params)
    started = time.perf_counter()
    report = stage.run(context, retrain=retrain_side_by_side)
    seconds = time.perf_counter() - started
    record_timings(context.project, {"verify": Timing(round(seconds, 4))})
    say(f"verify: {report.verdict}")
    for reason in report.reasons:
        say(f"verify: {reason}")
