"""The stage `aggregate`."""

from unlearn.cli.output import plural, say
from unlearn.stages.aggregate import stage
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import find_project


def run() -> None:
    """Make the final model, and say how many members it has."""
    done = stage.run(open_project(find_project()))
    say(f"aggregate: {plural(len(done.members), 'member')}")
    if done.empty:
        say(f"aggregate: {', '.join(done.empty)} lost all rows and left the ensemble")
