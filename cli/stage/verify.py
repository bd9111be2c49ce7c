"""The stage `verify`."""

import time
from collections.abc import Sequence
from typing import Any

from unlearn.cli.output import say
from unlearn.cli.workers import retrain_side_by_side
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_figures_are_where_they_belong
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.project.timings import CHECK, Timing, record_timings
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.training.lineage import Lineage
from unlearn.stages.verify import stage
from unlearn.stages.verify.exactness.trees import TreesFound, check_trees
from unlearn.stages.verify_report.report import Report


def run(context: Context) -> None:
    """Gather the evidence, and say the verdict."""
    check_figures_are_where_they_belong(context.project, context.params)
    checked = 0.0

    def retrain(context: Context, forget_list: ForgetList, shards: Sequence[str]) -> list[Lineage]:
        nonlocal checked
        find_spec(context.params.train.model).load()  # before the clock, as in training
        began = time.perf_counter()
        lineages = retrain_side_by_side(context, forget_list, shards)
        checked += time.perf_counter() - began
        return lineages

    def refit(*asked: Any) -> TreesFound:
        nonlocal checked
        found = check_trees(*asked)
        checked += found.seconds
        return found

    started = time.perf_counter()
    report = stage.run(context, retrain=retrain, refit=refit)
    seconds = time.perf_counter() - started
    record_timings(
        context.project,
        {
            "verify": Timing(round(seconds, 4), rows=_attacked_rows(context, report)),
            CHECK: Timing(round(checked, 4)),
        },
    )
    say(f"verify: {report.verdict}")
    for reason in report.reasons:
        say(f"verify: {reason}")


def _attacked_rows(context: Context, report: Report) -> int:
    """Return how many forgotten rows the attacks were about; 0 where there were none."""
    found = report.membership
    rows = 0 if found is None else found.forget_rows or 0
    return rows if rows >= context.params.verify.min_rows else 0
