"""`unlearn plan`: what a request will cost, before anything runs."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer
from unlearn.cli import panels
from unlearn.cli.batch_answer import batch_answer, holds
from unlearn.cli.ids import read_wanted
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, say
from unlearn.cli.plan_answer import MethodsPlanAnswer, PlanAnswer, PlanCosts
from unlearn.cli.plan_text import describe_plan
from unlearn.stages.audit.status import list_is_applied
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.command import pipeline_status
from unlearn.stages.dvc.pipeline import model_folders, stage_names
from unlearn.stages.project.files import scratch_folder
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import HOLDOUT, find_project
from unlearn.stages.project.timings import read_timings
from unlearn.stages.requests.batch import find_batch
from unlearn.stages.requests.costs import Work, estimate, seconds_by_shard
from unlearn.stages.requests.id_file import Wanted, understand
from unlearn.stages.requests.plan import (
    ShardPlan,
    fraction_of_full_training,
    plan_shards,
    rows_to_forget,
)
from unlearn.stages.requests.request import add_request
from unlearn.stages.requests.resolving import touched_by
from unlearn.stages.rows.forget_list import ForgetList, parse_forget_list
from unlearn.stages.rows.shard_file import forget_mask, read_shard
from unlearn.stages.shard.partition import collect, spill_dataset
from unlearn.stages.shard.planted import planted_canaries
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.trial import is_untried, notes_on_options, try_settings
from unlearn.stages.training.young import counts_epochs, young_epochs
from unlearn.stages.verify.exactness.trees import trees_of


def plan(
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of record ids, one on each line, to plan for in addition to the forget "
            "list. A dash reads standard input.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    subjects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of person ids, one on each line, to plan for in addition to the forget "
            "list.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j",
            "--jobs",
            metavar="N",
            min=1,
            help="The number of shards that are trained in parallel. The default is the number of "
            "processors.",
        ),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="Exit with 1 if there is work to do. While requests wait for their batch, there "
            "is none.",
        ),
    ] = False,
    tree: Annotated[
        bool | None,
        typer.Option(
            "--tree/--no-tree",
            help="Whether to show the stages as a tree, with the shards that each trains, why, and "
            "what that takes. The default is yes on a terminal.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what the next run would retrain, and what it would cost.

    Nothing is changed. The seconds are estimated from earlier runs on this machine.
    """
    context = open_project(find_project())
    wanted = None if ids is None and subjects is None else read_wanted(ids, None, subjects)
    answer = make_plan(context, wanted, jobs=jobs or os.cpu_count() or 1)
    sharded = len(context.params.sharding.shards) > 1
    shown = sys.stdout.isatty() if tree is None else tree
    emit(answer, as_json=as_json, text=lambda: describe_plan(answer, sharded=sharded, tree=shown))
    if exit_code and answer.stages and not holds(answer.batch):
        raise typer.Exit(1)


COMMAND = Command(plan, example="unlearn plan --ids ids.txt", answer=PlanAnswer | MethodsPlanAnswer)


