"""Every post-hoc method on the example of made-up authors, against tuning from scratch."""

import argparse
from pathlib import Path

from unlearn.stages.context import Context
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage

from benchmarks.harness import Bench, say
from benchmarks.language_methods import apply_methods, drawn_persons, gathered, show_methods

#: Share of the authors tuned on that ask to be forgotten.
SHARE = 0.1

_SIZES = ("tiny", "small")


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print a table for each size of the base."""
    sizes = arguments.sizes or (_SIZES[:1] if arguments.quick else _SIZES)
    seeds = range(1 if arguments.quick else arguments.seeds)
    for size in sizes:
        context = tuned_project(folder / size, size, guarded=not arguments.unguarded)
        results = gathered(
            [apply_methods(context, drawn_persons(context, SHARE, seed)) for seed in seeds]
        )
        title = f"{size}, unguarded" if arguments.unguarded else size
        show_methods(
            title,
            f"language-methods-{title.replace(', ', '-')}",
            results,
            f"A tenth of the trained authors is forgotten; medians of {len(seeds)} draws; "
            f"model {context.params.train.model}.",
        )


def tuned_project(root: Path, size: str, *, guarded: bool = True) -> Context:
    """Return a project of the example without shards, with its original tuned.

    Parameters
    ----------
    root
        Where; must not exist.
    size
        Of the base.
    guarded
        Whether the guard is on.
    """
    bench = Bench(root)
    bench.root.mkdir()
    bench.unlearn("init", ".", "--example", "authors", "--template", "posthoc", "--size", size)
    guard = bench.context().posthoc().unlearn.guard
    settings = guard.model_dump(mode="json") | {"active": guarded}
    # Tuning from scratch is on the clock once; doing it again to check is not compared.
    bench.set_params(unlearn={"guard": settings}, verify={"rerun": 0})
    context = bench.context()
    recipe_stage.run(context)
    shard_stage.run(context)
    trained = train_stage.run_whole(context)
    say(f"{size}: {trained.rows:,} rows in {trained.timing.seconds:.0f} s")
    return context
