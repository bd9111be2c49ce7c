"""Models that are trained again as a check, or trees of them that are fitted again."""

from collections.abc import Callable, Mapping

from unlearn.stages.context import Context
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.training.environment import differences, environment
from unlearn.stages.training.lineage import Lineage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.verify.exactness.choosing import choose_trees
from unlearn.stages.verify.exactness.found import Exactness, Retrain, ShardRows
from unlearn.stages.verify.exactness.trees import Refit, trees_of


def retrain_and_compare(
    context: Context,
    forget_list: ForgetList,
    standing: Mapping[str, Lineage],
    retrain: Retrain,
    found: Exactness,
) -> None:
    """Train shards again, and compare the numbers with those that their lineages name.

    By the names of their folders: what stands in a lineage may be anybody's.
    """
    chosen = _of_this_environment(context, standing, found)
    if not chosen:
        return
    for shard, again in zip(chosen, retrain(context, forget_list, chosen), strict=True):
        lineage = standing[shard]
        found.reran += 1
        if (again.model, again.slices) == (lineage.model, lineage.slices):
            found.matched += 1
        else:
            found.add(f"{shard}: retraining from its rows gives another model")


def refit_and_compare(
    context: Context,
    forget_list: ForgetList,
    standing: Mapping[str, Lineage],
    rows_of: Callable[[str], ShardRows],
    found: Exactness,
    refit: Refit,
) -> set[str]:
    """Fit trees of touched shards again, and return the shards that are models of trees."""
    params, project = context.params, context.project
    recipe = Recipe.of_project(context)
    if not (each := trees_of(recipe)):
        return set()
    # A shard without rows has a model without trees.
    trees = {shard: each for shard in standing if rows_of(shard).retain.num_rows}
    if not trees:
        return set()
    found.trees = sum(trees.values())
    chosen = choose_trees(recipe.key, trees, forget_list.digest, params.verify.rerun)
    drawn = {shard: standing[shard] for shard in trees if chosen[shard]}
    for shard in _of_this_environment(context, drawn, found):
        folder = project.shard_models / shard
        rows = rows_of(shard).retain
        again = refit(recipe, standing[shard], rows, folder, chosen[shard])
        found.reran += len(chosen[shard])
        found.matched += again.matched
        for problem in again.problems:
            found.add(problem)
    return set(trees)


def _of_this_environment(
    context: Context, standing: Mapping[str, Lineage], found: Exactness
) -> list[str]:
    """Return the shards whose models were trained in an environment like this one."""
    here = environment(context.params.train)
    there = [lineage.environment for lineage in standing.values()]
    # Each difference once, in the order of the shards.
    lines = (line for facts in there for line in differences(here, facts))
    found.environment = tuple(dict.fromkeys([*found.environment, *lines]))
    return [shard for shard, lineage in standing.items() if lineage.environment == here]