def make_plan(context: Context, wanted: Wanted | None, *, jobs: int) -> PlanAnswer:
    """Return the plan.

    Parameters
    ----------
    context
        The project.
    wanted
        A request to plan for in addition to the forget list.
    jobs
        How many shards are trained at a time.
    """
    params = context.params
    now = context.read_list()
    after = now if wanted is None else _with_request(context, now, wanted)
    found = pipeline_status(context.project.root)
    changed = set(found)
    if earlier := sorted(changed - set(stage_names(params))):
        say(
            f"note: {names(earlier)} changed and runs first; the plan is for the rows that are "
            "there now"
        )
    batch = batch_answer(
        find_batch(context.project, params, now, frozenset(after.tokens) - frozenset(now.tokens))
    )
    if params.kind == "posthoc":
        listed = after.lines != now.lines or not list_is_applied(context.project)
        answer = _plan_methods(context, after, changed, jobs, listed=listed)
        more = _stage_facts(context, answer.stages, found)
        return answer.model_copy(update={"batch": batch} | more)
    with rows_of_shards(context, from_dataset="shard" in changed) as rows_of:
        _try_settings(context, rows_of)
        plans = plan_shards(context, rows_of, after, changed)
        held_out = rows_to_forget(context, HOLDOUT, rows_of(HOLDOUT), after)
    stale = [plan for plan in plans if plan.first_slice <= params.sharding.slices]
    listed = after.lines != now.lines or not list_is_applied(context.project)
    stages = _stages(context, changed, stale, listed=listed)
    checked, share = _checked(context, after)
    work = Work(
        stages=stages,
        rewritten=sum(plan.forgotten > 0 for plan in plans) + (held_out > 0),
        checked=checked if stages else 0,
        check_share=share,
        attacked=sum(plan.listed for plan in plans) >= params.verify.min_rows,
    )
    timings = read_timings(context.project)
    costs = estimate(plans, timings, work, slices=params.sharding.slices, jobs=jobs)
    seconds = seconds_by_shard(stale, timings)
    planned = PlanAnswer(
        shards=[plan.shard for plan in stale],
        records=sum(plan.forgotten for plan in plans) + held_out,
        rows_to_retrain=sum(plan.rows_to_train for plan in plans),
        fraction_of_full_training=fraction_of_full_training(plans),
        stages=stages,
        seconds_expected=costs.this_request,
        slices={plan.shard: plan.first_slice for plan in stale},
        rows_remaining=sum(plan.remaining for plan in plans),
        costs=PlanCosts(**asdict(costs), cheapest=costs.cheapest, jobs=jobs),
        batch=batch,
        changed=[plan.shard for plan in stale if plan.is_change],
        refitted=[plan.shard for plan in stale if plan.is_refitted],
        rows_by_shard={plan.shard: plan.rows_to_train for plan in stale},
        seconds_by_shard={name: round(value, 4) for name, value in seconds.items()},
        shards_in_all=len(plans),
        slices_in_all=params.sharding.slices,
    )
    return planned.model_copy(update=_stage_facts(context, stages, found))


