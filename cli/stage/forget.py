"""The stage `forget`."""

import time

from unlearn.cli.output import plural, say
from unlearn.stages.context import Context
from unlearn.stages.forget import stage
from unlearn.stages.project.timings import MOST_FILES, Timing, read_timings, record_timings


def run(context: Context) -> None:
    """Apply the forget list to the shards, and say how many rows are on it."""
    started = time.perf_counter()
    done = stage.run(context)
    seconds = time.perf_counter() - started
    timing = Timing(round(seconds, 4), files=len(done.rewritten))
    recorded = {"forget": timing}
    largest = read_timings(context.project).get(MOST_FILES)
    if largest is None or timing.files >= largest.files:
        recorded[MOST_FILES] = timing
    record_timings(context.project, recorded)
    say(
        f"forget: {plural(done.forgotten, 'row')} on the list, "
        f"{plural(len(done.rewritten), 'file')} rewritten"
    )
    if done.unlabelled:
        say(
            f"forget: {plural(done.unlabelled, 'line')} of the list with rows without a class "
            "only, which no model is trained on"
        )
    if done.without_rows:
        say(f"forget: {plural(done.without_rows, 'line')} of the list without rows in the dataset")
