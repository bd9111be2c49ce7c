"""What a request will retrain, before anything runs."""

import math
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.context import Context
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.off_slices import retained_mask
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    count_rows,
    forget_mask,
    nonce,
    read_shard,
)
from unlearn.stages.training.recipe import Recipe, is_outdated
from unlearn.stages.training.slices import ShardWork, plan_shard, rows_to_read


@dataclass(frozen=True)
class ShardPlan:
    """What one shard takes.

    Parameters
    ----------
    shard
        Its name.
    forgotten
        Rows that are forgotten now and were not before.
    remaining
        Rows that stay.
    rows_to_train, rows_in_full
        Rows that training reads, from the first slice to train and from the first of all; a row
        counts in each slice that reads it.
    first_slice
        Where training begins; one more than there are slices if nothing is to do.
    listed
        Rows of the shard that the list names, those that were forgotten before included.
    is_change
        Whether a model of a set of rows is changed: then `rows_to_train` are the rows that the
        change reads, in rows of a training.
    is_refitted
        Whether such a model is trained because so many rows come or go that a change is not faster.
    """

    shard: str
    forgotten: int
    remaining: int
    rows_to_train: int
    rows_in_full: int
    first_slice: int
    listed: int = 0
    is_change: bool = False
    is_refitted: bool = False


def plan_shards(
    context: Context,
    rows_of: Callable[[str], pa.Table],
    after: ForgetList,
    changed: Container[str] = (),
) -> list[ShardPlan]:
    """Plan every shard that shards.yaml names.

    Parameters
    ----------
    context
        The project.
    rows_of
        Returns a shard's rows by its name, forgotten ones included.
    after
        The list as it will be.
    changed
        Names of the stages that DVC would run anyway.
    """
    recipe = Recipe.of_project(context)
    plans = []
    for shard in context.params.sharding.shards:
        rows = rows_of(shard)
        stays = rows.filter(retained_mask(rows, after, context.params.sharding, shard))
        folder = context.project.shard_models / shard
        work = plan_shard(recipe, shard, stays, folder)
        kept = nonce(recipe.key, shard, stays, recipe.layout)
        if f"train@{shard}" not in changed and not is_outdated(recipe, shard, folder, kept):
            # Nothing makes it train again, though another environment would from the start.
            work = replace(work, first=recipe.slices + 1, change=None, is_refitted=False)
        reads = None
        if work.change is not None:
            reads = rows_to_read(recipe, work, folder, partial(_forgotten, rows, after))
            if reads is None:
                work = replace(work, change=None)
        forgotten = rows_to_forget(context, shard, rows, after)
        listed = _forgotten(rows, after).num_rows
        plans.append(_shard_plan(work, forgotten, listed, reads))
    return plans


def _forgotten(rows: pa.Table, after: ForgetList) -> pa.Table:
    return rows.filter(forget_mask(rows, after))


def rows_to_forget(context: Context, name: str, rows: pa.Table, after: ForgetList) -> int:
    """Count a shard's rows that the list names and that are not in the forget set yet.

    Parameters
    ----------
    context
        The project.
    name, rows
        A shard or the holdout, and its rows: what counts where there is no retain set yet.
    after
        The list as it will be.
    """
    project = context.project
    if name in context.params.sharding.switched_off:
        # Rows of slices that are off are not in the retain set.
        known = count_rows(project.forget_file(name)) or 0
        return max(0, int(_forgotten(rows, after).num_rows) - known)
    path = project.retain_file(name)
    if path.is_file():
        columns = [RECORD, SUBJECT] if context.has_subjects else [RECORD]
        rows = read_shard(path, f"data/retain_set/{path.name}", columns).rows
    return int(pc.sum(forget_mask(rows, after)).as_py() or 0)


def _shard_plan(work: ShardWork, forgotten: int, listed: int, reads: int | None) -> ShardPlan:
    return ShardPlan(
        shard=work.shard,
        forgotten=forgotten,
        remaining=work.sliced.rows.num_rows,
        rows_to_train=work.rows_to_train if reads is None else reads,
        rows_in_full=work.rows_in_full,
        first_slice=work.first,
        listed=listed,
        is_change=work.change is not None,
        is_refitted=work.is_refitted,
    )


def fraction_of_full_training(plans: Iterable[ShardPlan]) -> float:
    """Return the plan's share of what training all shards on the remaining rows takes."""
    plans = list(plans)
    full = sum(plan.rows_in_full for plan in plans)
    return sum(plan.rows_to_train for plan in plans) / full if full else 0.0


def expected_fraction(shards: int, slices: int, holdout: float, requests: int) -> float:
    """Return the expected share of a full training that a batch of uniform requests takes.

    sum_k Bin(k; K, (1-h)/S) * c_k with c_k = 1 - 2/(R(R+1)) * sum_{j<R} j*((R-j)/R)^k: with k
    requests in a shard, the first slice to retrain is the smallest of k uniform draws, and slice
    r costs in proportion to r. For one request of a training row this is 2/3 + 1/(3R) of its
    shard (Bourtoule et al. 2021, section V-B).

    Parameters
    ----------
    shards, slices
        S and R.
    holdout
        h, the share of rows whose requests retrain nothing.
    requests
        K.
    """
    hit = (1 - holdout) / shards
    terms = []
    for k in range(1, requests + 1):
        skipped = math.fsum(j * ((slices - j) / slices) ** k for j in range(1, slices))
        cost = 1 - 2 / (slices * (slices + 1)) * skipped
        terms.append(_binomial(k, requests, hit) * cost)
    return min(1.0, math.fsum(terms))


def _binomial(k: int, n: int, p: float) -> float:
    """Probability of k hits in n draws; in logarithms, because n may be large."""
    if p in (0.0, 1.0):
        return float(k == n * p)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
