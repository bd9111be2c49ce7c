"""What happened to each shard, and what the last run changed."""

from collections.abc import Iterable
from dataclasses import dataclass

from unlearn.stages.audit.compare import Audit, Snapshot
from unlearn.stages.audit.reasons import NEW_LINES, without_count
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.project.timings import read_timings
from unlearn.stages.requests.costs import Costs, Work, estimate
from unlearn.stages.requests.plan import ShardPlan
from unlearn.stages.rows.forget_list import place_of_line
from unlearn.stages.training.lineage import read_lineage


@dataclass(frozen=True)
class ShardState:
    """What happened to a shard.

    Parameters
    ----------
    name, slices
        The shard, and how many slices it has.
    named
        Slices, from 1, that the forget list names.
    first
        The slice from which the last run retrained it; None if it did not.
    reasons
        Why it was retrained.
    """

    name: str
    slices: int
    named: frozenset[int]
    first: int | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LastRun:
    """What the last run changed.

    Parameters
    ----------
    old
        The revision that it is compared with.
    first_training
        Whether nothing had been trained before.
    unexplained, notes
        Sentences of the audit.
    share
        Rows read, as a share of what training everything reads; None where nothing was retrained.
    by_rows
        Whether the share was counted from the models' lineages, not estimated from equal slices.
    costs
        Seconds by the pace recorded on this machine.
    stages
        Of one model without shards: the stages that trained it or made one of it, and why they ran.
    """

    old: str
    first_training: bool
    unexplained: tuple[str, ...]
    notes: tuple[str, ...]
    share: float | None
    by_rows: bool
    costs: Costs | None
    stages: tuple[tuple[str, tuple[str, ...]], ...] = ()


def named_slices(snapshot: Snapshot, lines: Iterable[str] | None = None) -> dict[str, set[int]]:
    """Return the slices that lines of the list name, by shard; all lines by default."""
    named: dict[str, set[int]] = {}
    if snapshot.sharding is not None:
        for line in snapshot.listed.tokens if lines is None else lines:
            place = place_of_line(line, snapshot.sharding)
            named.setdefault(place.shard, set()).add(place.slice)
    return named


def shard_states(
    project: Project,
    params: Params | None,
    old: Snapshot | None,
    new: Snapshot,
    found: Audit | None,
) -> tuple[ShardState, ...]:
    """Return what happened to every shard; none where the settings cannot be read.

    Parameters
    ----------
    project, params
        The project; its parameters where they can be read.
    old, new
        The state before the last run where there is one, and the state as it is.
    found
        The two compared.
    """
    sharding = new.sharding or (None if params is None else params.sharding)
    if sharding is None:
        return ()
    named = named_slices(new)
    carried_out = frozenset[str]() if old is None else old.carried_out.tokens
    fresh = named_slices(new, new.listed.tokens - carried_out)
    why = {} if found is None else {item.stage: item.reasons for item in found.retrained}
    timings = read_timings(project)
    states = []
    for shard in sharding.shards:
        stage = f"train@{shard}"
        first = None
        reasons = tuple(without_count(reason) for reason in why.get(stage, ()))
        if stage in why:
            if reasons == (NEW_LINES,) and shard in fresh:
                # By construction: a state from before a forgotten row's slice was not trained on
                # it.
                first = min(fresh[shard])
            else:
                timing = timings.get(stage)
                first = 1 if timing is None else min(timing.first_slice or 1, sharding.slices)
        states.append(
            ShardState(shard, sharding.slices, frozenset(named.get(shard, ())), first, reasons)
        )
    return tuple(states)


def last_run_of(
    project: Project,
    old: Snapshot,
    found: Audit,
    shards: tuple[ShardState, ...],
    *,
    count_rows: bool = True,
) -> LastRun:
    """Return what the last run changed, and what it cost.

    Parameters
    ----------
    project
        The project.
    old, found
        The state before the run, and its comparison with the state as it is.
    shards
        Every shard.
    count_rows
        Whether to count the rows that were read; else all slices count as equally large.
    """
    retrained = [shard for shard in shards if shard.first is not None]
    plans, by_rows = _plans(project, shards, count_rows=count_rows)
    in_full = sum(plan.rows_in_full for plan in plans)
    timings = read_timings(project)
    costs = None
    if by_rows and retrained:
        slices = shards[0].slices
        costs = estimate(plans, timings, Work(stages=("verify",)), slices=slices, jobs=1)
    share = sum(plan.rows_to_train for plan in plans) / in_full if in_full else 0.0
    return LastRun(
        old=old.name,
        first_training=not any(name.startswith(("train@", "unlearn@")) for name in old.lock),
        unexplained=found.unexplained,
        notes=found.notes,
        share=share if retrained else None,
        by_rows=by_rows,
        costs=costs,
        stages=tuple(
            (item.stage, tuple(without_count(reason) for reason in item.reasons))
            for item in found.retrained
        ),
    )


def _plans(
    project: Project, shards: tuple[ShardState, ...], *, count_rows: bool
) -> tuple[list[ShardPlan], bool]:
    """Return what each shard's retraining read, by its lineage or, without models, evenly."""
    sizes: dict[str, list[int]] = {}
    for shard in shards if count_rows else ():
        try:
            lineage = read_lineage(project.shard_models / shard.name)
        except (InputError, OSError):
            lineage = None
        if lineage is not None and len(lineage.slices) == shard.slices:
            sizes[shard.name] = [link.rows for link in lineage.slices]
    by_rows = len(sizes) == len(shards) and bool(shards)
    plans = []
    for shard in shards:
        rows = sizes[shard.name] if by_rows else [1] * shard.slices
        reads = [sum(rows[: end + 1]) for end in range(len(rows))]
        first = shard.slices + 1 if shard.first is None else shard.first
        plans.append(
            ShardPlan(shard.name, 0, sum(rows), sum(reads[first - 1 :]), sum(reads), first)
        )
    return plans, by_rows