def _stage_facts(context: Context, stages: list[str], status: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the answer that say more of stages, by what DVC says of them."""
    timings = read_timings(context.project)
    every = stage_names(context.params)
    return {
        "seconds_by_stage": {
            name: round(timings[name].seconds, 4)
            for name in stages
            if name in timings and not name.startswith("train@")
        },
        "causes": {name: causes for name in stages if (causes := _causes(status.get(name, [])))},
        "unchanged": [name for name in every if name not in stages],
    }


def _causes(entries: Iterable[Any]) -> list[str]:
    """Return the files and settings that DVC calls changed."""
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(entry.removeprefix("changed "))
            continue
        for files in entry.values():
            for name, how in files.items():
                found += list(how) if isinstance(how, dict) else [name]
    return list(dict.fromkeys(found))


def _plan_methods(
    context: Context, after: ForgetList, changed: set[str], jobs: int, *, listed: bool
) -> MethodsPlanAnswer:
    """Return the plan of a project whose model was trained without shards."""
    with rows_of_shards(context, from_dataset="shard" in changed) as rows_of:
        _try_settings(context, rows_of)
        whole = rows_of(WHOLE)
        records = sum(
            rows_to_forget(context, name, rows_of(name), after) for name in (WHOLE, HOLDOUT)
        )
        remaining = whole.num_rows - int(pc.sum(forget_mask(whole, after)).as_py() or 0)
    to_run = set(changed)
    makers = {stage: method for method, (stage, _) in model_folders(context.params).items()}
    if "shard" in changed:
        to_run |= {"train", "forget"}
    if listed:
        to_run.add("forget")
    if "forget" in to_run and YOUNG in makers:
        to_run.add(YOUNG)
    if {"forget", "train", YOUNG} & to_run:
        to_run |= makers.keys() - {YOUNG}
    if to_run & makers.keys():
        to_run.add("aggregate")
    if to_run:
        to_run.add("verify")
    stages = [name for name in stage_names(context.params) if name in to_run]
    timings = read_timings(context.project)
    known = {name: timings[name].seconds for name in stages if name in timings}
    training = timings.get("train")
    trainings = float(sum(name in stages for name in ("train", f"unlearn@{RETRAIN}")))
    train = context.params.train
    if YOUNG in stages and counts_epochs(train):
        trainings += young_epochs(train) / train.epochs
    seconds = round(sum(known.values()), 4) if known else None
    return MethodsPlanAnswer(
        shards=[],
        records=records,
        rows_to_retrain=round(remaining * trainings),
        fraction_of_full_training=trainings,
        stages=stages,
        seconds_expected=seconds,
        slices={},
        rows_remaining=remaining,
        costs=PlanCosts(
            this_request=seconds,
            whole_pipeline=None,
            one_plain_model=None if training is None else training.seconds,
            training=None,
            check=None,
            cheapest=None,
            jobs=jobs,
        ),
        methods={makers[name]: known.get(name) for name in stages if name in makers},
    )


def _try_settings(context: Context, rows_of: Callable[[str], pa.Table]) -> None:
    """Fit few rows of a shard if no model has been trained with these settings yet.

    Raises
    ------
    InputError
        If the settings are wrong.
    """
    recipe = Recipe.of_project(context)
    for note in notes_on_options(recipe):
        say(f"note: {note}")
    project, shards = context.project, context.params.sharding.shards
    if context.params.kind == "posthoc":
        folders = {WHOLE: project.original}
    else:
        folders = {shard: project.shard_models / shard for shard in shards}
    if is_untried(recipe, folders):
        refused = try_settings(recipe, rows_of(shards[0]))
        if refused is not None:
            say(f"note: with the first rows of {shards[0]} alone, {refused}")


def _with_request(context: Context, now: ForgetList, wanted: Wanted) -> ForgetList:
    """Return the list as it would be with the request on it."""
    wanted, notes = understand(context, wanted)
    for note in notes:
        say(note)
    resolved = add_request(context, wanted, dry_run=True)
    content = now.with_tokens(resolved.added)
    return parse_forget_list(content, context.tokenizer, subjects=context.has_subjects)


@contextmanager
def rows_of_shards(context: Context, *, from_dataset: bool) -> Iterator[Callable[[str], pa.Table]]:
    """Yield what returns a shard's rows: from data/shards, or as the shard stage would make it."""
    if not from_dataset:
        yield (
            lambda name: (
                read_shard(context.project.shard_file(name), f"data/shards/{name}.parquet").rows
            )
        )
        return
    params = context.params
    path = params.dataset.path
    planted = planted_canaries(context)
    # Two plans at a time, as by threads of a program, would write to one folder.
    with (
        exclusive(context.project.lock_file("plan"), "another `unlearn plan`"),
        scratch_folder(context.project.scratch("plan")) as scratch,
    ):
        spill_dataset(context, scratch, planted=planted)
        yield lambda name: collect(scratch, name, context.layout, path)


def _checked(context: Context, after: ForgetList) -> tuple[int, float]:
    """Return how many of the touched shards `verify` will check, and the share of a training.

    Models of trees are all checked, by some of their trees.
    """
    touched = len(touched_by(context, after.tokens))
    rerun = context.params.verify.rerun
    if rerun == "all":
        return touched, 1.0
    if trees := touched * trees_of(Recipe.of_project(context)):
        return touched, min(rerun, trees) / trees
    return min(rerun, touched), 1.0


def _stages(
    context: Context, changed: set[str], stale: list[ShardPlan], *, listed: bool
) -> list[str]:
    """Return the stages that a run would execute, in order."""
    training = {f"train@{plan.shard}" for plan in stale}
    training |= {name for name in changed if name.startswith("train@")}
    own = stage_names(context.params)
    to_run = (changed & set(own)) | training
    if listed or "shard" in changed:
        to_run.add("forget")
    if training:
        to_run.add("aggregate")
    if to_run:
        to_run.add("verify")
    return [name for name in own if name in to_run]
