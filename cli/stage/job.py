"""The stage `train` of one shard, where `unlearn repro --engine command` waits for it."""

from unlearn.cli.output import say
from unlearn.cli.stage.train import describe_training
from unlearn.stages.engines.node import carry_out, find_order
from unlearn.stages.project.paths import Project


def run(project: Project, name: str) -> bool:
    """Train the shard if a driver waits for it; return whether one does.

    The driver records timings, and deletes models of shards that are no more.
    """
    order = find_order(project, name)
    if order is None:
        return False
    result = carry_out(project, order)
    say(f"{describe_training(result.trained)}, on node {result.node}")
    return True
