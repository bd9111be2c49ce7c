"""The stage `aggregate`."""

from unlearn.cli.output import plural, say
from unlearn.stages.aggregate import stage
from unlearn.stages.context import Context


def run(context: Context) -> None:
    """Make the final model, and say how many members it has."""
    done = stage.run(context)
    say(f"aggregate: {plural(len(done.members), 'member')}")
    if done.empty:
        say(f"aggregate: {', '.join(done.empty)} lost all rows and left the ensemble")
