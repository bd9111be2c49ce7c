"""What `unlearn plan` prints for people."""

from unlearn.cli.batch_answer import describe_batch
from unlearn.cli.output import names, plural
from unlearn.cli.plan_answer import MethodsPlanAnswer, PlanAnswer
from unlearn.cli.plan_tree import describe_tree

_OPTIONS = {
    "this_request": "this request",
    "whole_pipeline": "training the whole pipeline",
    "one_plain_model": "training one plain model on all remaining rows",
}


def describe_plan(answer: PlanAnswer, *, sharded: bool, tree: bool) -> str:
    """Return the plan.

    Parameters
    ----------
    answer
        The plan.
    sharded
        Whether there are several shards.
    tree
        Whether the stages are shown as a tree.
    """
    if not answer.stages:
        return "nothing to do"
    if isinstance(answer, MethodsPlanAnswer):
        return "\n".join([*describe_batch(answer.batch), *_describe_methods(answer, tree=tree)])
    share = f"{answer.fraction_of_full_training:.1%} of a full training"
    lines = [
        *describe_batch(answer.batch),
        f"records to forget: {answer.records:,}",
        f"shards to retrain: {_shards_shown(answer, tree=tree)}",
        f"rows to {_verb(answer)}: {answer.rows_to_retrain:,}, {share}",
        *_describe_stages(answer, tree=tree),
    ]
    lines += _describe_refitted(answer)
    costs = answer.costs
    if costs.cheapest is None:
        return "\n".join([*lines, "seconds: not known before the first training"])
    lines.append(f"seconds expected, with {plural(costs.jobs, 'job')}:")
    lines += [f"  {getattr(costs, name):8.1f}  {what}" for name, what in _OPTIONS.items()]
    lines.append(
        f"of this request: {costs.training:.1f} s training, {costs.check:.1f} s the retraining "
        "check, the rest DVC and the other stages"
    )
    if costs.cheapest != "this_request" and answer.shards and sharded:
        lines.append(
            f"sharding saves no time for this request: {_OPTIONS[costs.cheapest]} is cheaper"
        )
    return "\n".join(lines)


def _verb(answer: PlanAnswer) -> str:
    """Return what is done with rows: a change reads them."""
    return "read" if answer.changed and answer.changed == answer.shards else "retrain"


def _describe_refitted(answer: PlanAnswer) -> list[str]:
    if not answer.refitted:
        return []
    shards = names(answer.refitted)
    return [f"to train {shards} is cheaper than to change so many rows; the result is the same"]


def _shards_shown(answer: PlanAnswer, *, tree: bool) -> str:
    """Return the shards with where they begin; the tree says that of each."""
    if tree and len(answer.shards) > 1:
        return f"{len(answer.shards):,} of {answer.shards_in_all:,}"
    return names(_shards(answer))


def _shards(answer: PlanAnswer) -> list[str]:
    return [
        f"{shard} by changing its model"
        if shard in answer.changed
        else f"{shard} from slice {first}"
        for shard, first in answer.slices.items()
    ]


def _describe_stages(answer: PlanAnswer, *, tree: bool) -> list[str]:
    return describe_tree(answer) if tree else [f"stages: {names(answer.stages)}"]


def _describe_methods(answer: MethodsPlanAnswer, *, tree: bool) -> list[str]:
    lines = [
        f"records to forget: {answer.records:,}; {plural(answer.rows_remaining, 'row')} stay",
        *_describe_stages(answer, tree=tree),
    ]
    if answer.methods:
        lines.append("seconds of the last run, without the start of processes:")
        lines += [
            f"  {'not known' if seconds is None else f'{seconds:9.2f}'}  {name}"
            for name, seconds in answer.methods.items()
        ]
        original = answer.costs.one_plain_model
        if original is not None:
            lines.append(f"  {original:9.2f}  for comparison: training the original")
    return lines
