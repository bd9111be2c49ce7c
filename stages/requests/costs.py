"""How long a request will take, by the timings of earlier runs on this machine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from unlearn.stages.project.timings import (
    CHANGE,
    CHECK,
    EVERYTHING_ELSE,
    FILES,
    PROCESSES,
    Timing,
    forget_seconds,
    side_by_side,
)
from unlearn.stages.requests.plan import ShardPlan

#: What the attacks take beside the other checks of `verify`, where the last run had none: seconds,
#: seconds for each shard, and a share of the other checks. Measured; after that the last run tells.
_ATTACKS, _ATTACKS_SHARD, _ATTACKS_SHARE = 0.5, 0.02, 0.5

Option = Literal["this_request", "whole_pipeline", "one_plain_model"]


@dataclass(frozen=True)
class Costs:
    """Seconds by recorded timings; None where nothing was recorded yet.

    Parameters
    ----------
    this_request
        The run as a whole: `training`, `check` and everything else.
    whole_pipeline
        The same if every slice of every shard were trained.
    one_plain_model
        Training one model, without shards, on all remaining rows for as many epochs; nothing else.
    training
        Retraining what the plan says.
    check
        Retraining the shards that `verify` retrains to check.
    """

    this_request: float | None
    whole_pipeline: float | None
    one_plain_model: float | None
    training: float | None
    check: float | None

    @property
    def cheapest(self) -> Option | None:
        """The cheapest way to a model without the forgotten rows."""
        by_cost: dict[Option, float | None] = {
            "this_request": self.this_request,
            "whole_pipeline": self.whole_pipeline,
            "one_plain_model": self.one_plain_model,
        }
        known = [(cost, option) for option, cost in by_cost.items() if cost is not None]
        return min(known)[1] if known else None


@dataclass(frozen=True)
class Work:
    """What a run has to do besides training.

    Parameters
    ----------
    stages
        The stages that will run.
    rewritten
        Files that `forget` will write.
    checked
        Shards that `verify` will retrain to check.
    check_share
        Share of their training that the check takes.
    attacked
        Whether so many rows are forgotten that `verify` attacks the models.
    """

    stages: Sequence[str] = ()
    rewritten: int = 0
    checked: int = 0
    check_share: float = 1.0
    attacked: bool = False


def estimate(
    plans: Iterable[ShardPlan], timings: Mapping[str, Timing], work: Work, *, slices: int, jobs: int
) -> Costs:
    """Return expected seconds by the pace of recorded trainings and the rest of the last run.

    Slices spread e epochs over unions of rows: a row read costs 2e/(R+1) epochs' worth, while one
    plain model reads each row e times.

    Parameters
    ----------
    plans
        What every shard takes.
    timings
        Recorded timings by name.
    work
        What else the run will do.
    slices
        Slices a shard.
    jobs
        Parallel trainings; one plain model cannot use more than one.
    """
    plans = list(plans)
    pace = _pace(timings)
    if pace is None:
        return Costs(None, None, None, None, None)
    in_full = [pace * plan.rows_in_full for plan in plans]

    def train(expected: Iterable[float]) -> float:
        seconds = [one for one in expected if one]
        started = _seconds(timings, PROCESSES) if min(jobs, len(seconds)) > 1 else 0.0
        return started + side_by_side(seconds, jobs)

    training = train(seconds_by_shard(plans, timings).values())
    check = side_by_side([work.check_share * sum(in_full) / len(plans)] * work.checked, jobs)
    rest = _seconds(timings, EVERYTHING_ELSE) + check if work.stages else 0.0
    rest += _attacks(timings, work, len(plans))
    for_list = forget_seconds(timings, work.rewritten) if "forget" in work.stages else 0.0
    for_rows = _seconds(timings, "shard") if "shard" in work.stages else 0.0
    return Costs(
        this_request=rest + for_rows + for_list + training,
        whole_pipeline=rest + for_rows + for_list + train(in_full),
        one_plain_model=pace * sum(plan.remaining for plan in plans) * (slices + 1) / 2,
        training=training,
        check=check,
    )


def seconds_by_shard(plans: Iterable[ShardPlan], timings: Mapping[str, Timing]) -> dict[str, float]:
    """Return what the training of each shard is expected to take, in one process.

    Parameters
    ----------
    plans
        What every shard takes.
    timings
        Recorded timings by name.

    Returns
    -------
    dict
        Seconds by shard; empty where no training was recorded yet.
    """
    pace = _pace(timings)
    if pace is None:
        return {}
    found = {}
    for plan in plans:
        change = _change_seconds(plan, timings) if plan.is_change else None
        rows = plan.rows_in_full if plan.is_change else plan.rows_to_train
        in_full = pace * plan.rows_in_full
        found[plan.shard] = pace * rows if change is None else min(change, in_full)
    return found


def _pace(timings: Mapping[str, Timing]) -> float | None:
    """Return the seconds that training takes for a row; None where none was recorded."""
    paces = [t.seconds / t.rows for name, t in timings.items() if _is_training(name) and t.rows]
    # Not the mean: a training that shared the processor with others is no measure of the next.
    return median(paces) if paces else None


def _attacks(timings: Mapping[str, Timing], work: Work, shards: int) -> float:
    """Return what attacks take that the last run did not make."""
    last = timings.get("verify")
    if last is None or last.rows or not work.attacked:
        return 0.0
    others = max(0.0, last.seconds - _seconds(timings, CHECK))
    return _ATTACKS + _ATTACKS_SHARD * shards + _ATTACKS_SHARE * others


def _change_seconds(plan: ShardPlan, timings: Mapping[str, Timing]) -> float | None:
    """Return what changing a shard's model takes; None where its training has no recorded timing.

    Reading and digesting all rows takes as long whatever is changed; the rest is in proportion to
    the rows that are read. What the last change took is the better guess of the first part.
    """
    files, training = timings.get(f"{FILES}{plan.shard}"), timings.get(f"train@{plan.shard}")
    if files is None or training is None or not training.rows:
        return None
    pace = max(0.0, training.seconds - files.seconds) / training.rows
    last = timings.get(f"{CHANGE}{plan.shard}")
    if last is None:
        return files.seconds + pace * plan.rows_to_train
    return max(0.0, last.seconds + pace * (plan.rows_to_train - last.rows))


def _is_training(name: str) -> bool:
    return name.startswith("train@")


def _seconds(timings: Mapping[str, Timing], name: str) -> float:
    return timings[name].seconds if name in timings else 0.0
