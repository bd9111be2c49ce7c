"""The stage `shard`."""

import time

from unlearn.cli.output import plural, progress, say
from unlearn.stages.context import Context
from unlearn.stages.dvc.pipeline import check_lists_are_read, check_rows_are_dependencies
from unlearn.stages.project.paths import HOLDOUT, UNLABELLED
from unlearn.stages.project.timings import Timing, record_timings, rows_of_last_run
from unlearn.stages.shard import stage
from unlearn.stages.verify.membership.registry import deciding_attack


def run(context: Context) -> None:
    """Put the rows of the dataset into shards, and say how many there are."""
    deciding_attack(context.params)  # a wrong name is an error before any training
    check_lists_are_read(context.project, context.params)
    check_rows_are_dependencies(context.project, context.params)
    started = time.perf_counter()
    with progress("shard", rows_of_last_run(context.project), "rows") as advance:
        counts = stage.run(context, advance)
    unlabelled, holdout = counts.pop(UNLABELLED, 0), counts.pop(HOLDOUT)
    suppressed = counts.pop("suppressed", 0)
    rows = sum(counts.values())
    seconds = time.perf_counter() - started
    record_timings(context.project, {"shard": Timing(round(seconds, 4), rows + holdout)})
    say(f"shard: {plural(rows, 'row')} in {plural(len(counts), 'shard')}, {holdout:,} held out")
    if unlabelled:
        say(f"shard: {plural(unlabelled, 'row')} without a class dropped")
    if suppressed:
        say(
            f"shard: {plural(suppressed, 'row')} of erased or suppressed people dropped; `unlearn "
            "erase` takes them out of the dataset"
        )
    if empty := [shard for shard, count in counts.items() if count == 0]:
        say(f"shard: no rows fall into {', '.join(empty)}; use fewer shards")
